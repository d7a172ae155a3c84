"""One function a format: does it fit the columns, how surely, and why. `formats.py` puts them in order.

Knows columns and their values through a `Sample`; reads no row into an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from studio.data.formats.baked import Sureness, baked_template
from studio.data.formats.column_names import CONVERSATIONS, HISTORY, NO_CONVERSATIONS, PAIRS, SYSTEM, TEXTS, TOOLS
from studio.data.formats.mapping import check, structured, template_of
from studio.data.formats.sample import Sample
from studio.recipe_data_fields import FormatName, Role


@dataclass(frozen=True)
class Format:
    """What the columns of a dataset mean."""

    name: FormatName
    """Never "auto"."""
    sureness: Sureness
    reason: str
    """Why it was taken, a fragment for people: "the column messages holds turns with role and content"."""
    columns: tuple[str, ...]
    """The columns that are read."""
    mapping: dict[Role, str] = field(default_factory=dict)
    """Role -> the template that fills it; the mapping panel opens with these."""
    template: str | None = None
    """Of texts with a chat template written into them: its name."""
    label_names: tuple[str, ...] = ()
    """Of integer labels: their words."""


def messages(sample: Sample) -> Format | None:
    """Turns with role and content, or texts that take turns."""
    return _turns(sample, "messages", ("role and content", "texts"))


def sharegpt(sample: Sample) -> Format | None:
    """Turns with from and value, or a mixture with role and content."""
    return _turns(sample, "sharegpt", ("from and value", "mixed"))


def alpaca(sample: Sample) -> Format | None:
    """An instruction, sometimes an input that belongs to it, and an answer."""
    asked = sample.find("instruction", "instructions")
    answer = sample.find("output", "response", "answer", "completion")
    if not (asked and answer and sample.wordy(asked) and sample.wordy(answer)):
        return None
    added = sample.find_any("input", "context")
    added = added if added and sample.wordy(added) else None
    prompt = f"{{{asked}}}\n\n{{{added}}}" if added else template_of(asked)
    mapping = system_and_tools(sample) | {"prompt": prompt, "completion": template_of(answer)}
    form = form_of(sample, "alpaca", "certain", f"there are columns {asked} and {answer}", mapping)
    return replace(form, columns=(*form.columns, HISTORY)) if HISTORY in sample.columns else form


def prompt_completion(sample: Sample) -> Format | None:
    """Columns prompt and completion, texts or turns."""
    return _pair(sample, "prompt/completion")


def question_answer(sample: Sample) -> Format | None:
    """Columns question and answer, or what else such pairs are called."""
    return _pair(sample, "question/answer")


def text(sample: Sample) -> Format | None:
    """One column of plain text, or of text with a chat template written into it."""
    wordy = sample.wordy_columns
    column = next((found for name in TEXTS if (found := sample.find(name)) in wordy), None)
    alone = len(wordy) == 1
    sureness: Sureness = "guess"
    if column is None:
        if not alone:
            return None
        column = wordy[0]
        sureness = "likely" if sample.lone(column) else "guess"
    elif alone or column.lower() == "text":
        sureness = "certain" if alone and column.lower() == "text" else "likely"
    reason = f"the column {column} is trained as it is"
    form = form_of(sample, "text", sureness, reason, {"text": template_of(column)})
    baked = baked_template(sample.texts(column))
    if baked is None or baked[1] == "guess":
        return form
    template, how_sure, why = baked
    return replace(form, sureness=how_sure, reason=f"in the column {column} {why}", template=template)


def form_of(
    sample: Sample,
    name: FormatName,
    sureness: Sureness,
    reason: str,
    mapping: dict[Role, str],
    label_names: tuple[str, ...] = (),
) -> Format:
    """A Format whose columns are those that its mapping reads."""
    return Format(name, sureness, reason, check(mapping, sample.columns), mapping, label_names=label_names)


def system_and_tools(sample: Sample) -> dict[Role, str]:
    """What may stand beside the turns in columns of its own."""
    found: dict[Role, str] = {}
    system, tools = sample.find_any(*SYSTEM), sample.find_any(*TOOLS)
    if system and sample.wordy(system):
        found["system"] = template_of(system)
    if tools and any(_is_schemas(value) for value in sample.values(tools)):
        found["tools"] = template_of(tools)
    return found


def _is_schemas(value: Any) -> bool:
    schemas = structured(value)
    schemas = [schemas] if isinstance(schemas, Mapping) else schemas
    return isinstance(schemas, list) and all(isinstance(structured(schema), Mapping) for schema in schemas)


def _turns(sample: Sample, name: FormatName, notations: Sequence[str]) -> Format | None:
    """A column of turns in one of these notations, the usual names of such columns first."""
    known = [column for wanted in CONVERSATIONS if (column := sample.find(wanted))]
    others = [column for column in sample.usual if column not in known and column.lower() not in NO_CONVERSATIONS]
    for column in known + others:
        written = sample.notation(column)
        if written not in notations or sample.kind(column) not in ("turns", "texts"):
            continue
        if written == "texts" and column not in known:
            continue
        mapping = system_and_tools(sample) | {"messages": template_of(column)}
        reason = f"the column {column} holds turns with {written}"
        if written == "mixed":
            reason = f"the column {column} holds turns with a speaker and a text"
        elif written == "texts":
            reason = f"the column {column} holds texts that take turns, the first being the question"
        sureness: Sureness = "certain" if column in known and written not in ("texts", "mixed") else "likely"
        return form_of(sample, name, sureness, reason, mapping)
    return None


def _pair(sample: Sample, name: FormatName) -> Format | None:
    """Two columns that ask and answer, whatever they are called."""
    for of, sureness, asked, answer in PAIRS:
        ask, reply = sample.find(asked), sample.find(answer)
        if of != name or not (ask and reply):
            continue
        completion = _answer_template(sample, reply)
        if completion is None or not (sample.wordy(ask) or sample.kind(ask) == "turns"):
            continue
        context = sample.find("context", "passage") if name == "question/answer" else None
        prompt = template_of(ask)
        reason = f"there are columns {ask} and {reply}"
        if context and sample.wordy(context):
            prompt, reason = f"{{{context}}}\n\n{prompt}", f"there are columns {context}, {ask} and {reply}"
        choices = sample.find("choices", "options")
        if choices:
            sureness, reason = "guess", f"{reason}, but {choices} is not read: the mapping can show it"
        mapping = system_and_tools(sample) | {"prompt": prompt, "completion": completion}
        return form_of(sample, name, sureness, reason, mapping)
    return None


def _answer_template(sample: Sample, column: str) -> str | None:
    """How the answer is read: as it is, or the first of several as SQuAD and TriviaQA keep them."""
    kind = sample.kind(column)
    first = next(iter(sample.values(column)), None)
    named = structured(first)
    if isinstance(named, Mapping) and isinstance(named.get("text"), list) and "answer_start" in named:
        return f"{{{column}.text.0}}"
    if kind in ("text", "number", "bool", "empty", "turns"):
        return template_of(column)
    if isinstance(first, Mapping):
        return f"{{{column}.value}}" if isinstance(first.get("value"), str) else None
    return f"{{{column}.0}}" if isinstance(first, list) and all(isinstance(entry, str) for entry in first) else None
