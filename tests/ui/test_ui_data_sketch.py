"""What the Data page has chosen: it survives old drafts, forgets with the dataset, and never touches the rest."""

from __future__ import annotations

import pytest

from studio.errors import InvalidInput
from studio.recipe import Recipe
from studio.ui.data import sketch as data_sketch
from studio.ui.data.sketch import chosen, sketch_of, with_sketch
from studio.ui.shared import START_DRAFT, whole_draft


def test_a_draft_that_an_older_studio_left_in_the_browser_is_completed() -> None:
    old = {"model": {"base_model": "owner/name"}, "data": {"dataset": "rows.csv", "gone": 1}}
    whole = whole_draft(old)
    assert whole["cleaning"] == START_DRAFT["cleaning"]
    assert whole["data"] == {**START_DRAFT["data"], "dataset": "rows.csv"}
    assert whole["model"]["base_model"] == "owner/name"
    assert whole_draft(None) == START_DRAFT


def test_another_dataset_begins_with_nothing_set() -> None:
    mapped = data_sketch.changed(sketch_of(None), {"data.mapping.prompt": "q", "cleaning.trim": True})
    assert chosen("other.csv")["data"]["mapping"] == {}
    assert chosen("other.csv", mapped["data"], mapped["cleaning"])["data"]["mapping"] == {"prompt": "q"}
    assert chosen("other.csv", mapped["data"], mapped["cleaning"])["cleaning"]["trim"] is True


def test_changing_never_changes_the_sketch_that_was_handed_in() -> None:
    before = sketch_of(None)
    after = data_sketch.changed(before, {"data.mapping.prompt": "q"})
    assert (before["data"]["mapping"], after["data"]["mapping"]) == ({}, {"prompt": "q"})
    assert data_sketch.changed(after, {"data.mapping.prompt": ""})["data"]["mapping"] == {}


def test_a_field_that_is_none_of_a_datasets_is_refused() -> None:
    for name in ("training.max_length", "data.nothing", "cleaning"):
        with pytest.raises(InvalidInput, match=r"no field"):
            data_sketch.changed(sketch_of(None), {name: 1})


def test_used_it_replaces_data_and_cleaning_of_the_draft_alone() -> None:
    draft = Recipe().changed(**{"training.max_steps": 7}).model_dump(mode="json")
    used = with_sketch(draft, data_sketch.changed(sketch_of(draft), {"cleaning.dedupe": "exact"}))
    assert (used["training"]["max_steps"], used["cleaning"]["dedupe"]) == (7, "exact")


def test_a_row_is_left_out_and_taken_back_by_its_number() -> None:
    without = data_sketch.without_row(data_sketch.without_row(sketch_of(None), 9), 3)
    assert without["cleaning"]["drop_rows"] == [3, 9]
    assert data_sketch.with_row(without, 3)["cleaning"]["drop_rows"] == [9]


def test_a_dataset_mixed_in_twice_is_there_once_with_the_new_weight() -> None:
    saved = {"dataset": "general.jsonl", "mapping": {"prompt": "q"}, "held_out_rows": 60, "mix": []}
    once = data_sketch.mixed_in(sketch_of(None), saved, 1.0)
    twice = data_sketch.mixed_in(once, saved, 0.25)
    assert twice["data"]["mix"] == [{"dataset": "general.jsonl", "mapping": {"prompt": "q"}, "weight": 0.25}]
    assert data_sketch.recipe_of(None, twice).data.mix[0].weight == 0.25
    assert data_sketch.mixed_out(twice, 0)["data"]["mix"] == []


def test_a_fix_is_divided_into_what_the_page_chooses_and_what_training_does() -> None:
    ours, rest = data_sketch.divided({"cleaning.trim": True, "training.max_length": 704, "data.bad_rows": "skip"})
    assert ours == {"cleaning.trim": True, "data.bad_rows": "skip"}
    assert rest == {"training.max_length": 704}
