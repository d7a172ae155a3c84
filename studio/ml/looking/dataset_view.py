"""What the Data page shows of a dataset, as plain JSON values: rows as they are, as read, and as the model sees them.

`look` reads the beginning only and answers at once; `rows` and `lengths` need the rows read whole (`scan.py`). Tokens
and their colours come out of the collator that training uses.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from studio.data import sifting
from studio.data.cleaning import repair
from studio.data.dataset import Data, baked_sample, load
from studio.data.formats.conversations import UnreadableRow, read_row
from studio.data.formats.formats import Format, recognise
from studio.data.sources import find_source
from studio.data.store import first_rows
from studio.errors import InvalidInput, StudioError
from studio.messages import Example
from studio.ml import models
from studio.ml.looking import lengths, scan
from studio.ml.text.collate import seen_by_trainer
from studio.ml.text.tokens import IGNORED, tokenize
from studio.recipe import Recipe
from studio.settings import Settings

SHOWN_ROWS = 6
MOST_ROWS = 50
"""Rows that one question may ask for."""
LONGEST_TEXT = 4_000
"""Characters of a text that are sent to the page; of longer ones it is told how long they are."""
MOST_TOKENS = 1_500
MOST_CHARACTERS = 200_000
"""Of a row whose tokens are shown: ten million take the tokenizer seconds."""
MOST_COLUMNS = 40


def look(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What the beginning of a dataset tells: how it is read, and its first rows."""
    head = first_rows(recipe.data)
    formats: list[Format] = []
    problem = None
    if head.rows:
        try:
            formats = recognise(head.rows, recipe.data, head.label_names)
        except InvalidInput as error:
            problem = str(error)
    elif head.bad:
        problem = f"None of the first rows can be read. {head.bad[0].sentence}"
    else:
        raise InvalidInput(f"{recipe.data.dataset} has no rows. Check that it is the right file.", field="data.dataset")
    form = formats[0] if formats else None
    tokenizer, template, told = None, None, None
    try:
        folder, _ = models.resolve(recipe.model, settings, weights=False)
        sample = baked_sample(form, head.rows) if form else ""
        tokenizer = scan.tokenizer_of(folder, recipe.model, form.template if form else None, sample)
        template = scan.template_value(tokenizer, recipe, form)
    except StudioError as error:  # the rows can be read without a model
        told = str(error)
    return {
        "kind": head.kind,
        "encoding": head.encoding,
        "delimiter": head.delimiter,
        "size_bytes": find_source(recipe.data).size_bytes,
        "columns": list(head.columns),
        "format": asdict(form) if form else None,
        "candidates": [asdict(other) for other in formats[1:]],
        "problem": problem,
        "model_problem": told,
        "template": template,
        "bad": [{**asdict(row), "sentence": row.sentence} for row in head.bad[:20]],
        "rows": [
            row_value(number, row, form, tokenizer, recipe)
            for number, row in enumerate(head.rows[:SHOWN_ROWS], start=1)
        ],
    }


def rows(recipe: Recipe, settings: Settings, numbers: Sequence[int]) -> dict[str, Any]:
    """Some rows by their numbers (from 1); numbers beyond the end are left out."""
    data = loaded(recipe, settings)
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    tokenizer = scan.tokenizer_of(folder, recipe.model, data.form.template, data.sample)
    wanted = [number for number in numbers[:MOST_ROWS] if 1 <= number <= len(data.store)]
    values = []
    held = set(data.held_out.indices.tolist()) if data.held_out.store is data.store else set()
    trained = data.main.indices
    for number, raw in zip(wanted, data.store.rows([n - 1 for n in wanted]), strict=True):
        value = row_value(number, raw, data.form, tokenizer, recipe)
        value["held_out"] = number - 1 in held
        if not value["held_out"] and value["problem"] is None:
            at = int(np.searchsorted(trained, number - 1))
            if at == len(trained) or trained[at] != number - 1:
                value["dropped_by"] = _dropped_by(data, number - 1, recipe)
        values.append(value)
    return {"rows": values}


