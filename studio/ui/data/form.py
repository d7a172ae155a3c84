"""The Data page's fields as values of a sketch, and back: blanks, lists typed with commas, mappings.

Knows no component; values come and go in the order of the fields' names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import InvalidInput
from studio.ui.data import mapping as data_mapping
from studio.ui.data.cleaning import rows_line
from studio.ui.data.sketch import MAPPING, Sketch, changed
from studio.ui.shared import START_DRAFT

ANOTHER_CONTENT = ("config", "revision", "split", "max_rows")
"""Fields after whose change the content is another one, so that its old fingerprint says nothing."""


def values_of(sketch: Sketch, names: Sequence[str]) -> dict[str, Any]:
    """What each field shows for a sketch. Roles show what the next look recognises."""
    return {name: _shown(sketch, name) for name in names}


def _shown(sketch: Sketch, name: str) -> Any:
    if name.startswith(MAPPING):
        return data_mapping.to_line(sketch["data"]["mapping"].get(name.removeprefix(MAPPING), ""))
    part, _, field = name.partition(".")
    value = sketch[part][field]
    if name == "data.label_names":
        return data_mapping.label_names_line(value)
    if name == "cleaning.drop_rows":
        return rows_line(value)
    return "" if value is None else value


def read(sketch: Sketch, values: Mapping[str, Any], looked: Mapping[str, Any] | None) -> Sketch:
    """The sketch that the fields say. `looked` is the last look: what it filled into roles was not chosen by anybody.

    Raises InvalidInput with the field's name.
    """
    plain = {name: _read(name, value) for name, value in values.items() if not name.startswith(MAPPING)}
    known = looked or {}
    if (values["data.label_names"] or "").strip() == known.get("label_names", ""):
        plain["data.label_names"] = sketch["data"]["label_names"]
    after = changed(sketch, plain)
    roles = {name: data_mapping.from_line(value) for name, value in values.items() if name.startswith(MAPPING)}
    chosen = {name.removeprefix(MAPPING): value for name, value in roles.items() if value}
    if plain["data.format"] != sketch["data"]["format"]:
        after["data"]["mapping"] = {}  # the roles of the other format do not fit this one
        after["data"]["label_names"] = []
    elif chosen != known.get("mapping", {}):
        after["data"]["mapping"] = chosen
    if any(after["data"][field] != sketch["data"][field] for field in ANOTHER_CONTENT):
        after["data"]["fingerprint"] = None
    return after


def _read(name: str, value: Any) -> Any:
    """A field's value as the recipe wants it. What a person emptied is what the recipe starts with."""
    part, _, field = name.partition(".")
    start = START_DRAFT[part][field]
    if name == "data.label_names":
        return data_mapping.label_names_of(value)
    if name == "cleaning.drop_rows":
        return row_numbers(value)
    if isinstance(value, str):
        return value.strip() or start
    return start if value is None else value


def row_numbers(line: str | None) -> list[int]:
    """3, 17 and 20-25. Raises InvalidInput naming what is no number."""
    numbers: set[int] = set()
    for entry in (line or "").replace(";", ",").split(","):
        first, dash, last = entry.strip().partition("-")
        if not first and not dash:
            continue
        if not first.strip().isdigit() or (dash and not last.strip().isdigit()):
            raise InvalidInput(
                f"“{entry.strip()[:40]}” is no row number. Write numbers with commas, such as 3, 17, 20-25.",
                field="cleaning.drop_rows",
            )
        low, high = int(first), int(last) if dash else int(first)
        if high - low > 100_000:
            raise InvalidInput("At most 100,000 rows can be left out by number.", field="cleaning.drop_rows")
        numbers.update(range(low, high + 1))
    return sorted(numbers)
