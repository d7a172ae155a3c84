"""Tab 2, Data: choose examples on the left; on the right read them as a person, and as the model does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from studio.errors import InvalidInput, StudioError
from studio.recipe import STARTER_PREFIX, recipe_from_dict
from studio.services.paths import check_recipe_paths
from studio.starter_sets import SETS
from studio.ui import charts
from studio.ui.guard import told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

SOURCES = ("Starter", "Upload", "Path or Hub")
VIEWS = ("Rows", "As the model sees it", "Raw")
STARTERS = [(f"{s.title}\n{s.sentence}", f"{STARTER_PREFIX}{s.name}") for s in SETS]
WAITING = '<div class="empty">Reading the dataset. The first look takes a few seconds.</div>'


@dataclass(frozen=True)
class DataTab:
    """The tab's components."""

    source: Any
    starter: Any
    upload: Any
    named: Any
    revision: Any
    split: Any
    read_as: Any
    message: Any
    view: Any
    rows: Any
    use: Any
    answer: Any
    """gr.State with what the model server last said, so that switching the view asks nobody."""

    @property
    def choice(self) -> list[Any]:
        """What decides the dataset, in the order that `chosen_part` takes it."""
        return [self.source, self.starter, self.named, self.revision, self.split]


def build() -> DataTab:
    """Lay the tab out."""
    answer = gr.State(None)
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="left"), gr.Column(elem_classes="card"):
            piece('<h2 class="t">Dataset</h2><p class="sub">Examples of questions and the answers you want.</p>')
            source = gr.Radio(SOURCES, value=SOURCES[0], show_label=False, container=False, elem_classes="segments")
            starter = gr.Radio(
                STARTERS, value=STARTERS[0][1], show_label=False, container=False, elem_classes="choices"
            )
            upload = gr.File(
                label="A jsonl, json, csv or parquet file",
                file_types=[".jsonl", ".json", ".csv", ".parquet"],
                visible=False,
                height=150,
                elem_id="upload",
            )
            named = gr.Textbox(
                label="File on this machine, or Hub name",
                visible=False,
                max_lines=1,
                info="A path such as /data/rows.jsonl, or owner/name.",
                placeholder="owner/name",
            )
            with gr.Accordion("Split and revision", open=False, elem_classes="fold", visible=False) as more:
                split = gr.Textbox(
                    label="split", value="train", info="Which part of a Hub dataset to train on.", max_lines=1
                )
                revision = gr.Textbox(
                    label="revision", info="Branch, tag or commit; empty takes the newest.", max_lines=1
                )
            read_as = piece("")
            message = piece("")
        with gr.Column(elem_classes="right"), gr.Column(elem_classes="card"):
            view = gr.Radio(VIEWS, value=VIEWS[0], show_label=False, container=False, elem_classes="segments")
            rows = piece(WAITING, elem_classes="view")
            with gr.Row(elem_classes="actions"):
                use = gr.Button("Use this dataset", variant="primary", elem_id="use-data")
    source.change(
        lambda s: [gr.update(visible=s == name) for name in SOURCES] + [gr.update(visible=s == SOURCES[2])],
        [source],
        [starter, upload, named, more],
        **AT_ONCE,
    )
    return DataTab(source, starter, upload, named, revision, split, read_as, message, view, rows, use, answer)


def connect(tab: DataTab, shared: Shared, demo: Any) -> None:
    """Wire the events."""
    look = told(lambda draft, view, *values: look_at(shared, draft, view, *values))
    seen = [tab.rows, tab.read_as, tab.message, tab.answer]
    asked = [shared.draft, tab.view, *tab.choice]
    begun = [demo.load, shared.adopted.change]
    gr.on(begun, fill_from_draft, [shared.draft], [tab.source, tab.starter, tab.named], **AT_ONCE).then(
        look, asked, seen, **PRIVATE, show_progress="hidden"
    )
    tab.upload.upload(told(lambda file: take_upload(shared, file)), [tab.upload], [tab.named], **PRIVATE).then(
        look, asked, seen, **PRIVATE, show_progress="minimal"
    )
    gr.on(
        [
            tab.source.input,
            tab.starter.input,
            tab.named.submit,
            tab.named.blur,
            tab.split.submit,
            tab.revision.submit,
            shared.preview.change,
        ],
        look,
        asked,
        seen,
        trigger_mode="always_last",
        **PRIVATE,
        show_progress="minimal",
    )
    tab.view.change(show_view, [tab.answer, tab.view], [tab.rows], **AT_ONCE)
    tab.use.click(
        lambda draft, count, *values: use_dataset(shared, draft, count, *values),
        [shared.draft, shared.preview, *tab.choice],
        [shared.draft, shared.tabs, tab.message, shared.preview],
        **PRIVATE,
    )


