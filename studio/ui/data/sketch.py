"""What the Data page has chosen so far and nobody uses yet: a dataset, how it is read, what is cleaned.

A sketch is the `data` and `cleaning` parts of a draft as plain dicts. It becomes the draft's with "Use this dataset".
Knows no gradio and no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.errors import InvalidInput
from studio.recipe import Recipe, recipe_from_dict
from studio.ui.shared import START_DRAFT, whole_draft

Sketch = dict[str, Any]
PARTS = ("data", "cleaning")
MAPPING = "data.mapping."
"""Beginning of the form's name for a role: `data.mapping.prompt`."""


def sketch_of(draft: Mapping[str, Any] | None) -> Sketch:
    """The dataset that a draft uses."""
    whole = whole_draft(draft)
    return {part: whole[part] for part in PARTS}


def chosen(name: str, data: Mapping[str, Any] | None = None, cleaning: Mapping[str, Any] | None = None) -> Sketch:
    """Another dataset, with what was saved of it or nothing: what was set for the last one is not true of it."""
    fresh = whole_draft({"data": dict(data or {}), "cleaning": dict(cleaning or {})})
    return {"data": {**fresh["data"], "dataset": name}, "cleaning": fresh["cleaning"]}


def with_sketch(draft: Mapping[str, Any] | None, sketch: Sketch) -> dict[str, Any]:
    """The draft as it would be if the sketch were used."""
    return {**whole_draft(draft), **{part: dict(sketch[part]) for part in PARTS}}


def recipe_of(draft: Mapping[str, Any] | None, sketch: Sketch) -> Recipe:
    """The recipe that draft and sketch say. Raises InvalidInput with the field's name."""
    return recipe_from_dict(with_sketch(draft, sketch))


def changed(sketch: Sketch, changes: Mapping[str, Any]) -> Sketch:
    """A copy with dotted fields of `data` and `cleaning` changed; `data.mapping.prompt` is one of them."""
    after = {part: dict(sketch[part]) for part in PARTS}
    after["data"]["mapping"] = dict(after["data"]["mapping"])
    for name, value in changes.items():
        if name.startswith(MAPPING):
            role = name.removeprefix(MAPPING)
            after["data"]["mapping"].pop(role, None)
            if value:
                after["data"]["mapping"][role] = value
            continue
        part, _, field = name.partition(".")
        if part not in PARTS or field not in START_DRAFT[part]:
            raise InvalidInput(f"A dataset has no field {name}.", field=name)
        after[part][field] = value
    return after


def divided(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(changes of the sketch, changes of the rest of the draft): a finding may mend either."""
    ours = {name: value for name, value in changes.items() if name.partition(".")[0] in PARTS}
    return ours, {name: value for name, value in changes.items() if name not in ours}


def without_row(sketch: Sketch, number: int) -> Sketch:
    """Leave one row out by its number."""
    return changed(sketch, {"cleaning.drop_rows": sorted({*sketch["cleaning"]["drop_rows"], number})})


def with_row(sketch: Sketch, number: int) -> Sketch:
    """Take a row back in that was left out by its number."""
    return changed(sketch, {"cleaning.drop_rows": [n for n in sketch["cleaning"]["drop_rows"] if n != number]})


def mixed_in(sketch: Sketch, source: Mapping[str, Any], weight: float) -> Sketch:
    """Mix a further dataset in; one that is there already only gets the new weight."""
    name = source["dataset"]
    own = START_DRAFT["data"].keys() - {"held_out_rows", "held_out_by", "mix"}
    entry = {**{key: value for key, value in source.items() if key in own}, "weight": weight}
    others = [mixed for mixed in sketch["data"]["mix"] if mixed["dataset"] != name]
    return changed(sketch, {"data.mix": [*others, entry]})


def mixed_out(sketch: Sketch, place: int) -> Sketch:
    """Take one of the mixed datasets out again."""
    return changed(sketch, {"data.mix": [m for number, m in enumerate(sketch["data"]["mix"]) if number != place]})
