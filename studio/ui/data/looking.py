"""What the Data page shows of what is chosen: the first look, and the scan as it goes on.

Each handler answers with only the components that it changes. The model server is asked; nothing is chosen here. The
views of rows and lengths are in paging.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.errors import InvalidInput, StudioError, Unavailable
from studio.recipe import Recipe, recipe_from_dict
from studio.services.paths import check_recipe_paths
from studio.ui.data import audit as data_audit
from studio.ui.data import charts as data_charts
from studio.ui.data import cleaning as data_cleaning
from studio.ui.data import mapping as data_mapping
from studio.ui.data import pager as data_pager
from studio.ui.data import view as data_view
from studio.ui.data.layout import CHARTS, DataTab
from studio.ui.data.pager import Place
from studio.ui.data.paging import IN_PAGES, Shown, lengths_html, machine, pages_of, rows_at, rows_shown
from studio.ui.data.sketch import Sketch, recipe_of
from studio.ui.run_view import say
from studio.ui.shared import Shared

NO_ROWS = '<div class="empty">Rows appear here once the dataset can be read.</div>'


def look(
    shared: Shared, tab: DataTab, draft: Any, sketch: Sketch, looked: dict[str, Any] | None, place: Place
) -> Shown:
    """Ask for the beginning of the chosen dataset and show how it reads; the scan is for `poll`."""
    name = sketch["data"]["dataset"]
    fresh = looked is None or looked["dataset"] != name or "columns" not in looked
    before = {} if fresh or looked is None else looked
    place = data_pager.START if fresh else place
    try:
        recipe = recipe_of(draft, sketch)
        check_recipe_paths(recipe, shared.studio.settings)
        answer = shared.studio.server.ask("look", recipe)
        rows = answer["rows"] if place == data_pager.START else rows_at(shared, recipe, place, None)
    except StudioError as error:
        return _not_read(tab, name, before, error)
    after = {
        "stamp": time.monotonic_ns(),
        "dataset": name,
        "recipe": recipe.model_dump(mode="json"),
        "answer": answer,
        **_roles(sketch, answer),
    }
    form = answer["format"]
    return {
        tab.looked: after,
        tab.seen: str(after["stamp"]),
        tab.use_message: "",
        tab.reading.said: data_mapping.said_html(name, answer),
        tab.reading.message: say("bad", "Not recognised", answer["problem"]) if answer["problem"] else "",
        tab.cleaning.message: "",
        **_mapping(tab, before, after, open_it=form is None or (fresh and form["sureness"] == "guess")),
        **_labels(tab, recipe, None),
        **rows_shown(tab, rows),
        **(_anew(tab, answer, recipe) if fresh or form is None else {}),
    }


def _anew(tab: DataTab, answer: dict[str, Any], recipe: Recipe) -> Shown:
    """Nothing that was known of all rows holds any more: another dataset, or one that is not understood."""
    understood = answer["format"] is not None
    return {
        tab.scan: None,
        tab.place: data_pager.START,
        tab.lengths: data_charts.NO_LENGTHS,
        tab.views[CHARTS]: data_charts.NO_CHARTS,
        tab.audit: data_audit.READING if understood else data_audit.COLUMNS_FIRST,
        tab.changed: gr.update(visible=False),
        **pages_of(tab, data_pager.START, None),
        **_bad_rows(tab, answer["bad"], [], len(answer["bad"]), recipe.data.bad_rows),
    }


def _not_read(tab: DataTab, name: str, before: Mapping[str, Any], error: StudioError) -> Shown:
    """The sentence stands beside what it is about: a cleaning step, or how the file is read."""
    field = error.field or "" if isinstance(error, InvalidInput) else ""
    told = say("bad", "Not usable", data_view.clip(str(error), 1000))
    cleaning = field.startswith("cleaning.")
    stamp = time.monotonic_ns()
    shown: Shown = {
        tab.looked: {**before, "stamp": stamp, "dataset": name, "recipe": None, "answer": None},
        tab.seen: str(stamp),
        tab.reading.message: "" if cleaning else told,
        tab.cleaning.message: told if cleaning else "",
        tab.audit: data_audit.failed_html(str(error)),
        **dict.fromkeys((tab.views[name] for name in (*IN_PAGES, CHARTS)), NO_ROWS),
        tab.lengths: NO_ROWS,
        tab.scan: None,
        tab.pager_words: "",
        tab.changed: gr.update(visible=False),
    }
    if not before:
        shown[tab.reading.said] = data_mapping.heading_html(name)
        shown |= {tab.reading.bad: "", tab.reading.bad_actions: gr.update(visible=False)}
    if field.startswith("data.mapping"):
        shown[tab.reading.mapping] = gr.update(open=True)
    if cleaning:
        shown[tab.cleaning.fold] = gr.update(open=True)
    return shown


def _roles(sketch: Sketch, answer: dict[str, Any]) -> dict[str, Any]:
    """What the mapping's fields show after this look: kept, so that only what differs is written into them."""
    form = answer["format"]
    mapping = dict(form["mapping"] if form else {}) | sketch["data"]["mapping"]
    names = sketch["data"]["label_names"] or (form["label_names"] if form else [])
    return {
        "mapping": mapping,
        "visible": sorted(data_mapping.roles_shown(sketch["data"]["format"], answer, mapping)),
        "label_names": data_mapping.label_names_line(names),
        "columns": list(answer["columns"]),
    }


