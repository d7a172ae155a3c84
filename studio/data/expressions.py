"""Conditions over the columns of a row, in CEL (cel.dev): compiled once, worked out for every row.

Knows no recipe beyond the name of the field that it reports. CEL can read no file, define nothing and loop only over
lists that are there; what is left that could run long or eat memory (loops in loops, deep nesting, `map`) is refused
before the first row.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cel

from studio.errors import InvalidInput

FIELD = "cleaning.keep_if"
WHOLE_ROW = "row"
"""Name of the map that holds all columns, for those whose names are no words: row["my column"]."""

FUNCTIONS = ("size", "contains", "startsWith", "endsWith", "matches", "has", "int", "double", "string")
LOOPS = ("all", "exists", "exists_one", "filter")
"""What an expression may call, and the calls among them that go through a list."""

MOST_LOOPS_IN_LOOPS = 2
MOST_NESTED = 20
MOST_OPERATORS = 200
"""Far above what people write, far below what overflows a thread's stack or takes a second a row."""

logging.getLogger("cel").setLevel(logging.ERROR)
"""It warns of every failed size(); the row's error says it to the person already."""

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*)
  | (?P<text>
        [bB]?[rR][bB]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*')
      | [bB]?(?:\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | `[^`\n]*`
    )
  | (?P<number>\d[\w.]*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<operator>&&|\|\||[=!<>]=|[-+*/%<>!?.])
    """,
    re.VERBOSE,
)
_CONSTANTS = {"true", "false", "null", "in"}
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_KINDS = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a map"}


class Expression:
    """One condition. Raises InvalidInput, in words for people, if it cannot be used at all."""

    def __init__(self, text: str, columns: Sequence[str] | None = None) -> None:
        """`columns`: those of the dataset, where known. A row without one of them has null there."""
        self._columns = columns
        _check_size(text)
        try:
            program = cel.compile(text)
        except ValueError as error:
            raise InvalidInput(_unreadable(text, str(error)), field=FIELD) from error
        called, bound = _calls_and_loop_names(text)
        unknown = sorted(called - {*FUNCTIONS, *LOOPS})
        if unknown:
            raise InvalidInput(
                f"{unknown[0]}(…) is not something the expression can do. There are: "
                f"{', '.join((*FUNCTIONS, *LOOPS))}.",
                field=FIELD,
            )
        self._names = sorted(set(program.variables()) - bound)
        if columns is not None:
            self._check_names(columns)
        # CEL's own size() counts bytes here, though the language says letters: é would be two
        self._program = cel.compile(_with_own_size(text))

    def holds(self, row: Mapping[str, Any], number: int) -> bool:
        """Whether the condition is true for `row`.

        Raises InvalidInput naming row `number` (from 1) where it is neither true nor false: a row is never dropped
        because of a mistake.
        """
        if self._columns is None:
            self._check_names(tuple(row))
        values = {name: row if name == WHOLE_ROW else row.get(name) for name in self._names}
        if self._columns is not None and WHOLE_ROW in values:
            values[WHOLE_ROW] = {**dict.fromkeys(self._columns), **row}
        try:
            result = self._program.execute(cel.Context(variables=values, functions={_OWN_SIZE: _size}))
        except Exception as error:  # CEL raises a dozen kinds; whichever it is, the row cannot be judged
            raise InvalidInput(_failed(values, number, error), field=FIELD) from error
        if not isinstance(result, bool):
            raise InvalidInput(
                f"The expression gives {_kind(result)} for row {number:,}, not true or false. Compare it with "
                "something: size(answer) > 20.",
                field=FIELD,
            )
        return result

    def _check_names(self, columns: Sequence[str]) -> None:
        unknown = [name for name in self._names if name not in columns and name != WHOLE_ROW]
        if unknown:
            raise InvalidInput(
                f"There {'is no column' if len(unknown) == 1 else 'are no columns'} {', '.join(unknown)}. "
                f"There are: {', '.join(columns)}.",
                field=FIELD,
            )


_OWN_SIZE = "_size"


def _size(value: object) -> int:
    """CEL's size() as the language defines it: letters of a text, items of a list or map."""
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise ValueError(f"size() counts letters or items, and this is {_kind(value)}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, what, where) of each piece of an expression but its comments, texts whole."""
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "comment":
            yield str(found.lastgroup), found.group(), found.start()


def _check_size(text: str) -> None:
    """Raise InvalidInput for what would run long, or overflow the stack while it is compiled."""
    open_loops: list[bool] = []
    operators = 0
    before = ""
    for kind, what, _ in _tokens(text):
        if kind == "open":
            open_loops.append(what == "(" and before in LOOPS)
        elif kind == "close" and open_loops:
            open_loops.pop()
        operators += kind == "operator"
        before = what
        if len(open_loops) > MOST_NESTED:
            raise InvalidInput(f"The expression has more than {MOST_NESTED} brackets in brackets.", field=FIELD)
        if sum(open_loops) > MOST_LOOPS_IN_LOOPS:
            raise InvalidInput(
                f"The expression goes through lists in lists in lists; {MOST_LOOPS_IN_LOOPS} at once are possible.",
                field=FIELD,
            )
    if operators > MOST_OPERATORS:
        raise InvalidInput(
            f"The expression has {operators} operators; {MOST_OPERATORS} are possible. Make it shorter.", field=FIELD
        )


def _calls_and_loop_names(text: str) -> tuple[set[str], set[str]]:
    """(names that are called, names that stand for an item of a list)."""
    called: set[str] = set()
    bound: set[str] = set()
    pieces = [(kind, what) for kind, what, _ in _tokens(text)]
    for place, (kind, what) in enumerate(pieces[:-1]):
        if kind == "word" and pieces[place + 1][1] == "(" and what not in _CONSTANTS:
            called.add(what)
            if what in LOOPS and place + 2 < len(pieces):
                bound.add(pieces[place + 2][1])
    return called, bound


def _with_own_size(text: str) -> str:
    """The expression with size( replaced by the function above, texts and names left alone."""
    places = [
        start
        for (kind, what, start), (_, after, _) in itertools.pairwise(_tokens(text))
        if kind == "word" and what == "size" and after == "("
    ]
    for start in reversed(places):
        text = text[:start] + _OWN_SIZE + text[start + len("size") :]
    return text


def _unreadable(text: str, message: str) -> str:
    """Where a syntax error is and what it is."""
    if not text.strip():
        return "The expression is empty."
    found = _PLACE.search(message)
    if found is None:
        return "The expression cannot be read. Check its brackets and quotes."
    line, column, what = int(found[1]), int(found[2]), found[3]
    place = f"character {column}" if line == 1 else f"line {line}, character {column}"
    return f"The expression cannot be read at {place}: {_plain(what)}."


def _plain(what: str) -> str:
    """The parser's words as people say them."""
    seen = re.search(r"(?:error at: |input |at )'(.*?)'(?: expecting|$)", what)
    piece = seen[1].strip() if seen else ""
    if piece == "<EOF>":
        missing = re.search(r"missing '(.*?)'", what)
        return f"a {missing[1]} is missing" if missing else "it ends too early, something is missing"
    if piece == "=":
        return "a single = is not known, equal is =="
    if piece[:1] in "\"'“”„‘’" and piece:
        return f'the quote {piece[:1]} is not closed; texts stand in straight quotes, like "en"'
    return f"{piece} is not expected here" if piece else "it does not follow the rules of CEL"


def _failed(values: Mapping[str, Any], number: int, error: Exception) -> str:
    """Why one row cannot be judged, with what its columns hold, and how to write it."""
    if isinstance(error, KeyError):
        return f"Row {number:,} has no {str(error.args[0])!r} to look at. Ask first whether it is there: has(…)."
    if isinstance(error, IndexError):
        return f"Row {number:,} has a list that is shorter than the expression expects. Ask for its size() first."
    if isinstance(error, ZeroDivisionError):
        return f"The expression divides by zero in row {number:,}."
    if "not a valid regex" in str(error) or "size limit" in str(error):
        return f"The pattern in matches(…) is not valid: {str(error).splitlines()[-1].partition('. Check')[0]}."
    columns = {name: value for name, value in values.items() if name != WHOLE_ROW}
    held = ", ".join(f"{name} is {_kind(value)}" for name, value in columns.items())
    where = f" ({held})" if held else ""
    if None in columns.values():
        hint = "Say what should happen to empty values: column != null && …"
    elif "parse error" in str(error):
        hint = "A text there is no number."
    elif any(isinstance(value, str) for value in columns.values()):
        hint = "To compare a text as a number, write int(column) or double(column)."
    else:
        hint = "Compare values of the same kind only."
    return f"The expression cannot be worked out for row {number:,}{where}. {hint}"


def _kind(value: object) -> str:
    return "empty (null)" if value is None else _KINDS.get(type(value), type(value).__name__)
