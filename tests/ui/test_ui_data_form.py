"""The Data page's fields: what a person typed, what they emptied, and what only the recognition filled in."""

from __future__ import annotations

from typing import Any

import pytest

from studio.errors import InvalidInput
from studio.ui.data import form as data_form
from studio.ui.data.cleaning import STEPS
from studio.ui.data.mapping import ROLES
from studio.ui.data.sketch import Sketch, changed, sketch_of

NAMES = [
    *(f"data.{name}" for name in ("config", "split", "revision", "encoding", "delimiter", "max_rows", "format")),
    *(f"data.mapping.{role}" for role in ROLES),
    "data.label_names",
    *(f"cleaning.{name}" for name in STEPS),
    "cleaning.near_duplicate_similarity",
    "data.held_out_rows",
    "data.held_out_by",
]
LOOKED = {"mapping": {"text": "review", "label": "label"}, "label_names": "0=no, 1=yes"}


def typed(sketch: Sketch, **values: Any) -> dict[str, Any]:
    """The fields of a sketch after a look filled in what it recognised, some of them changed by a person."""
    shown = data_form.values_of(sketch, NAMES)
    shown |= {f"data.mapping.{role}": column for role, column in LOOKED["mapping"].items()}  # type: ignore[attr-defined]
    return {**shown, "data.label_names": LOOKED["label_names"], **values}


def test_untouched_fields_say_what_the_sketch_said() -> None:
    sketch = changed(sketch_of(None), {"cleaning.drop_rows": [3, 17], "cleaning.keep_if": "size(a) > 3"})
    assert data_form.read(sketch, typed(sketch), LOOKED) == sketch


def test_what_a_person_empties_is_what_a_recipe_starts_with() -> None:
    sketch = changed(sketch_of(None), {"data.split": "test", "cleaning.keep_if": "true", "data.held_out_rows": 9})
    emptied = typed(sketch, **{"data.split": " ", "cleaning.keep_if": None, "data.held_out_rows": None})
    after = data_form.read(sketch, emptied, LOOKED)
    assert (after["data"]["split"], after["cleaning"]["keep_if"], after["data"]["held_out_rows"]) == ("train", "", 60)


def test_recognised_columns_are_nobodys_choice_until_one_is_changed() -> None:
    sketch = sketch_of(None)
    assert data_form.read(sketch, typed(sketch), LOOKED)["data"]["mapping"] == {}
    after = data_form.read(sketch, typed(sketch, **{"data.mapping.label": "{label}\\nbecause {why}"}), LOOKED)
    assert after["data"]["mapping"] == {"text": "review", "label": "{label}\nbecause {why}"}


def test_another_format_forgets_the_old_ones_columns() -> None:
    sketch = changed(sketch_of(None), {"data.mapping.text": "review"})
    after = data_form.read(sketch, typed(sketch, **{"data.format": "text"}), LOOKED)
    assert (after["data"]["format"], after["data"]["mapping"]) == ("text", {})


def test_another_split_is_another_content() -> None:
    sketch = changed(sketch_of(None), {"data.fingerprint": "content-1"})
    assert data_form.read(sketch, typed(sketch), LOOKED)["data"]["fingerprint"] == "content-1"
    assert data_form.read(sketch, typed(sketch, **{"data.split": "train[:9]"}), LOOKED)["data"]["fingerprint"] is None


@pytest.mark.parametrize(
    ("line", "numbers"), [("", []), (None, []), ("3, 17", [3, 17]), ("20-23;3,", [3, 20, 21, 22, 23]), ("9-2", [])]
)
def test_row_numbers_are_typed_with_commas_and_dashes(line: str | None, numbers: list[int]) -> None:
    assert data_form.row_numbers(line) == numbers


@pytest.mark.parametrize(
    ("line", "told"), [("three", "is no row number"), ("3-x", "no row number"), ("1-9999999", "At most")]
)
def test_what_is_no_row_number_is_named(line: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        data_form.row_numbers(line)
    assert caught.value.field == "cleaning.drop_rows"
