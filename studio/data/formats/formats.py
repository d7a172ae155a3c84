"""What the columns of a dataset mean: recognised from its first rows, or as the recipe says.

    recognise(rows, part)   every Format that fits, the best first; read_row (conversations.py) goes by it

Knows columns and values, no file and no tokenizer. The rules of each format are in recognisers.py and judged.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.data.formats.baked import baked_template
from studio.data.formats.column_names import HISTORY
from studio.data.formats.conversations import read_row
from studio.data.formats.judged import classification, kto, preference, two_texts
from studio.data.formats.mapping import UnreadableRow, check
from studio.data.formats.recognisers import Format, alpaca, messages, prompt_completion, question_answer, sharegpt, text
from studio.data.formats.sample import Sample
from studio.errors import InvalidInput
from studio.recipe_data_fields import DataSource, FormatName, Role

__all__ = ["NEEDS", "Format", "recognise"]

NEEDS: dict[FormatName, tuple[tuple[tuple[Role, ...], ...], str]] = {
    "messages": ((("messages",),), "a column of turns with role and content, such as messages"),
    "sharegpt": ((("messages",),), "a column of turns with from and value, such as conversations"),
    "alpaca": ((("prompt", "completion"),), "the columns instruction and output"),
    "prompt/completion": ((("prompt", "completion"),), "the columns prompt and completion"),
    "question/answer": ((("prompt", "completion"),), "the columns question and answer"),
    "text": ((("text",),), "a column text"),
    "classification": ((("text", "label"), ("prompt", "label")), "the columns text and label"),
    "preference": ((("chosen", "rejected"),), "the columns chosen and rejected, and mostly prompt"),
    "kto": (
        (("prompt", "completion", "label"), ("messages", "label")),
        "the columns prompt, completion and label, the last one true or false",
    ),
}
"""Format -> the roles that it can be read from (any of these sets), and which columns that takes, for people."""
RECOGNISERS: tuple[tuple[FormatName, Callable[[Sample], Format | None]], ...] = (
    ("preference", preference),
    ("kto", kto),
    ("messages", messages),
    ("sharegpt", sharegpt),
    ("alpaca", alpaca),
    ("prompt/completion", prompt_completion),
    ("question/answer", question_answer),
    ("classification", classification),
    ("text", text),
)
"""In the order in which they are tried: what says most comes first."""
_SURENESS = ("certain", "likely", "guess")


def recognise(
    rows: Sequence[Mapping[str, Any]],
    part: DataSource,
    label_names: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Format]:
    """The formats that fit the first 200 of `rows`, the best first; never empty.

    `part.format` and `part.mapping` go before what is recognised. `label_names` gives the words of integer labels by
    column, where the file stores them. Raises InvalidInput (data.format, data.mapping) naming the columns when nothing
    fits, or when a mapping names a column that is not there.
    """
    sample = Sample(rows, label_names or {})
    if not sample.columns:
        raise InvalidInput(f"{part.dataset} has no rows with columns. Check the file.", field="data.dataset")
    mapping = {role: template for role, template in part.mapping.items() if template.strip()}
    check(mapping, sample.columns)
    forms = _mapped(sample, part.format, mapping) if mapping else _recognised(sample, part.format)
    if not forms and part.format == "auto":
        raise InvalidInput(
            f"No known format in the columns {', '.join(sample.columns)}. "
            "Say below which column is the question and which the answer.",
            field="data.mapping",
        )
    if not forms:
        raise InvalidInput(
            f"The columns {', '.join(sample.columns)} do not fit {part.format}, which needs {NEEDS[part.format][1]}. "
            "Choose another format, or say below which column is what.",
            field="data.format",
        )
    return [_with_label_names(form, part, sample) for form in forms]


def _recognised(sample: Sample, wanted: FormatName) -> list[Format]:
    """What most rows can be read with, the surest first, then what says most; if nothing can, what the columns say."""
    found = [form for name, fits in RECOGNISERS if wanted in ("auto", name) and (form := fits(sample)) is not None]
    unsure = all(form.sureness == "guess" for form in found)
    if unsure and (guess := two_texts(sample)) is not None and wanted in ("auto", guess.name):
        found.append(guess)
    if len(found) > 1:  # any text can be trained as it is, so that what else fits says more
        found = [replace(form, sureness="likely") if _is_sure_text(form) else form for form in found]
    found.sort(key=lambda form: _SURENESS.index(form.sureness))
    found = [form for form in found if form.sureness != "guess"] or found
    return [form for form in found if _mostly_readable(form, sample)] or found


def _is_sure_text(form: Format) -> bool:
    return form.name == "text" and form.sureness == "certain"


def _mostly_readable(form: Format, sample: Sample) -> bool:
    return 2 * sum(_readable(row, form) for row in sample.rows) >= len(sample.rows)


def _readable(row: Mapping[str, Any], form: Format) -> bool:
    try:
        read_row(row, form)
    except UnreadableRow:
        return False
    return True


def _mapped(sample: Sample, wanted: FormatName, mapping: dict[Role, str]) -> list[Format]:
    """The format that the recipe's mapping makes: on its own, or laid over what is recognised."""
    others = _recognised(sample, wanted)
    roles, name = mapping, _name_of(mapping, wanted, sample)
    if name is None:
        laid_over = [form.mapping | mapping for form in others]
        roles = next((roles for roles in laid_over if _name_of(roles, wanted, sample) is not None), mapping)
        name = _name_of(roles, wanted, sample)
    if name is None:
        raise InvalidInput(_incomplete(mapping, wanted), field="data.mapping")
    columns = check(roles, sample.columns)
    if name == "alpaca" and HISTORY in sample.columns:
        columns += (HISTORY,)
    form = Format(name, "certain", f"the mapping says so: {_spelled(mapping)}", columns, roles)
    if name == "text":
        form = replace(form, template=_baked_into(form, sample))
    return [form, *(other for other in others if other.mapping != roles)]