def _dropped_by(data: Data, index: int, recipe: Recipe) -> str:
    """The step that leaves a row out."""
    code = int(data.sifted.outcome[index])
    if code > 0:
        return sifting.DROPS[code - 1]
    return "sample_rows" if recipe.cleaning.dedupe == "no" else "dedupe"


def lengths_at(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What max_length does to the rows, from the kept lengths."""
    data = loaded(recipe, settings)
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    tokenizer = scan.tokenizer_of(folder, recipe.model, data.form.template, data.sample)
    return lengths.at_max_length(lengths.measured(data, tokenizer, recipe, settings), recipe)


def loaded(recipe: Recipe, settings: Settings) -> Data:
    """The recipe's dataset; the last few are kept, as long as their files do not change."""
    tree = recipe.model_dump(mode="json")
    asked = {"data": tree["data"], "cleaning": tree["cleaning"], "training": {"seed": recipe.training.seed}}
    return _loaded(json.dumps(asked, sort_keys=True), tuple(scan.identities(recipe)), settings)


@functools.lru_cache(maxsize=8)
def _loaded(asked: str, identities: tuple[str, ...], settings: Settings) -> Data:
    return load(Recipe.model_validate_json(asked), settings)


def row_value(
    number: int, raw: Mapping[str, Any], form: Format | None, tokenizer: Any, recipe: Recipe
) -> dict[str, Any]:
    """One row for the page: raw, read, and in tokens; or the sentence that says why not."""
    value: dict[str, Any] = {
        "number": number,
        "raw": _short_values(raw),
        "messages": [],
        "text": None,
        "tools": [],
        "rejected": [],
        "desirable": None,
        "held_out": False,
        "dropped_by": None,
        "problem": None,
        "too_long": None,
        "tokens": [],
        "trained": 0,
        "total": 0,
    }
    if form is None:
        return value
    try:
        example = repair(read_row(raw, form), recipe.cleaning)[0]
    except UnreadableRow as error:
        return {**value, "problem": f"This row does not fit the format: {error}."}
    value |= {
        "messages": [_short_turn(turn) for turn in example.messages],
        "text": _short(example.text) if example.text is not None else None,
        "tools": [tool.get("function", tool).get("name", "") for tool in example.tools],
        "rejected": [_short_turn(turn) for turn in example.rejected],
        "desirable": example.desirable,
    }
    length = len(example.text or "") + sum(len(turn["content"]) for turn in example.messages)
    if length > MOST_CHARACTERS:
        told = f"With {length:,} characters this row is too long to be shown token by token. Lengths counts it."
        return {**value, "too_long": told}
    if tokenizer is not None:
        try:
            value |= token_values(tokenizer, example, recipe)
        except StudioError as error:
            value["problem"] = str(error)
    return value


def token_values(tokenizer: Any, example: Example, recipe: Recipe) -> dict[str, Any]:
    """Each token's text and whether it is "trained", "context" or "cut", as the trainer's collator hands them on."""
    training = recipe.training
    whole = tokenize(
        tokenizer,
        example,
        assistant_only_loss=training.assistant_only_loss,
        completion_only_loss=training.completion_only_loss,
    )
    seen = seen_by_trainer(tokenizer, [whole], training.max_length)[0]
    kinds = ["context" if label == IGNORED else "trained" for label in seen.labels]
    kinds += ["cut"] * (len(whole.input_ids) - len(kinds))
    shown = whole.input_ids[:MOST_TOKENS]
    return {
        "tokens": [[tokenizer.decode([token]), kind] for token, kind in zip(shown, kinds, strict=False)],
        "trained": seen.trained,
        "total": len(whole.input_ids),
    }


def _short(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"


def _short_turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {**turn, "content": _short(turn["content"])}


def _short_values(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A raw row with long values and many columns told, not shown."""
    shown = {}
    for name, value in list(raw.items())[:MOST_COLUMNS]:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown[_short(name)] = value if len(text) <= LONGEST_TEXT else _short(text)
    if len(raw) > MOST_COLUMNS:
        shown["…"] = f"{len(raw) - MOST_COLUMNS:,} more columns"
    return shown
