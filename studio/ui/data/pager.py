"""Which rows the Data page shows: a window on all of them, or on those that a finding named. No gradio."""

from __future__ import annotations

from html import escape
from typing import Any

from studio.ui.data.view import ROWS_A_PAGE

Place = dict[str, Any]
START: Place = {"first": 0, "picked": None, "title": ""}
"""first: how many rows lie before the window. picked: the numbers that a finding named, else None."""


def total_of(place: Place, rows: int | None) -> int | None:
    """How many rows can be paged through; None while nobody has counted them."""
    return len(place["picked"]) if place["picked"] is not None else rows


def numbers(place: Place, rows: int | None) -> list[int]:
    """The row numbers in the window, from 1."""
    first, picked = place["first"], place["picked"]
    if picked is not None:
        return list(picked[first : first + ROWS_A_PAGE])
    last = first + ROWS_A_PAGE if rows is None else min(rows, first + ROWS_A_PAGE)
    return list(range(first + 1, last + 1))


def moved(place: Place, pages: int, rows: int | None) -> Place:
    """A window further on or back, within what there is."""
    total = total_of(place, rows)
    if total is None:
        return place
    last_window = max(0, (total - 1) // ROWS_A_PAGE * ROWS_A_PAGE)
    first = min(max(0, place["first"] + pages * ROWS_A_PAGE), last_window)
    return {**place, "first": first}


def at_row(number: int, rows: int) -> Place:
    """All rows, from the given one on."""
    return {**START, "first": min(max(1, number), max(1, rows)) - 1}


def asked_for(place: Place, typed: str | None, rows: int | None) -> Place:
    """The row whose number somebody typed; what is no number, or not counted yet, moves nothing."""
    number = (typed or "").replace(",", "").strip()
    return at_row(int(number[:12]), rows) if rows and number.isdigit() else place


def at_picked(picked: list[int], title: str) -> Place:
    """Only the rows that a finding named."""
    return {"first": 0, "picked": picked, "title": title}


def words(place: Place, rows: int | None) -> str:
    """Rows 1–6 of 3,000; or which rows were picked, and the way back."""
    total = total_of(place, rows)
    shown = numbers(place, rows)
    if total is None:
        return "The first rows"
    if not shown:
        return "No rows"
    first, last = place["first"] + 1, place["first"] + len(shown)
    if place["picked"] is None:
        return f"Rows {first:,}–{last:,} of {total:,}"
    back = '<button type="button" data-press="all:">Show all rows</button>'
    return f"{first:,}–{last:,} of {total:,} rows: {escape(place['title'])} {back}"
