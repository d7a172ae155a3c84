"""What is chosen on the Data page: a dataset, its columns, its cleaning, a fix. Taking it all over is in using.py.

Each handler answers with only the components that it changes; a new stamp in `asked` makes the page look again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from studio.errors import InvalidInput, NotFound, StudioError
from studio.recipe import Recipe, recipe_from_dict
from studio.services.paths import check_recipe_paths
from studio.ui import forms
from studio.ui.data import form as data_form
from studio.ui.data import mapping as data_mapping
from studio.ui.data import pager as data_pager
from studio.ui.data import sketch as data_sketch
from studio.ui.data import sources as data_sources
from studio.ui.data.layout import ROWS, DataTab
from studio.ui.data.paging import Shown
from studio.ui.data.sketch import PARTS, Sketch, divided, recipe_of, sketch_of, with_sketch
from studio.ui.run_view import say
from studio.ui.shared import Shared, whole_draft


@dataclass(frozen=True)
class Page:
    """What the handlers work on: the studio and states shared with other tabs, this tab, the form of the next one."""

    shared: Shared
    tab: DataTab
    sketch: Any
    """gr.BrowserState: what is chosen and not used yet, kept by the browser for the next visit."""
    tune_fields: Mapping[str, Any]
    """The Fine-tune form's components by dotted recipe name: what is fixed here is shown there."""

    def asked(self, sketch: Sketch) -> Shown:
        """The sketch changed: remember it, and look again."""
        kept = {part: sketch[part] for part in PARTS}
        return {self.sketch: kept, self.tab.asked: {**kept, "stamp": time.monotonic_ns()}}

    def filled(self, sketch: Sketch) -> Shown:
        """Every field as the sketch has it."""
        fields = self.tab.fields
        return {fields[name]: value for name, value in data_form.values_of(sketch, list(fields)).items()}

    def tuned(self, recipe: Recipe, names: Any) -> Shown:
        """Fields of the Fine-tune form as a recipe has them."""
        return {self.tune_fields[n]: forms.shown_value(recipe, n) for n in names if n in self.tune_fields}


def begin(page: Page, draft: Any, kept: Sketch | None) -> Shown:
    """Show what the browser remembers: what was being looked at, else what the draft uses."""
    sketch = sketch_of(kept or draft)
    saved = page.shared.studio.datasets()
    name = sketch["data"]["dataset"]
    source = data_sources.source_of(name, saved, page.shared.studio.settings.uploads)
    sources = page.tab.sources
    return {
        **page.asked(sketch),
        **page.filled(sketch),
        **show_source(page, source),
        **_pointed_at(page, name),
        sources.source: source,
        sources.named: name if source == data_sources.NAMED else "",
        page.tab.slider: whole_draft(draft)["training"]["max_length"],
    }


def _pointed_at(page: Page, name: str, slug: str | None = None) -> Shown:
    """Mark the card of the chosen dataset, and no other."""
    starters = {value for _, value in data_sources.STARTERS}
    return {
        page.tab.sources.starter: gr.update(value=name if name in starters else None),
        page.tab.sources.mine: gr.update(value=slug),
        page.tab.sources.forget: gr.update(visible=slug is not None),
        page.tab.cleaning.save_name: data_mapping.title_of(name),
        page.tab.cleaning.saved: "",
    }


def show_source(page: Page, source: str) -> Shown:
    """The fields of one source; nothing is chosen by this."""
    sources, studio = page.tab.sources, page.shared.studio
    shown: Shown = dict(zip(sources.groups, data_sources.show_groups(source), strict=True))
    saved = data_sources.saved_choices(studio, studio.datasets())
    earlier = data_sources.earlier_choices(studio)
    starters = [(title.split("\n")[0], name) for title, name in data_sources.STARTERS]
    mixable = [*((title.split("\n")[0], f"{SAVED}{slug}") for title, slug in saved), *starters]
    return {
        **shown,
        sources.mine: gr.update(choices=saved, visible=bool(saved)),
        sources.mine_empty: gr.update(visible=not saved),
        sources.earlier: gr.update(choices=earlier, visible=bool(earlier)),
        page.tab.cleaning.mix_name: gr.update(choices=mixable),
    }


