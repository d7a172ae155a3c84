"""The first rows of a dataset, looked at as columns: which there are, and what each holds.

Knows no format; `recognisers.py` asks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from studio.data.formats.column_names import ABOUT_ROWS
from studio.data.formats.turns import notation

LOOKED_AT = 200
"""Rows that are looked at, at most."""
Kind = Literal["text", "number", "bool", "list", "named values", "turns", "texts", "empty"]
_CSV_BOOLS = {"true", "false"}


class Sample:
    """Up to 200 rows of one dataset. Columns are found by name without regard to case."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], label_names: Mapping[str, tuple[str, ...]]) -> None:
        self.rows = rows[:LOOKED_AT]
        self.label_names = label_names
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(str(column) for row in self.rows for column in row))
        self._kinds: dict[str, Kind] = {}

    @cached_property
    def usual(self) -> tuple[str, ...]:
        """Columns that at least half of the rows have, and that a template can name."""
        counts = Counter(column for row in self.rows for column in row)
        often = (column for column in self.columns if 2 * counts[column] >= len(self.rows))
        return tuple(column for column in often if column.strip() and "{" not in column and "}" not in column)

    @cached_property
    def wordy_columns(self) -> tuple[str, ...]:
        """Usual columns that hold text that could be learned: no names, dates and addresses of rows."""
        return tuple(name for name in self.usual if self.kind(name) == "text" and name.lower() not in ABOUT_ROWS)

    def lone(self, column: str) -> bool:
        """Whether the other usual columns only say something about the rows."""
        return all(name == column or name.lower() in ABOUT_ROWS for name in self.usual)

    def find(self, *names: str) -> str | None:
        """The usual column that has the first of these names that any has."""
        return _named(self.usual, names)

    def find_any(self, *names: str) -> str | None:
        """Like `find`, also among columns that few rows have."""
        return _named(self.columns, names)

    def values(self, column: str) -> list[Any]:
        """What stands in the column, nulls left out."""
        return [value for row in self.rows if (value := row.get(column)) is not None]

    def texts(self, column: str) -> list[str]:
        """The column's texts."""
        return [value for value in self.values(column) if isinstance(value, str)]

    def kind(self, column: str) -> Kind:
        """What most of the column's values are."""
        if column not in self._kinds:
            counts = Counter(_kind(value) for value in self.values(column))
            self._kinds[column] = counts.most_common(1)[0][0] if counts else "empty"
        return self._kinds[column]

    def wordy(self, column: str) -> bool:
        """Whether the column can be read as text: texts, numbers, or nothing at all."""
        return self.kind(column) in ("text", "number", "empty")

    def notation(self, column: str) -> str | None:
        """How most of the column's lists of turns are written."""
        counts = Counter(found for value in self.values(column) if (found := notation(value)) is not None)
        return counts.most_common(1)[0][0] if counts else None

    def true_or_false(self, column: str) -> bool:
        """Whether the column holds only true and false, also as texts."""
        if self.kind(column) == "bool":
            return True
        texts = {value.strip().lower() if isinstance(value, str) else "" for value in self.values(column)}
        return bool(texts) and texts <= _CSV_BOOLS


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _kind(value: Any) -> Kind:
    """What one value is; JSON text that holds turns counts as turns."""
    if isinstance(value, str):
        return "turns" if value.lstrip()[:1] in ("[", "{") and notation(value) else "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    found = notation(value)
    if found is not None:
        return "texts" if found == "texts" else "turns"
    return "named values" if isinstance(value, Mapping) else "list"
