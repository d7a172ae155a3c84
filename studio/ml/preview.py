"""What a dataset and a plan look like, as plain JSON values for the pages: through the trainer's own code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from studio.errors import StudioError
from studio.ml import datasets, devices, memory, models
from studio.ml.tokens import IGNORED, render, tokenize
from studio.recipe import Recipe
from studio.settings import Settings

PREVIEW_ROWS = 6
PLANNED_ROWS = 2000
"""Rows that are tokenized to know lengths for a plan; more would make the page wait."""


def dataset(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The first rows raw, as read, and as tokens; and how many there are."""
    data = datasets.load(recipe.data, recipe.training.seed)
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    tokenizer = models.load_tokenizer(folder, recipe.model)
    rows = []
    for raw, example in zip(data.raw, data.train[:PREVIEW_ROWS], strict=False):
        row: dict[str, Any] = {"raw": raw, "messages": list(example.messages), "text": example.text}
        try:
            row["tokens"] = token_pieces(tokenizer, example, recipe)
            row["rendered"] = render(tokenizer, example.messages) if example.messages else example.text
        except StudioError as error:
            row["problem"] = str(error)
        rows.append(row)
    return {
        "format": data.form.name,
        "reason": data.form.reason,
        "train_rows": len(data.train),
        "held_out_rows": len(data.held_out),
        "fingerprint": data.fingerprint,
        "rows": rows,
    }


def token_pieces(tokenizer: Any, example: Any, recipe: Recipe) -> list[tuple[str, str]]:
    """Each token's text and whether it is "trained", "context" or "cut"."""
    tokens = tokenize(tokenizer, example, assistant_only_loss=recipe.training.assistant_only_loss)
    pieces = []
    for position, (token, label) in enumerate(zip(tokens.input_ids, tokens.labels, strict=True)):
        kind = "context" if label == IGNORED else "trained"
        if position >= recipe.training.max_length:
            kind = "cut"
        pieces.append((tokenizer.decode([token]), kind))
    return pieces


def plan(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """About what a run will take: parameters, memory by part, rows, lengths, steps per epoch."""
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    tokenizer = models.load_tokenizer(folder, recipe.model)
    data = datasets.load(recipe.data, recipe.training.seed)
    examples = data.train[:PLANNED_ROWS]
    tokens = [tokenize(tokenizer, e, assistant_only_loss=recipe.training.assistant_only_loss) for e in examples]
    limit = recipe.training.max_length
    lengths = [min(len(row.input_ids), limit) for row in tokens]
    device = devices.detect()
    precision = devices.choose_precision(device, recipe.training.dtype)
    expected = memory.forecast(memory.shape_of(folder), recipe, device, precision, row_tokens=max(lengths, default=1))
    return {
        **asdict(expected),
        "total_bytes": expected.total_bytes,
        "memory_free_bytes": device.memory_free_bytes,
        "train_rows": len(data.train),
        "held_out_rows": len(data.held_out),
        "mean_tokens": sum(lengths) / len(lengths) if lengths else 0.0,
        "longest_tokens": max((len(row.input_ids) for row in tokens), default=0),
        "rows_cut": sum(len(row.input_ids) > limit for row in tokens),
        "rows_untrained": sum(not row.cut_at(limit).trained for row in tokens),
        "planned_rows": len(tokens),
        "device": device.sentence,
        "device_kind": device.kind,
        "cores": device.cores,
    }


def model(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The model's card and what training it here would take with each method."""
    card = models.describe(recipe.model, settings)
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    device = devices.detect()
    precision = devices.choose_precision(device, recipe.training.dtype)
    methods = memory.compare_methods(memory.shape_of(folder), recipe, device, precision)
    return {
        "card": asdict(card),
        "methods": {name: {**asdict(f), "total_bytes": f.total_bytes} for name, f in methods.items()},
        "memory_free_bytes": device.memory_free_bytes,
        "device": device.sentence,
    }