def _baked_into(form: Format, sample: Sample) -> str | None:
    """The chat template that the mapped texts carry."""
    baked = baked_template([read_row(row, form).text or "" for row in sample.rows if _readable(row, form)])
    return None if baked is None or baked[1] == "guess" else baked[0]


def _name_of(roles: Mapping[Role, str], wanted: FormatName, sample: Sample) -> FormatName | None:
    """The format that these roles can be read as; the wanted one, if they suffice for it."""
    if wanted != "auto":
        return wanted if _suffices(roles, wanted) else None
    order: tuple[FormatName, ...] = ("preference", "kto", "messages", "classification", "prompt/completion", "text")
    name = next((name for name in order if _suffices(roles, name)), None)
    if name == "messages" and sample.notation(_column(roles["messages"], sample)) in ("from and value", "mixed"):
        return "sharegpt"
    return name


def _suffices(roles: Mapping[Role, str], name: FormatName) -> bool:
    return any(all(role in roles for role in needed) for needed in NEEDS[name][0])


def _column(template: str, sample: Sample) -> str:
    return check({"messages": template}, sample.columns)[0]


def _spelled(mapping: Mapping[Role, str]) -> str:
    return ", ".join(f"{role} is {' '.join(template.split())}" for role, template in mapping.items())


def _incomplete(mapping: Mapping[Role, str], wanted: FormatName) -> str:
    said = ", ".join(mapping)
    if wanted != "auto":
        return f"The mapping names {said}, and {wanted} needs {NEEDS[wanted][1]}. Say which columns those are."
    missing = {"prompt": "which column is the answer (completion)", "completion": "which is the question (prompt)"}
    asked = next((missing[role] for role in mapping if role in missing), "what is the question and what the answer")
    return f"The mapping names only {said}. Say also {asked}."


def _with_label_names(form: Format, part: DataSource, sample: Sample) -> Format:
    """`form` with words for its labels: the recipe's own, else those that the file stores for that column."""
    if form.name != "classification":
        return form
    names = part.label_names or form.label_names
    if not names:
        column = check({"label": form.mapping["label"]}, sample.columns)[0]
        names = tuple(sample.label_names.get(column, ()))
    if not names:
        return form
    named = part.label_names and form.sureness == "likely"
    reason = f"{form.reason.split(', whose numbers')[0]}, with names for its numbers" if named else form.reason
    return replace(form, label_names=names, reason=reason, sureness="certain" if named else form.sureness)
