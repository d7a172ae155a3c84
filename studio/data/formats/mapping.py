"""Templates that say which columns play a role: "{question}", then "{context}", or {answers.text.0}.

Knows rows as plain values and no format. The rules, which the mapping panel states too:

    question                     a column's name alone is short for {question}
    {answers.text.0}             reaches into nested values, and into JSON text in a cell
    {{ and }}                    are braces themselves
    Context: {context}           a paragraph (between blank lines) is left out when all its columns are empty
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from studio.errors import InvalidInput

FIELD = "data.mapping"
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ABSENT = object()


class UnreadableRow(ValueError):
    """A row that its format cannot be read from; the message is the reason, a fragment without a full stop."""


class MissingColumn(UnreadableRow):
    """A row lacks a column, or a nested value in it."""


@dataclass(frozen=True)
class _Hole:
    """One {…}: the path as written, which may be a column's name with dots and blanks, and its steps."""

    path: str
    steps: tuple[str, ...]


_Paragraph = tuple["str | _Hole", ...]


def fill(template: str, row: Mapping[str, Any]) -> str:
    """`template` with the row's values as text. Null is empty; numbers are written out.

    Raises UnreadableRow when a column is missing or holds no text, InvalidInput when the template itself is wrong.
    Where a template reads several columns, one that this row lacks counts as empty.
    """
    value = take(template, row)
    return value if isinstance(value, str) else written(value, template)


def take(template: str, row: Mapping[str, Any]) -> Any:
    """Like `fill`, but a template of a single column gives that column's value as it is: a list of turns, say."""
    if template in row:
        return row[template]
    paragraphs = _compiled(template)
    if len(paragraphs) == 1 and len(paragraphs[0]) == 1 and isinstance(paragraphs[0][0], _Hole):
        value = _reach(row, paragraphs[0][0])
        if value is _ABSENT:
            raise MissingColumn(f"the column {paragraphs[0][0].steps[0]} is missing")
        return value
    return _compose(paragraphs, row)


def take_if_there(template: str, row: Mapping[str, Any]) -> Any:
    """Like `take`, and None where the row lacks the column."""
    try:
        return take(template, row)
    except MissingColumn:
        return None


def columns_of(template: str) -> tuple[str, ...]:
    """The columns that a template reads, in order, each once; of {answers.text.0} it is answers."""
    return tuple(dict.fromkeys(hole.steps[0] for hole in _holes(template)))


def template_of(column: str) -> str:
    """The template that reads one column."""
    return f"{{{column}}}"


def check(mapping: Mapping[Any, str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that `mapping` reads. Raises InvalidInput naming one that is not among `columns`."""
    read: dict[str, None] = {}
    for role, template in mapping.items():
        if template in columns:
            read[template] = None
            continue
        for hole in _holes(template):
            column = hole.path if hole.path in columns else hole.steps[0]
            if column not in columns:
                raise InvalidInput(_unknown(str(role), column, columns), field=FIELD)
            read[column] = None
    return tuple(read)


def written(value: Any, name: str) -> str:
    """One value as text; `name` is what it is called if it holds none."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    found = "named values" if isinstance(value, Mapping) else "a list"
    raise UnreadableRow(f"{name.strip('{}')} holds {found}, not text")


def structured(value: Any) -> Any:
    """`value`, or what stands in it if it is text that begins like a list or named values and is JSON.

    Also takes what Python prints for them (quotes are ' there), which is what pandas writes into csv cells.
    """
    if not isinstance(value, str) or not value or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass  # then it is Python's notation, or plain text
    if "'" not in value[:40]:
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return value


def _unknown(role: str, column: str, columns: Sequence[str]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"The mapping of {role} names the column {column}, which is not there.{hint} There are: {', '.join(columns)}."
    )


def _holes(template: str) -> list[_Hole]:
    return [piece for paragraph in _compiled(template) for piece in paragraph if isinstance(piece, _Hole)]


@lru_cache(maxsize=1024)
def _compiled(template: str) -> tuple[_Paragraph, ...]:
    """The template's paragraphs, each of texts and holes."""
    if "{" not in template and "}" not in template:
        return ((_Hole(template, tuple(template.split("."))),),)
    paragraphs: list[list[str | _Hole]] = [[]]
    end = 0
    for match in _PIECE.finditer(template):
        _add_text(paragraphs, template[end : match.start()])
        end = match.end()
        if match[0] in ("{{", "}}"):
            _add_text(paragraphs, match[0][0])
        elif match[1] and match[1].strip():
            paragraphs[-1].append(_Hole(match[1], tuple(match[1].strip().split("."))))
        else:
            raise InvalidInput(
                f"The template {template!r} has a brace without its column. Write {{column}}, and {{{{ for a brace.",
                field=FIELD,
            )
    _add_text(paragraphs, template[end:])
    return tuple(tuple(paragraph) for paragraph in paragraphs)


def _add_text(paragraphs: list[list[str | _Hole]], text: str) -> None:
    first, *others = text.split("\n\n")
    if first:
        paragraphs[-1].append(first)
    paragraphs.extend([other] if other else [] for other in others)


def _compose(paragraphs: tuple[_Paragraph, ...], row: Mapping[str, Any]) -> str:
    """The paragraphs that are text only, or of which at least one column holds something."""
    kept: list[str] = []
    found = 0
    missing: list[str] = []
    for paragraph in paragraphs:
        texts: list[str] = []
        blank = False
        for piece in paragraph:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            value = _reach(row, piece)
            if value is _ABSENT:
                missing.append(piece.steps[0])
                value = None
            found += value is not None
            texts.append(written(value, piece.path))
            blank = blank or not texts[-1].strip()
        if not blank or not _all_empty(paragraph, texts):
            kept.append("".join(texts))
    if missing and not found:
        raise MissingColumn(f"the column {missing[0]} is missing")
    return "\n\n".join(kept)


def _all_empty(paragraph: _Paragraph, texts: list[str]) -> bool:
    return all(isinstance(piece, str) or not text.strip() for piece, text in zip(paragraph, texts, strict=True))


def _reach(row: Mapping[str, Any], hole: _Hole) -> Any:
    """The value at the end of the path; _ABSENT when the row lacks the column, None past a list's end."""
    if hole.path in row:
        return row[hole.path]
    if hole.steps[0] not in row:
        return _ABSENT
    value = row[hole.steps[0]]
    for step in hole.steps[1:]:
        value = structured(value)
        if value is None:
            return None
        value = _step(value, step, hole)
    return value


def _step(value: Any, step: str, hole: _Hole) -> Any:
    if isinstance(value, Mapping):
        if step not in value:
            raise MissingColumn(f"the column {hole.steps[0]} has no {step} ({hole.path})")
        return value[step]
    if isinstance(value, list | tuple) and step.isdigit():
        return value[int(step)] if int(step) < len(value) else None
    raise UnreadableRow(f"the column {hole.steps[0]} holds nothing called {step} ({hole.path})")
