"""The card of the Data page for what becomes of the rows: cleaning steps with their counts, held out, mixed in, saved.

Layout and words; the steps themselves are the recipe's `cleaning` fields, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from studio.recipe import field_help
from studio.ui.data.mapping import title_of
from studio.ui.data.view import clip
from studio.ui.shared import START_DRAFT, piece

STEPS = tuple(name for name in START_DRAFT["cleaning"] if name != "near_duplicate_similarity")
"""The cleaning fields that are a step of their own, in the order in which they run."""
SWITCHES = tuple(name for name in STEPS if isinstance(START_DRAFT["cleaning"][name], bool))
STEP_WORDS = {
    "trim": "Remove blanks around texts",
    "fix_text": "Repair letters",
    "mask_secrets": "Mask addresses and keys",
    "merge_turns": "Join turns of one speaker",
    "fold_system": "System prompt into the question",
    "drop_rows": "Leave out rows",
    "drop_empty": "Leave out empty rows",
    "keep_if": "Keep only if",
    "dedupe": "Leave out duplicates",
    "drop_over_long": "Leave out long rows",
    "shuffle": "Shuffle",
    "sample_rows": "Take only some rows",
}
LICENCES = ("my own", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "Apache-2.0", "not known")


@dataclass(frozen=True)
class Cleaning:
    """The card's components; `fields` and `counts` by dotted recipe name and by step."""

    fold: Any
    message: Any
    counts: dict[str, Any]
    held_fold: Any
    mix_fold: Any
    mixed: Any
    mix_name: Any
    mix_weight: Any
    mix_add: Any
    save_fold: Any
    save_name: Any
    save_licence: Any
    save: Any
    saved: Any
    fields: dict[str, Any]


def build() -> Cleaning:
    """Lay the card out."""
    fields: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    half: dict[str, Any] = {"elem_classes": "field d-half"}
    with gr.Column(elem_classes="card d-folds"):
        with gr.Accordion("Cleaning: nothing is changed", open=False, elem_classes="fold", elem_id="cleaning") as fold:
            piece('<p class="small">Steps run in this order. The file stays as it is; taking a tick out undoes it.</p>')
            message = piece("")
            for name in STEPS:
                with gr.Row(elem_classes="d-step"):
                    fields[f"cleaning.{name}"] = _step(name)
                    counts[name] = piece("", elem_classes="d-count", elem_id=f"count-{name.replace('_', '-')}")
                if name == "dedupe":
                    fields["cleaning.near_duplicate_similarity"] = gr.Slider(
                        0.5,
                        1.0,
                        0.8,
                        step=0.05,
                        label="near_duplicate_similarity",
                        info="How much two rows must share to count as nearly the same.",
                        visible=False,
                    )
        with gr.Accordion("Held out", open=False, elem_classes="fold") as held_fold:
            fields |= _held_out()
        with gr.Accordion("Mix in other datasets", open=False, elem_classes="fold", elem_id="mix") as mix_fold:
            mixed = piece(mixed_html([]))
            mix_name = gr.Dropdown(
                [], label="dataset", info="A saved one, a starter, a path or a Hub name.", allow_custom_value=True,
                **half,
            )  # fmt: skip
            mix_weight = gr.Number(label="weight", value=1.0, minimum=0, info="1 uses each row once.", **half)
            with gr.Row(elem_classes="actions"):
                mix_add = gr.Button("Mix it in", size="sm", elem_id="mix-add")
        with gr.Accordion("Save to my datasets", open=False, elem_classes="fold", elem_id="save-dataset") as save_fold:
            save_name = gr.Textbox(label="name", info="How you will find it again.", max_lines=1, **half)
            save_licence = gr.Dropdown(
                list(LICENCES), value=LICENCES[0], label="licence", info="What others may do with it.",
                allow_custom_value=True, **half,
            )  # fmt: skip
            with gr.Row(elem_classes="actions"):
                save = gr.Button("Save", size="sm", elem_id="save-data")
            saved = piece("")
    return Cleaning(
        fold, message, counts, held_fold, mix_fold, mixed, mix_name, mix_weight, mix_add, save_fold, save_name,
        save_licence, save, saved, fields,
    )  # fmt: skip


