"""What becomes of the rows, in words: counts beside steps, what a closed fold says, what is mixed in."""

from __future__ import annotations

from studio.recipe import CleaningPart
from studio.ui.data import cleaning as data_cleaning
from studio.ui.shared import START_DRAFT

OFF = START_DRAFT["cleaning"]
STEPS = [
    {"name": "trim", "changed": 40, "dropped": 0, "left": 300},
    {"name": "dedupe", "changed": 0, "dropped": 1, "left": 299},
]


def test_every_cleaning_field_is_on_the_page_in_its_order() -> None:
    fields = [name for name in CleaningPart.model_fields if name != "near_duplicate_similarity"]
    assert list(data_cleaning.STEPS) == fields == list(data_cleaning.STEP_WORDS)


def test_a_closed_fold_says_what_is_on_and_what_it_did() -> None:
    on = {**OFF, "trim": True, "dedupe": "exact"}
    assert data_cleaning.fold_label(OFF, None) == "Cleaning: nothing is changed"
    assert data_cleaning.fold_label(on, None) == "Cleaning: 2 steps"
    assert data_cleaning.fold_label(on, STEPS) == "Cleaning: 2 steps, 1 row left out, 40 changed"


def test_a_count_stands_beside_each_step_that_is_on() -> None:
    on = {**OFF, "trim": True, "dedupe": "exact", "drop_empty": True}
    assert "40 rows changed" in data_cleaning.count_html("trim", on, STEPS)
    assert "1 row left out" in data_cleaning.count_html("dedupe", on, STEPS)
    assert data_cleaning.count_html("dedupe", OFF, STEPS) == ""  # unticked since
    assert data_cleaning.count_html("drop_empty", on, STEPS) == ""  # not counted yet
    nothing = [{"name": "drop_empty", "changed": 0, "dropped": 0, "left": 9}]
    assert "no row" in data_cleaning.count_html("drop_empty", on, nothing)


def test_what_is_held_out_is_said_and_that_nothing_is() -> None:
    data = START_DRAFT["data"]
    assert data_cleaning.held_label(data, None) == "Held out: 60 rows"
    assert data_cleaning.held_label({**data, "held_out_by": "customer"}, 43) == "Held out: 43 rows, by customer"
    assert "nothing is measured" in data_cleaning.held_label({**data, "held_out_rows": 0}, 0)


def test_mixed_datasets_are_listed_with_a_way_out() -> None:
    html = data_cleaning.mixed_html([{"dataset": "/data/<b>.jsonl", "weight": 0.25}])
    assert "&lt;b&gt;.jsonl" in html
    assert "0.25 times" in html
    assert 'data-press="unmix:0"' in html
    assert data_cleaning.mix_label([1, 2]) == "Mix in other datasets: 2"
