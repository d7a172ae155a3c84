"""The views of the Data page's right side: pages of rows, three ways to read them, lengths, charts.

Each handler answers with only the components that it changes.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.recipe import Recipe, recipe_from_dict
from studio.services import forecast
from studio.ui.data import charts as data_charts
from studio.ui.data import pager as data_pager
from studio.ui.data import view as data_view
from studio.ui.data.layout import RAW, ROWS, TOKENS, DataTab
from studio.ui.data.pager import Place
from studio.ui.run_view import say
from studio.ui.shared import Shared

IN_PAGES = (ROWS, TOKENS, RAW)
"""Views that show a page of rows."""
Shown = dict[Any, Any]
"""Component -> its new value."""


def machine(shared: Shared, recipe: Recipe, known: dict[str, Any] | None) -> dict[str, Any]:
    """What a forecast of the time needs to know besides the lengths, under "machine"; None if the model is not usable.

    The last answer is `known`, and holds as long as the model is the same.
    """
    model = recipe.model.model_dump(mode="json")
    if known and known.get("model") == model:
        return {"model": model, "machine": known["machine"]}
    try:
        card = shared.studio.server.ask("model", recipe)
        detail = shared.studio.server.device()["detail"]
    except StudioError:
        return {"model": model, "machine": None}  # lengths are worth showing; the Model page says what is wrong
    total = card["methods"]["LoRA"]["total_parameters"]
    found = {"total_parameters": total, "device_kind": detail["kind"], "cores": detail["cores"]}
    return {"model": model, "machine": found}


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


def turn(shared: Shared, tab: DataTab, looked: Any, scan: Any, place: Place) -> Shown:
    """The page of rows that was asked for."""
    if not looked or not looked["recipe"]:
        return {}
    total = scan["rows"] if scan and "rows" in scan else None
    try:
        rows = rows_at(shared, recipe_from_dict(looked["recipe"]), place, total)
    except StudioError as error:
        return dict.fromkeys((tab.views[name] for name in IN_PAGES), say("bad", "Not shown", str(error)))
    return {**rows_shown(tab, rows), **pages_of(tab, place, total)}


def rows_at(shared: Shared, recipe: Recipe, place: Place, total: int | None) -> list[Any]:
    """The rows in the window, as the server describes them. Raises StudioError."""
    numbers = data_pager.numbers(place, total)
    if not numbers:
        return []
    answer = shared.studio.server.ask("rows", recipe, numbers=",".join(map(str, numbers)))
    return list(answer["rows"])


def rows_shown(tab: DataTab, rows: list[Any]) -> Shown:
    """Rows in the three ways to read them."""
    return {
        tab.views[ROWS]: data_view.rows_html(rows),
        tab.views[TOKENS]: data_view.tokens_html(rows),
        tab.views[RAW]: data_view.raw_html(rows),
    }


def pages_of(tab: DataTab, place: Place, rows: int | None) -> Shown:
    """The pager's words, and which of its buttons lead anywhere."""
    total = data_pager.total_of(place, rows)
    return {
        tab.pager_words: data_pager.words(place, rows),
        tab.previous: gr.update(interactive=place["first"] > 0),
        tab.following: gr.update(interactive=total is not None and place["first"] + data_view.ROWS_A_PAGE < total),
    }


def show_view(tab: DataTab, view: str) -> Shown:
    """Bring one view in sight; what it shows is there already."""
    shown: Shown = {component: gr.update(visible=name == view) for name, component in tab.views.items()}
    return {**shown, tab.pager: gr.update(visible=view in IN_PAGES)}