def _step(name: str) -> Any:
    """The component of one step: its plain name, and the recipe's own sentence about it."""
    common: dict[str, Any] = {
        "label": STEP_WORDS[name],
        "info": field_help(f"cleaning.{name}")[0],
        "elem_id": f"clean-{name.replace('_', '-')}",
    }
    if name in SWITCHES:
        return gr.Checkbox(value=False, **common)
    common["elem_classes"] = "field" if name in ("dedupe", "sample_rows") else "field d-under"
    if name == "dedupe":
        choices = [("no", "no"), ("the same", "exact"), ("the same or nearly", "near")]
        return gr.Dropdown(choices, value="no", filterable=False, **common)
    if name == "sample_rows":
        return gr.Number(value=0, precision=0, minimum=0, **common)
    placeholder = {"keep_if": "size(answer) > 20", "drop_rows": "3, 17"}[name]
    return gr.Textbox(value="", placeholder=placeholder, max_lines=1, **common)


def _held_out() -> dict[str, Any]:
    return {
        "data.held_out_rows": gr.Number(
            value=START_DRAFT["data"]["held_out_rows"],
            precision=0,
            minimum=0,
            label="held_out_rows",
            info=field_help("data.held_out_rows")[0],
            elem_id="held-out-rows",
            elem_classes="field d-half",
        ),
        "data.held_out_by": gr.Dropdown(
            [("no column: row by row", "")],
            value="",
            label="held_out_by",
            info="Column whose equal values stay together, such as the customer.",
            allow_custom_value=True,
            elem_id="held-out-by",
            elem_classes="field d-half",
        ),
    }


def rows_line(numbers: Sequence[int]) -> str:
    """3, 17"""
    return ", ".join(str(number) for number in numbers)


def is_on(name: str, cleaning: Mapping[str, Any]) -> bool:
    """Whether a step does anything."""
    return bool(cleaning[name] != START_DRAFT["cleaning"][name])


def fold_label(cleaning: Mapping[str, Any], steps: Sequence[Mapping[str, Any]] | None) -> str:
    """Cleaning: 3 steps, 214 rows left out"""
    on = sum(is_on(name, cleaning) for name in STEPS)
    if not on:
        return "Cleaning: nothing is changed"
    label = f"Cleaning: {on} {'step' if on == 1 else 'steps'}"
    if steps is None:
        return label
    dropped, touched = sum(step["dropped"] for step in steps), sum(step["changed"] for step in steps)
    label += f", {dropped:,} {'row' if dropped == 1 else 'rows'} left out"
    return label + (f", {touched:,} changed" if touched else "")


def count_html(name: str, cleaning: Mapping[str, Any], steps: Sequence[Mapping[str, Any]] | None) -> str:
    """What a step did, beside it; nothing while it is off or nobody knows yet."""
    done = {step["name"]: step for step in steps or ()}.get(name)
    if done is None or not is_on(name, cleaning) or name == "shuffle":
        return ""
    told = []
    for count, verb in ((done["dropped"], "left out"), (done["changed"], "changed")):
        if count:
            told.append(f"{count:,} {'row' if count == 1 else 'rows'} {verb}")
    return f'<span class="num">{", ".join(told) or "no row"}</span>'


def held_label(data: Mapping[str, Any], held_out_rows: int | None) -> str:
    """Held out: 60 rows, by customer"""
    rows = data["held_out_rows"] if held_out_rows is None else held_out_rows
    by = f", by {clip(data['held_out_by'], 40)}" if data["held_out_by"] else ""
    return f"Held out: {rows:,} rows{by}" if rows else "Held out: nothing, so nothing is measured"


def mix_label(mix: Sequence[Any]) -> str:
    """Mix in other datasets: 2"""
    return f"Mix in other datasets: {len(mix)}" if mix else "Mix in other datasets"


def mixed_html(mix: Sequence[Mapping[str, Any]]) -> str:
    """What is mixed in, each with its weight and the button that takes it out."""
    if not mix:
        return (
            '<p class="small">A little of a general dataset keeps the model from forgetting everything else. Nothing '
            "is held out of it.</p>"
        )
    items = "".join(
        f'<li><span title="{escape(clip(entry["dataset"], 300))}">{escape(clip(title_of(entry["dataset"]), 60))}</span>'
        f'<span class="num">{entry["weight"]:g} times</span>'
        f'<button type="button" data-press="unmix:{place}">Take out</button></li>'
        for place, entry in enumerate(mix)
    )
    return f'<ul class="d-mixed">{items}</ul>'
