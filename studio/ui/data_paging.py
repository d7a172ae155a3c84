"""The views of the Data page's right side: pages of rows, three ways to read them, lengths, charts.

Each handler answers with only the components that it changes.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.recipe import Recipe, recipe_from_dict
from studio.services import forecast
from studio.ui import data_charts, data_pager, data_view
from studio.ui.data_layout import CHARTS, LENGTHS, RAW, TOKENS, WAITING, DataTab
from studio.ui.data_pager import Place
from studio.ui.run_view import say
from studio.ui.shared import Shared

Shown = dict[Any, Any]
"""Component -> its new value."""


def machine(shared: Shared, recipe: Recipe) -> dict[str, Any]:
    """What a forecast of the time needs to know besides the lengths; empty where the model cannot be described."""
    try:
        card = shared.studio.server.ask("model", recipe)
        detail = shared.studio.server.device()["detail"]
    except StudioError:
        return {}  # the lengths are worth showing without a time, and the Model page says what is wrong with it
    return {
        "total_parameters": card["methods"]["LoRA"]["total_parameters"],
        "device_kind": detail["kind"],
        "cores": detail["cores"],
    }


def lengths_html(shared: Shared, recipe: Recipe, scan: dict[str, Any], lengths: dict[str, Any]) -> str:
    """The Lengths view, with the time that training would take."""
    known, seconds = scan["machine"], None
    if known and lengths["rows"]:
        plan = {**known, "train_rows": lengths["rows"], "mean_tokens": lengths["mean_tokens"]}
        seconds = forecast.seconds_for(recipe, plan, shared.studio.history, known["cores"])
    return data_charts.lengths_html(lengths, seconds)


def slide(shared: Shared, looked: Any, scan: Any, length: Any) -> Any:
    """What another max_length would cut, while the slider moves."""
    if not looked or not looked["recipe"] or not scan or "lengths" not in scan or not length:
        return gr.skip()
    try:
        recipe = recipe_from_dict(looked["recipe"]).changed(**{"training.max_length": int(length)})
        lengths = shared.studio.server.ask("lengths", recipe)
    except StudioError as error:
        return say("bad", "Not counted", str(error))
    return lengths_html(shared, recipe, scan, lengths)


def turn(shared: Shared, tab: DataTab, looked: Any, scan: Any, showing: tuple[Place, str]) -> Shown:
    """The page of rows that was asked for."""
    place, view = showing
    if not looked or not looked["recipe"]:
        return {}
    total = scan["rows"] if scan and "rows" in scan else None
    try:
        rows = rows_at(shared, recipe_from_dict(looked["recipe"]), place, total)
    except StudioError as error:
        return {tab.shown: say("bad", "Not shown", str(error))}
    return {tab.rows: rows, **view_of(tab, view, rows, scan), **pages_of(tab, place, total)}


def rows_at(shared: Shared, recipe: Recipe, place: Place, total: int | None) -> list[Any]:
    numbers = data_pager.numbers(place, total)
    if not numbers:
        return []
    answer = shared.studio.server.ask("rows", recipe, numbers=",".join(map(str, numbers)))
    return list(answer["rows"])


def pages_of(tab: DataTab, place: Place, rows: int | None) -> Shown:
    total = data_pager.total_of(place, rows)
    return {
        tab.pager_words: data_pager.words(place, rows),
        tab.previous: gr.update(interactive=place["first"] > 0),
        tab.following: gr.update(interactive=total is not None and place["first"] + data_view.ROWS_A_PAGE < total),
    }


def show_view(tab: DataTab, view: str, rows: list[Any], looked: Any, scan: Any) -> Shown:
    """Switch the view; everything is here already."""
    if not looked:
        return {tab.shown: WAITING}
    return view_of(tab, view, rows, scan)


def view_of(tab: DataTab, view: str, rows: list[Any], scan: Any) -> Shown:
    counted = scan is not None and "charts" in scan
    in_pages = view not in (LENGTHS, CHARTS)
    shown: Shown = {
        tab.lengths_group: gr.update(visible=view == LENGTHS),
        tab.pager: gr.update(visible=in_pages),
        tab.shown: gr.update(visible=view != LENGTHS),
    }
    if view == LENGTHS:
        return shown if counted else {**shown, tab.lengths: data_charts.NO_LENGTHS}
    if view == CHARTS:
        html = data_charts.charts_html(scan["charts"]) if counted else data_charts.NO_CHARTS
    else:
        html = {TOKENS: data_view.tokens_html, RAW: data_view.raw_html}.get(view, data_view.rows_html)(rows)
    return {**shown, tab.shown: gr.update(value=html, visible=True)}
