"""How the Data page is laid out: what is chosen on the left; on the right what is worth fixing, and the rows.

Components only; tab.py says what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.ui.data import audit as data_audit
from studio.ui.data import cleaning as data_cleaning
from studio.ui.data import mapping as data_mapping
from studio.ui.data import pager as data_pager
from studio.ui.data import sources as data_sources
from studio.ui.data.cleaning import Cleaning
from studio.ui.data.mapping import Reading
from studio.ui.data.sketch import sketch_of
from studio.ui.data.sources import Sources
from studio.ui.shared import START_DRAFT, piece

ROWS, TOKENS, LENGTHS, CHARTS, RAW = VIEWS = ("Rows", "As the model sees it", "Lengths", "Charts", "Raw")
POLL_SECONDS = 1.0
WAITING = '<div class="empty">Reading the dataset. The first look takes a few seconds.</div>'


@dataclass(frozen=True)
class DataTab:
    """The tab's components. Those of gr.State remember what the model server last said."""

    sources: Sources
    reading: Reading
    cleaning: Cleaning
    audit: Any
    changed: Any
    accept: Any
    keep_looking: Any
    use_message: Any
    use: Any
    view: Any
    views: dict[str, Any]
    """What each view shows, by its name. All are there and one is in sight, so a late answer is in nobody's way."""
    slider: Any
    lengths: Any
    pager: Any
    pager_words: Any
    previous: Any
    following: Any
    go_to: Any
    pressed: Any
    """A text box that nobody sees: buttons inside our HTML write into it what they mean (assets/studio.js)."""
    timer: Any
    asked: Any
    """The sketch that the server is asked about, with a stamp that moves when it has to be asked again."""
    looked: Any
    """The last look: its recipe, its answer, a stamp, and what the mapping's fields show because of it."""
    scan: Any
    """The last scan's answer with the stamp of the look that it belongs to; None before the first."""
    seen: Any
    """A text box that nobody sees, with the stamp of the look that has reached the browser."""
    place: Any
    """Which rows are shown; see pager.py."""

    @property
    def fields(self) -> dict[str, Any]:
        """Every component that stands for a recipe field, by its dotted name."""
        return {**self.sources.fields, **self.reading.fields, **self.cleaning.fields}


def build() -> DataTab:
    """Lay the tab out."""
    asked, looked, scan = gr.State({**sketch_of(None), "stamp": 0}), gr.State(None), gr.State(None)
    place = gr.State(data_pager.START)
    timer = gr.Timer(POLL_SECONDS)
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="left"):
            sources = data_sources.build()
            reading = data_mapping.build()
            cleaning = data_cleaning.build()
        with gr.Column(elem_classes="right d-right"):
            with gr.Column(elem_classes="card d-audit"):
                audit = piece(data_audit.READING, elem_id="data-audit")
                with gr.Column(visible=False, elem_id="content-changed") as changed:
                    piece(data_audit.CHANGED)
                    with gr.Row(elem_classes="actions"):
                        accept = gr.Button("Use the new content", size="sm", elem_id="use-new-content")
                        keep_looking = gr.Button("Keep looking", size="sm")
                use_message = piece("")
                with gr.Row(elem_classes="actions"):
                    use = gr.Button("Use this dataset", variant="primary", elem_id="use-data")
            with gr.Column(elem_classes="card d-look"):
                view = gr.Radio(
                    VIEWS, value=ROWS, show_label=False, container=False, elem_classes="segments", elem_id="data-view"
                )
                views, slider, lengths = _views()
                pager, pager_words, go_to, previous, following = _pager()
    unseen: dict[str, Any] = {"show_label": False, "container": False, "elem_classes": "hidden-now"}
    pressed, seen = gr.Textbox("", elem_id="data-pressed", **unseen), gr.Textbox("", **unseen)
    return DataTab(
        sources, reading, cleaning, audit, changed, accept, keep_looking, use_message, use, view, views, slider,
        lengths, pager, pager_words, previous, following, go_to, pressed, timer, asked, looked, scan, seen, place,
    )  # fmt: skip


def _views() -> tuple[dict[str, Any], Any, Any]:
    """(what each view shows by its name, the slider over max_length, what it says)."""
    views: dict[str, Any] = {ROWS: piece(WAITING, elem_classes="view", elem_id="data-rows")}
    for name, identity in ((TOKENS, "data-tokens"), (CHARTS, "data-charts"), (RAW, "data-raw")):
        views[name] = piece(WAITING, elem_classes="view", elem_id=identity, visible=False)
    with gr.Column(visible=False, elem_classes="d-lengths") as views[LENGTHS]:
        slider = gr.Slider(
            16,
            1024,
            START_DRAFT["training"]["max_length"],
            step=16,
            label="max_length",
            info="Longest row in tokens; what is beyond is cut. Move it to see what that costs.",
            buttons=[],
            elem_id="length-slider",
        )
        lengths = piece("", elem_id="data-lengths")
    return views, slider, lengths


def _pager() -> tuple[Any, Any, Any, Any, Any]:
    with gr.Row(elem_classes="d-pager") as pager:
        words = piece("", elem_id="data-pager")
        go_to = gr.Textbox(placeholder="Go to row", show_label=False, container=False, max_lines=1, elem_id="go-to-row")
        previous = gr.Button("Previous", size="sm", elem_id="previous-rows")
        following = gr.Button("Next", size="sm", elem_id="next-rows")
    return pager, words, go_to, previous, following