SAVED = "saved:"
"""Beginning of a saved dataset's name where other datasets can be named as well."""


def choose(page: Page, sketch: Sketch, name: str | None) -> Shown:
    """Another dataset. Naming the one that is chosen already changes nothing."""
    name = (name or "").strip()
    if not name or name == sketch["data"]["dataset"]:
        return {}
    after = data_sketch.chosen(name)
    return {**page.asked(after), **page.filled(after), **_pointed_at(page, name)}


def choose_saved(page: Page, slug: str | None) -> Shown:
    """A saved dataset, with the columns and the cleaning that were saved with it."""
    if not slug:
        return {}
    record = _record(page, slug)
    data = {**record.data, "fingerprint": record.fingerprint}
    after = data_sketch.chosen(record.data["dataset"], data, record.cleaning)
    return {
        **page.asked(after),
        **page.filled(after),
        **_pointed_at(page, record.data["dataset"], slug),
        page.tab.cleaning.save_name: record.name,
        page.tab.cleaning.save_licence: record.licence,
    }


def _record(page: Page, slug: str) -> Any:
    found = [record for record in page.shared.studio.datasets() if record.slug == slug]
    if not found:
        raise NotFound("This dataset is not among the saved ones any more.")
    return found[0]


def forget(page: Page, slug: str | None) -> Shown:
    """Take a dataset out of the saved ones; its file and the runs that used it stay."""
    if slug:
        page.shared.studio.forget_dataset(slug)
    hidden = {page.tab.sources.forget: gr.update(visible=False)}
    return {**show_source(page, data_sources.MINE), **hidden}


def take_upload(page: Page, sketch: Sketch, file: str | None) -> Shown:
    """Keep an uploaded file in the studio's home and choose it."""
    if file is None:
        return {}
    return choose(page, sketch, str(page.shared.studio.take_upload(Path(file), Path(file).name)))


def gather(page: Page, sketch: Sketch, looked: Any, *values: Any) -> Shown:
    """Read the fields after one of them changed; look again only if that says something new."""
    tab = page.tab
    try:
        after = data_form.read(sketch, dict(zip(tab.fields, values, strict=True)), looked)
    except InvalidInput as error:
        place = tab.cleaning.message if (error.field or "").startswith("cleaning.") else tab.reading.message
        return {place: say("bad", "Not usable", str(error))}
    return {} if all(after[part] == sketch[part] for part in PARTS) else page.asked(after)


def set_policy(page: Page, sketch: Sketch, policy: str) -> Shown:
    """Skip bad rows, or stop at them."""
    return page.asked(data_sketch.changed(sketch, {"data.bad_rows": policy}))


def accept_content(page: Page, sketch: Sketch, scan: Any) -> Shown:
    """Take the content as it is now for the one that was meant."""
    if not scan or "fingerprint" not in scan:
        return {}
    return page.asked(data_sketch.changed(sketch, {"data.fingerprint": scan["fingerprint"]}))


def mix_in(page: Page, draft: Any, sketch: Sketch, name: str | None, weight: Any) -> Shown:
    """Mix a further dataset in: a saved one with how it is read, or one by name."""
    name = (name or "").strip()
    try:
        if not name:
            raise InvalidInput("Name the dataset that is to be mixed in.")
        if weight is not None and not 0 < weight <= 100:
            raise InvalidInput("The weight is more than 0 and at most 100; 1 uses each row once, 0.5 half of them.")
        source = _record(page, name.removeprefix(SAVED)).data if name.startswith(SAVED) else {"dataset": name}
        after = data_sketch.mixed_in(sketch, source, 1.0 if weight is None else weight)
        check_recipe_paths(recipe_of(draft, after), page.shared.studio.settings)
    except StudioError as error:
        return {page.tab.cleaning.mixed: say("bad", "Not mixed in", str(error))}
    return {**page.asked(after), page.tab.cleaning.mix_name: None}


