"""Paging through rows: a window on all of them or on those that a finding named."""

from __future__ import annotations

import pytest

from studio.ui.data import pager as data_pager
from studio.ui.data.pager import START


def test_the_first_page_is_shown_before_anybody_has_counted() -> None:
    assert data_pager.numbers(START, None) == [1, 2, 3, 4, 5, 6]
    assert data_pager.words(START, None) == "The first rows"
    assert data_pager.moved(START, 1, None) == START


def test_pages_go_on_to_the_last_row_and_stop_there() -> None:
    second = data_pager.moved(START, 1, 8)
    assert data_pager.numbers(second, 8) == [7, 8]
    assert data_pager.words(second, 3000) == "Rows 7–12 of 3,000"
    assert data_pager.moved(second, 1, 8) == second
    assert data_pager.moved(second, -3, 8) == START


@pytest.mark.parametrize(("number", "first"), [(0, 1), (17, 17), (99, 20)])
def test_a_row_is_gone_to_by_its_number(number: int, first: int) -> None:
    assert data_pager.numbers(data_pager.at_row(number, 20), 20)[0] == first


@pytest.mark.parametrize("typed", ["", None, "x", "-3", "1e9"])
def test_what_is_no_number_moves_nothing(typed: str | None) -> None:
    assert data_pager.asked_for(START, typed, 20) == START
    assert data_pager.asked_for(START, "1,000", 3000)["first"] == 999


def test_only_the_rows_of_a_finding_with_the_way_back() -> None:
    picked = data_pager.at_picked(list(range(3, 50, 5)), "Empty <answers>")
    assert data_pager.numbers(data_pager.moved(picked, 1, 3000), 3000) == [33, 38, 43, 48]
    assert "1–6 of 10 rows: Empty &lt;answers&gt;" in data_pager.words(picked, 3000)
    assert 'data-press="all:"' in data_pager.words(picked, 3000)


def test_an_empty_dataset_has_no_rows() -> None:
    assert data_pager.words(START, 0) == "No rows"
