"""The Read-as card of the Data page: what the file was recognised as, and which column plays which role.

Holds the card's layout and its words; what happens on events is in looking.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any, get_args

import gradio as gr

from studio import words
from studio.errors import InvalidInput
from studio.recipe import STARTER_PREFIX
from studio.recipe_data_fields import FormatName, Role
from studio.starter_sets import SETS
from studio.ui.data.view import clip
from studio.ui.shared import piece

FORMAT_WORDS: dict[str, str] = {
    "messages": "conversations (messages)",
    "sharegpt": "conversations (ShareGPT)",
    "alpaca": "instruction, input and output (alpaca)",
    "prompt/completion": "prompt and completion",
    "question/answer": "question and answer columns",
    "text": "plain text",
    "classification": "texts with a label",
    "preference": "a better and a worse answer",
    "kto": "answers marked good or bad",
}
ROLE_WORDS: dict[str, str] = {
    "system": "What the model is told before the conversation. May stay empty.",
    "prompt": "The question: what the model is given.",
    "completion": "The answer: what it learns to write.",
    "text": "The text itself.",
    "messages": "The column with the whole conversation.",
    "label": "The word, or the good or bad, that belongs to the text.",
    "chosen": "The better answer.",
    "rejected": "The worse answer.",
    "tools": "The functions that the model may call. May stay empty.",
}
ROLES: tuple[str, ...] = tuple(ROLE_WORDS)
ROLES_OF: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "tools"),
    "sharegpt": ("messages", "system", "tools"),
    "alpaca": ("system", "prompt", "completion"),
    "prompt/completion": ("system", "prompt", "completion"),
    "question/answer": ("system", "prompt", "completion"),
    "text": ("text",),
    "classification": ("text", "label"),
    "preference": ("system", "prompt", "chosen", "rejected"),
    "kto": ("prompt", "completion", "label"),
}
SURENESS = {"certain": "certain", "likely": "likely", "guess": "a guess"}
assert set(ROLES) == set(get_args(Role))


@dataclass(frozen=True)
class Reading:
    """The card's components; `fields` by dotted recipe name."""

    said: Any
    message: Any
    bad: Any
    bad_actions: Any
    skip: Any
    stop: Any
    mapping: Any
    columns: Any
    fields: dict[str, Any]


def build() -> Reading:
    """Lay the card out."""
    fields: dict[str, Any] = {}
    with gr.Column(elem_classes="card"):
        said = piece('<h2 class="t">Read as</h2><p class="sub">&nbsp;</p>')
        message = piece("")
        bad = piece("")
        with gr.Row(elem_classes="actions", visible=False) as bad_actions:
            skip = gr.Button("Skip them", size="sm", elem_id="skip-bad-rows")
            stop = gr.Button("Stop at them", size="sm", elem_id="stop-at-bad-rows")
        with gr.Accordion("Columns", open=False, elem_classes="fold d-mapping") as mapping:
            columns = piece("")
            fields["data.format"] = gr.Dropdown(
                choices=format_choices([], None),
                value="auto",
                label="format",
                info="What the columns mean.",
                filterable=False,
                elem_id="data-format",
                elem_classes="field d-half",
            )
            for role in ROLES:
                fields[f"data.mapping.{role}"] = gr.Dropdown(
                    choices=[""],
                    value="",
                    label=role,
                    info=ROLE_WORDS[role],
                    allow_custom_value=True,
                    visible=role in ROLES_OF["prompt/completion"],
                    elem_id=f"role-{role}",
                    elem_classes="field d-half",
                )
            fields["data.label_names"] = gr.Textbox(
                label="label_names",
                info="Words for numbers: 0=negative, 1=positive. Empty keeps the numbers.",
                placeholder="0=negative, 1=positive",
                visible=False,
                max_lines=1,
                elem_classes="field d-half",
            )
    return Reading(said, message, bad, bad_actions, skip, stop, mapping, columns, fields)


def title_of(name: str) -> str:
    """A dataset's name as people know it: the starter set's title, the file's name, the Hub's name."""
    if name.startswith(STARTER_PREFIX):
        titles = {f"{STARTER_PREFIX}{s.name}": s.title for s in SETS}
        return titles.get(name, name)
    return PurePath(name).name if name.startswith(("/", "~", ".")) else name