def fill_from_draft(draft: dict[str, Any]) -> tuple[str, Any, str]:
    """Show the dataset that the browser remembers."""
    name = draft["data"]["dataset"]
    known = {value for _, value in STARTERS}
    if name in known:
        return SOURCES[0], name, ""
    return SOURCES[2], gr.skip(), name


def take_upload(shared: Shared, file: str | None) -> str:
    """Keep the uploaded file in the studio's home and name it as the chosen one."""
    if file is None:
        return ""
    return str(shared.studio.take_upload(Path(file), Path(file).name))


def chosen_part(
    draft: dict[str, Any], source: str, starter: str, named: str, revision: str, split: str
) -> dict[str, Any]:
    """The recipe's data part that the fields say. Raises InvalidInput when nothing is named yet."""
    name = starter if source == SOURCES[0] else (named or "").strip()
    if not name:
        raise InvalidInput("Drop a file, or name one." if source == SOURCES[1] else "Write a path or a Hub name.")
    return {
        **draft["data"],
        "dataset": name,
        "revision": (revision or "").strip() or None,
        "split": (split or "").strip() or "train",
    }


def look_at(shared: Shared, draft: dict[str, Any], view: str, *values: Any) -> tuple[str, str, str, Any]:
    """(rows, how they were read, message, the server's answer) for the chosen dataset."""
    empty = '<div class="empty">Rows appear here once a dataset is named.</div>'
    try:
        part = chosen_part(draft, *values)
    except InvalidInput:
        return empty, "", "", None
    try:
        recipe = recipe_from_dict({**draft, "data": part})
        check_recipe_paths(recipe, shared.studio.settings)
        answer = shared.studio.server.ask("dataset", recipe)
    except StudioError as error:
        return empty, "", say("bad", "Not readable", str(error)), None
    read_as = say(
        "good",
        f"Read as {answer['format']}",
        f"because {answer['reason']}. "
        f"{answer['train_rows']:,} rows to train on, {answer['held_out_rows']:,} held out to measure.",
    )
    return show_view(answer, view), read_as, "", answer


def use_dataset(shared: Shared, draft: dict[str, Any], count: int, *values: Any) -> tuple[Any, Any, str, int]:
    """Take the dataset into the draft, if it can be read, and go on to fine-tuning."""
    try:
        part = chosen_part(draft, *values)
        recipe = recipe_from_dict({**draft, "data": part})
        check_recipe_paths(recipe, shared.studio.settings)
        shared.studio.server.ask("dataset", recipe)
    except StudioError as error:
        return gr.skip(), gr.skip(), say("bad", "Not usable", str(error)), count
    return {**draft, "data": part}, gr.update(selected="tune"), "", count + 1


def show_view(answer: dict[str, Any] | None, view: str) -> str:
    """The first rows in one of the three views."""
    if answer is None:
        return WAITING
    if view == VIEWS[2]:
        raw = "\n\n".join(json.dumps(row["raw"], ensure_ascii=False, indent=2) for row in answer["rows"])
        return f'<pre class="code" style="max-height:none">{escape(raw)}</pre>'
    if view == VIEWS[1]:
        return "".join(map(tokens_html, answer["rows"])) + charts.legend(
            [("trained: the model learns to write this", "--c1"), ("context: it only reads this", "--c5")]
        )
    return "".join(map(turns_html, answer["rows"]))


def turns_html(row: dict[str, Any]) -> str:
    """A row as people read it."""
    if row["text"] is not None:
        return f'<div class="turns"><div class="turn user">{escape(row["text"])}</div></div>'
    turns = "".join(
        f'<div class="turn {escape(turn["role"])}">{escape(turn["content"])}</div>' for turn in row["messages"]
    )
    return f'<div class="turns">{turns}</div>'


def tokens_html(row: dict[str, Any]) -> str:
    """A row as the model sees it: every token, what is trained underlined, what is cut struck out."""
    if "problem" in row:
        return say("bad", "Not usable", row["problem"])
    classes = {"trained": "t", "context": "c", "cut": "x"}
    pieces, counts = [], {"trained": 0, "context": 0, "cut": 0}
    for text, kind in row["tokens"]:
        counts[kind] += 1
        tag = "u" if kind == "trained" else "span"
        shown = escape(text).replace("\n", "↵\n")
        pieces.append(f'<{tag} class="{classes[kind]}">{shown}</{tag}>')
    total = max(1, sum(counts.values()))
    told = f"{counts['trained']} of {total} tokens trained ({100 * counts['trained'] / total:.0f} %)"
    if counts["cut"]:
        told += f", {counts['cut']} cut by max_length"
    return f'<div class="tok">{"".join(pieces)}</div><p class="small num">{told}</p>'
