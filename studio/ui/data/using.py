"""Taking over what the Data page has chosen: into the draft with "Use this dataset", or among the saved datasets."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from studio.errors import Refused, StudioError
from studio.recipe import Recipe
from studio.services.paths import check_recipe_paths
from studio.ui.data import audit as data_audit
from studio.ui.data import form as data_form
from studio.ui.data import sketch as data_sketch
from studio.ui.data import sources as data_sources
from studio.ui.data.choices import Page
from studio.ui.data.paging import Shown
from studio.ui.data.sketch import PARTS, Sketch, recipe_of
from studio.ui.run_view import say

SCAN_SECONDS = 60.0
"""How long "Use this dataset" waits for a scan that is going on."""


def finished_scan(page: Page, recipe: Recipe) -> dict[str, Any]:
    """The scan of a recipe, waited for if it is still going on. Raises StudioError."""
    check_recipe_paths(recipe, page.shared.studio.settings)
    deadline = time.monotonic() + SCAN_SECONDS
    while True:
        scan: dict[str, Any] = page.shared.studio.server.ask("scan", recipe)
        if scan["state"] == "done":
            return scan
        if time.monotonic() > deadline:
            raise Refused("The rows are still being read. Use the dataset when the bar above is full.")
        time.sleep(0.2)


def use(page: Page, draft: Any, sketch: Sketch, looked: Any, count: int, *values: Any) -> Shown:
    """Take the dataset into the draft, if it can be trained on, and go on to fine-tuning."""
    tab, shared = page.tab, page.shared
    try:
        sketch = data_form.read(sketch, dict(zip(tab.fields, values, strict=True)), looked)
        scan = finished_scan(page, recipe_of(draft, sketch))
        if sentence := data_audit.refusal(scan, sketch["data"]["bad_rows"]):
            raise Refused(sentence)
    except StudioError as error:
        return {tab.use_message: say("bad", "Not usable yet", str(error))}
    after = data_sketch.changed(sketch, {"data.fingerprint": scan["fingerprint"]})
    return {
        page.sketch: {part: after[part] for part in PARTS},
        shared.draft: recipe_of(draft, after).model_dump(mode="json"),
        shared.tabs: gr.update(selected="tune"),
        shared.preview: count + 1,
        tab.use_message: "",
    }


def save(page: Page, draft: Any, sketch: Sketch, name: str | None, licence: str | None) -> Shown:
    """Keep the dataset with how it is read and cleaned under a name."""
    tab = page.tab
    try:
        recipe = recipe_of(draft, sketch)
        scan = finished_scan(page, recipe)
        record = page.shared.studio.save_dataset(name or "", licence or "", recipe, scan["fingerprint"], scan["rows"])
    except StudioError as error:
        return {tab.cleaning.saved: say("bad", "Not saved", str(error))}
    told = say("good", "Saved", f"{record.name} is under My datasets from now on.")
    listed = data_sources.saved_choices(page.shared.studio, page.shared.studio.datasets())
    return {
        tab.cleaning.saved: told,
        tab.sources.mine: gr.update(choices=listed, visible=bool(listed)),
        tab.sources.mine_empty: gr.update(visible=not listed),
    }