def press(page: Page, pressed: str, draft: Any, sketch: Sketch, scan: Any, counts: tuple[int, int]) -> Shown:
    """A button inside our HTML: what it means stands before the first colon."""
    kind, _, rest = (pressed or "").partition("#")[0].partition(":")
    rows = scan["rows"] if scan and "rows" in scan else None
    if kind in ("drop", "keep", "row", "unmix") and not rest.isdigit():
        return {}
    choices: dict[str, Callable[[], Shown]] = {
        "drop": lambda: _reshaped(page, data_sketch.without_row(sketch, int(rest))),
        "keep": lambda: _reshaped(page, data_sketch.with_row(sketch, int(rest))),
        "unmix": lambda: _reshaped(page, data_sketch.mixed_out(sketch, int(rest))),
        "row": lambda: _to_rows(page, data_pager.at_row(int(rest), rows)) if rows else {},
        "rows": lambda: _to_finding(page, scan, rest),
        "all": lambda: _to_rows(page, data_pager.START),
        "fix": lambda: fix(page, draft, sketch, _fix_named(scan, rest), counts),
    }
    return choices[kind]() if kind in choices else {}


def _reshaped(page: Page, after: Sketch) -> Shown:
    return {**page.asked(after), **page.filled(after)}


def _to_rows(page: Page, place: data_pager.Place) -> Shown:
    return {page.tab.place: place, page.tab.view: ROWS}


def _to_finding(page: Page, scan: Any, rest: str) -> Shown:
    finding = _at(scan["findings"] if scan and "findings" in scan else [], rest)
    return _to_rows(page, data_pager.at_picked(finding["rows"], finding["title"])) if finding else {}


def _at(entries: Any, place: str) -> Any:
    return entries[int(place)] if place.isdigit() and int(place) < len(entries) else None


def _fix_named(scan: Any, rest: str) -> Mapping[str, Any] | None:
    """The changes of the fix that a button named by its places: only what a finding offered can be asked for."""
    finding, _, place = rest.partition(":")
    found = _at(scan["findings"] if scan and "findings" in scan else [], finding)
    offered = _at(found["fixes"], place) if found else None
    return offered["changes"] if offered else None


def fix(page: Page, draft: Any, sketch: Sketch, changes: Mapping[str, Any] | None, counts: tuple[int, int]) -> Shown:
    """Apply a fix. What it changes of training is the draft's at once; of the model, the whole draft is taken anew."""
    if not changes:
        return {}
    ours, rest = divided(changes)
    after = data_sketch.changed(sketch, ours)
    shown = _reshaped(page, after)
    if not rest:
        return shown
    recipe = recipe_from_dict(whole_draft(draft)).changed(**rest)
    shown |= {page.shared.draft: recipe.model_dump(mode="json"), **page.tuned(recipe, rest)}
    if "training.max_length" in rest:
        shown[page.tab.slider] = recipe.training.max_length
    if any(name.startswith("model.") for name in rest):
        return {page.shared.draft: with_sketch(shown[page.shared.draft], after), page.shared.adopted: counts[1] + 1}
    return {**shown, page.shared.preview: counts[0] + 1}


def set_length(page: Page, draft: Any, count: int, length: Any) -> Shown:
    """The slider was let go: from now on this is max_length, here and on the Fine-tune page."""
    whole = whole_draft(draft)
    if not length or int(length) == whole["training"]["max_length"]:
        return {}
    recipe = recipe_from_dict(whole).changed(**{"training.max_length": int(length)})
    return {
        page.shared.draft: recipe.model_dump(mode="json"),
        page.shared.preview: count + 1,
        **page.tuned(recipe, ["training.max_length"]),
    }


def revisit(page: Page, draft: Any, sketch: Sketch, looked: Any) -> Shown:
    """The tab is opened again: look anew if the model or max_length has changed on another one."""
    if not looked or not looked["recipe"]:
        return {}
    recipe = recipe_of(draft, sketch)
    if recipe.model_dump(mode="json") == looked["recipe"]:
        return {}
    return {**page.asked(sketch), page.tab.slider: recipe.training.max_length}