def heading_html(name: str) -> str:
    """The dataset's name, the whole of it under the pointer."""
    return f'<h2 class="t d-name" title="{escape(clip(name, 300))}">{escape(clip(title_of(name), 80))}</h2>'


def said_html(name: str, answer: Mapping[str, Any]) -> str:
    """The card's head: the dataset, what it was recognised as, how sure that is and why."""
    form = answer["format"]
    if form is None:
        told = "Not recognised yet."
    else:
        told = (
            f"Read as <b>{escape(FORMAT_WORDS[form['name']])}</b> ({SURENESS[form['sureness']]}), because "
            f"{escape(clip(form['reason'], 400))}."
        )
    template = answer["template"]
    seen = template["sentence"] if template else f"The model cannot be used: {answer['model_problem']}"
    entries = [("File", file_words(answer)), ("Template", str(seen))]
    facts = "".join(f"<dt>{term}</dt><dd>{escape(clip(text, 300))}</dd>" for term, text in entries if text)
    return f'{heading_html(name)}<p class="sub">{told}</p><dl class="facts d-facts">{facts}</dl>'


def file_words(answer: Mapping[str, Any]) -> str:
    """csv, 1.2 MB, cp1252, cells split by ;"""
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
    told = [str(answer["kind"]), words.size(answer["size_bytes"]) if answer["size_bytes"] else ""]
    told.append(str(answer["encoding"] or ""))
    delimiter = answer["delimiter"]
    told.append(f"cells split by {names.get(delimiter, delimiter)}" if delimiter else "")
    return ", ".join(filter(None, told))


def format_choices(candidates: Sequence[Mapping[str, Any]], recognised: str | None) -> list[tuple[str, str]]:
    """What the format can be: recognised by itself, then what also fits, then the rest."""
    auto = f"recognised: {FORMAT_WORDS[recognised]}" if recognised else "recognise it"
    fits = [c["name"] for c in candidates if c["name"] != recognised]
    others = [name for name in get_args(FormatName) if name not in ("auto", *fits)]
    return [
        (auto, "auto"),
        *((f"{FORMAT_WORDS[name]}, also fits", name) for name in fits),
        *((FORMAT_WORDS[name], name) for name in others),
    ]


def roles_shown(chosen_format: str, answer: Mapping[str, Any], mapping: Mapping[str, str]) -> set[str]:
    """The roles that make sense for what the rows are; those of question and answer where nobody knows."""
    form = answer["format"]
    name = form["name"] if form else chosen_format
    known = ROLES_OF.get(name, ROLES_OF["prompt/completion"])
    return {*known, *(form["mapping"] if form else ()), *mapping}


def columns_html(columns: Sequence[str]) -> str:
    """The columns, and how to join several."""
    shown = ", ".join(f"<code>{escape(clip(name, 40))}</code>" for name in columns[:40])
    more = f" and {len(columns) - 40:,} more" if len(columns) > 40 else ""
    return (
        f'<p class="small">Columns: {shown}{more}. Choose one for each role, or write several together, as in '
        "<code>{question}\\n\\n{context}</code>, where <code>\\n</code> begins a new line.</p>"
    )


def to_line(template: str) -> str:
    """A template as one line, as its field shows it."""
    return template.replace("\n", "\\n")


def from_line(line: str | None) -> str:
    """The template that a field's line stands for."""
    return (line or "").strip().replace("\\n", "\n")


def label_names_line(names: Sequence[str]) -> str:
    """0=negative, 1=positive"""
    return ", ".join(f"{number}={name}" for number, name in enumerate(names))


def label_names_of(line: str | None) -> list[str]:
    """The names in "0=negative, 1=positive"; plain names count from 0. Raises InvalidInput if a number is missing."""
    named: dict[int, str] = {}
    for place, entry in enumerate(part.strip() for part in (line or "").split(",") if part.strip()):
        number, separator, name = entry.partition("=")
        if separator and number.strip().isdigit():
            named[int(number)] = name.strip()
        else:
            named[place] = entry
    if sorted(named) != list(range(len(named))):
        raise InvalidInput("label_names must name every number from 0 on: 0=no, 1=yes.", field="data.label_names")
    return [named[number] for number in range(len(named))]