def _mapping(tab: DataTab, before: Mapping[str, Any], after: dict[str, Any], *, open_it: bool) -> Shown:
    """The mapping panel. A field that shows the right thing is left alone: somebody may be typing in it."""
    fields, form = tab.reading.fields, after["answer"]["format"]
    shown: Shown = {tab.reading.columns: data_mapping.columns_html(after["columns"])}
    candidates = after["answer"]["candidates"]
    named = form["name"] if form and after["recipe"]["data"]["format"] == "auto" else None
    shown[fields["data.format"]] = gr.update(choices=data_mapping.format_choices(candidates, named))
    columns = ["", *after["columns"][:200]]
    typed = after["recipe"]["data"]["mapping"] or before.get("mapping", {})  # what the fields show already
    for role in data_mapping.ROLES:
        value, visible = after["mapping"].get(role, ""), role in after["visible"]
        update: dict[str, Any] = {}
        if before.get("columns") != after["columns"]:
            update["choices"] = columns
        if not before or typed.get(role, "") != value:
            update["value"] = data_mapping.to_line(value)
        if not before or visible != (role in before["visible"]):
            update["visible"] = visible
        if update:
            shown[fields[f"data.mapping.{role}"]] = gr.update(**update)
    if before.get("label_names") != after["label_names"] or "label" in set(before.get("visible", ())) ^ set(
        after["visible"]
    ):
        shown[fields["data.label_names"]] = gr.update(value=after["label_names"], visible="label" in after["visible"])
    if before.get("columns") != after["columns"]:
        shown[tab.cleaning.fields["data.held_out_by"]] = gr.update(
            choices=[("no column: row by row", ""), *after["columns"][:200]]
        )
    if open_it:
        shown[tab.reading.mapping] = gr.update(open=True)
    elif not before:
        shown[tab.reading.mapping] = gr.update(open=False)
    return shown


def _bad_rows(tab: DataTab, bad: list[Any], unreadable: list[Any], count: int, policy: str) -> Shown:
    return {
        tab.reading.bad: data_audit.bad_rows_html(bad, unreadable, count, policy),
        tab.reading.bad_actions: gr.update(visible=count > 0),
        tab.reading.skip: gr.update(value=f"Skip them ({count:,})", visible=policy == "stop"),
        tab.reading.stop: gr.update(visible=policy == "skip"),
    }


