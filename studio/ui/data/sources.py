"""The Dataset card of the Data page: starter sets, datasets that were saved, an upload, a path or a Hub name.

Switching between them only shows other fields; a dataset is chosen by pressing a card, dropping a file or naming one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from studio import words
from studio.recipe import STARTER_PREFIX
from studio.services.studio import Studio
from studio.starter_sets import SETS
from studio.ui.data.view import clip
from studio.ui.shared import piece

STARTER, MINE, UPLOAD, NAMED = "Starter", "My datasets", "Upload", "Path or Hub"
SOURCES = (STARTER, MINE, UPLOAD, NAMED)
STARTERS = [(f"{s.title}\n{s.sentence}", f"{STARTER_PREFIX}{s.name}") for s in SETS]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".md", ".gz", ".zst")
EARLIER = 20
"""Uploads that are offered again, the newest ones."""
NO_DATASETS = (
    '<div class="empty">Nothing saved yet. Open “Save to my datasets” below once a dataset reads well: its columns and '
    "cleaning are kept with it.</div>"
)


@dataclass(frozen=True)
class Sources:
    """The card's components; `fields` by dotted recipe name."""

    source: Any
    starter: Any
    mine_group: Any
    mine: Any
    mine_empty: Any
    forget: Any
    upload_group: Any
    upload: Any
    earlier: Any
    named_group: Any
    named: Any
    options: Any
    fields: dict[str, Any]

    @property
    def groups(self) -> list[Any]:
        """One a source in their order, then the options."""
        return [self.starter, self.mine_group, self.upload_group, self.named_group, self.options]


def build() -> Sources:
    """Lay the card out."""
    with gr.Column(elem_classes="card"):
        piece('<h2 class="t">Dataset</h2><p class="sub">Examples of questions and the answers you want.</p>')
        source = gr.Radio(
            SOURCES, value=STARTER, show_label=False, container=False, elem_classes="segments", elem_id="data-source"
        )
        starter = gr.Radio(STARTERS, value=STARTERS[0][1], show_label=False, container=False, elem_classes="choices")
        with gr.Column(visible=False, elem_id="my-datasets") as mine_group:
            mine_empty = piece(NO_DATASETS)
            mine = gr.Radio([], show_label=False, container=False, elem_classes="choices", visible=False)
            with gr.Row(elem_classes="actions"):
                forget = gr.Button("Forget this one", size="sm", visible=False, elem_id="forget-dataset")
        with gr.Column(visible=False) as upload_group:
            upload = gr.File(
                label="jsonl, json, csv, tsv, parquet, arrow, txt or md, also as .gz or .zst",
                file_types=list(SUFFIXES),
                height=150,
                elem_id="upload",
            )
            earlier = gr.Dropdown(
                [],
                label="Uploaded before",
                value=None,
                visible=False,
                filterable=False,
                elem_id="uploaded-before",
                elem_classes="field d-half",
            )
        with gr.Column(visible=False) as named_group:
            named = gr.Textbox(
                label="File or folder on this machine, or Hub name",
                max_lines=1,
                info="A path such as /data/rows.jsonl, or owner/name. Press Enter.",
                placeholder="owner/name",
                elem_id="data-named",
            )
        with gr.Accordion("How it is read", open=False, elem_classes="fold d-options", visible=False) as options:
            fields = _options()
    return Sources(
        source, starter, mine_group, mine, mine_empty, forget, upload_group, upload, earlier, named_group, named,
        options, fields,
    )  # fmt: skip


def _options() -> dict[str, Any]:
    """The fields that say which part of the source is read, and how its bytes become cells."""
    line: dict[str, Any] = {"max_lines": 1, "elem_classes": "field d-half"}
    return {
        "data.config": gr.Textbox(label="config", info="Which set of a Hub dataset; empty takes its default.", **line),
        "data.split": gr.Textbox(
            label="split", value="train", info="Which part, also a slice: train[:1000] or train[10%:20%].", **line
        ),
        "data.revision": gr.Textbox(
            label="revision", info="Branch, tag or commit of a Hub dataset; empty takes the newest.", **line
        ),
        "data.encoding": gr.Textbox(
            label="encoding",
            value="auto",
            info="How bytes become letters. Set it (cp1252) when accents look wrong.",
            elem_id="data-encoding",
            **line,
        ),
        "data.delimiter": gr.Textbox(
            label="delimiter", value="auto", info="What stands between the cells of a csv file.", **line
        ),
        "data.max_rows": gr.Number(
            label="max_rows",
            value=0,
            precision=0,
            minimum=0,
            info="Read only the first rows; 0 reads all.",
            elem_classes="field d-half",
        ),
    }


def source_of(name: str, saved: Sequence[Any], uploads: Path) -> str:
    """Under which of the sources a dataset is found again."""
    if name in {value for _, value in STARTERS}:
        return STARTER
    if any(record.data["dataset"] == name for record in saved):
        return MINE
    return UPLOAD if Path(name).parent == uploads else NAMED


def show_groups(source: str) -> list[Any]:
    """Which groups of fields can be seen, in the order of `Sources.groups`."""
    return [*(gr.update(visible=source == name) for name in SOURCES), gr.update(visible=source != STARTER)]


def saved_choices(studio: Studio, saved: Sequence[Any]) -> list[tuple[str, str]]:
    """A card for each saved dataset: name, then rows, licence, fingerprint and how many runs learned from it."""
    cards = []
    for record in saved:
        runs = len(studio.runs_of_dataset(record))
        told = [
            f"{record.rows:,} rows",
            clip(record.licence, 40) or "no licence named",
            f"content {record.fingerprint[:8]}",
        ]
        told.append(f"used by {runs} {'run' if runs == 1 else 'runs'}" if runs else "not used yet")
        told += ["its content has changed"] if record.changed else []
        told.append(f"saved {words.ago(record.created_at)}")
        cards.append((f"{clip(record.name, 60)}\n{', '.join(told)}.", record.slug))
    return cards


def earlier_choices(studio: Studio) -> list[tuple[str, str]]:
    """Files that were uploaded before, the newest first."""
    return [(path.name, str(path)) for path in studio.uploads()[:EARLIER]]