def _labels(tab: DataTab, recipe: Recipe, scan: dict[str, Any] | None) -> Shown:
    """What the folds say while they are closed, and the counts beside the steps."""
    cleaning, data = recipe.cleaning.model_dump(mode="json"), recipe.data.model_dump(mode="json")
    steps = scan["steps"] if scan else None
    shown: Shown = {
        tab.cleaning.fold: gr.update(label=data_cleaning.fold_label(cleaning, steps)),
        tab.cleaning.held_fold: gr.update(
            label=data_cleaning.held_label(data, scan["held_out_rows"] if scan else None)
        ),
        tab.cleaning.mix_fold: gr.update(label=data_cleaning.mix_label(data["mix"])),
        tab.cleaning.mixed: data_cleaning.mixed_html(data["mix"]),
        tab.cleaning.fields["cleaning.near_duplicate_similarity"]: gr.update(visible=cleaning["dedupe"] == "near"),
    }
    if scan:
        shown |= {
            component: data_cleaning.count_html(name, cleaning, steps)
            for name, component in tab.cleaning.counts.items()
        }
    return shown


def poll(
    shared: Shared, tab: DataTab, looked: dict[str, Any] | None, scan: dict[str, Any] | None, seen: str, place: Place
) -> Shown:
    """How far the scan of the last look is; its result when it is done, once. Runs all the time and never raises.

    Waits until the browser has seen that look (`seen`): its answer may come another way, and late.
    """
    if not looked or str(looked["stamp"]) != seen or not looked["answer"] or not looked["answer"]["format"]:
        return {}
    if scan and scan["of"] == looked["stamp"] and scan["settled"]:
        return {}
    recipe = recipe_from_dict(looked["recipe"])
    try:
        answer = shared.studio.server.ask("scan", recipe)
        if answer["state"] != "done":
            after = {**answer, "of": looked["stamp"], "settled": False}
            return {} if after == scan else {tab.scan: after, tab.audit: data_audit.progress_html(answer)}
        rows = rows_at(shared, recipe, place, answer["rows"])
    except Unavailable as error:
        return {tab.audit: data_audit.failed_html(str(error))}  # the next tick starts it anew
    except StudioError as error:
        after = {"of": looked["stamp"], "settled": True, "state": "failed", "sentence": str(error)}
        return {tab.scan: after, **_failed(tab, error)}
    known = machine(shared, recipe, scan)
    after = {**answer, **known, "of": looked["stamp"], "settled": True, "dataset": looked["dataset"]}
    return {
        **_found(shared, tab, recipe, scan, after),
        **rows_shown(tab, rows),
        **pages_of(tab, place, answer["rows"]),
    }


def _failed(tab: DataTab, error: StudioError) -> Shown:
    shown: Shown = {tab.audit: data_audit.failed_html(str(error))}
    if isinstance(error, InvalidInput) and (error.field or "").startswith("cleaning."):
        shown |= {
            tab.cleaning.message: say("bad", "Not usable", str(error)),
            tab.cleaning.fold: gr.update(open=True),
        }
    return shown


def _found(shared: Shared, tab: DataTab, recipe: Recipe, before: dict[str, Any] | None, scan: dict[str, Any]) -> Shown:
    """Everything that the finished scan knows."""
    unusable = scan["bad_rows"] + scan["unreadable"]
    shown: Shown = {
        tab.scan: scan,
        tab.audit: data_audit.verdict_html(scan),
        tab.cleaning.message: "",
        tab.changed: gr.update(visible=scan["changed_since"]),
        tab.views[CHARTS]: data_charts.charts_html(scan["charts"]),
        tab.lengths: lengths_html(shared, recipe, scan, scan["lengths"]),
        **_bad_rows(tab, scan["bad"], scan["unreadable_rows"], unusable, recipe.data.bad_rows),
        **_labels(tab, recipe, scan),
    }
    longest = slider_maximum(scan["lengths"])
    if before is None or before.get("dataset") != scan["dataset"]:
        shown[tab.slider] = gr.update(maximum=longest, value=recipe.training.max_length)
    elif "lengths" not in before or longest != slider_maximum(before["lengths"]):
        shown[tab.slider] = gr.update(maximum=longest)
    return shown


def slider_maximum(lengths: dict[str, Any]) -> int:
    """Where the slider over max_length ends: the longest row, or what is chosen now if that is more."""
    return math.ceil(max(lengths["longest"], lengths["max_length"], 64) / 16) * 16
