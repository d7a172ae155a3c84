"""What a model is and what a plan takes, as plain JSON values for the pages: through the trainer's own code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from studio.data import dataset
from studio.data.sources import find_source
from studio.errors import Refused
from studio.ml import devices, memory, models
from studio.ml.looking import dataset_view, lengths
from studio.ml.looking.scan import OWN_PROCESS_FROM_BYTES, Scans, tokenizer_of
from studio.recipe import Recipe
from studio.settings import Settings


def plan(recipe: Recipe, settings: Settings, scans: Scans) -> dict[str, Any]:
    """About what a run will take: parameters, memory by part, rows, lengths, steps per epoch.

    Raises Refused while a large dataset is still being read.
    """
    if find_source(recipe.data).size_bytes >= OWN_PROCESS_FROM_BYTES:
        progress = scans.ask(recipe)
        if progress["state"] == "running":
            share = f" ({100 * progress['done'] // progress['total']} %)" if progress["total"] else ""
            raise Refused(f"{progress['doing']}{share}. The plan follows when every row of this large set is measured.")
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    data = dataset_view.loaded(recipe, settings)
    dataset.refuse_bad_rows(data, recipe.data)
    tokenizer = tokenizer_of(folder, recipe.model, data.form.template, data.sample)
    rows = lengths.at_max_length(lengths.measured(data, tokenizer, recipe, settings), recipe)
    device = devices.detect()
    precision = devices.choose_precision(device, recipe.training.dtype)
    longest = max(1, min(rows["longest"], recipe.training.max_length))
    expected = memory.forecast(memory.shape_of(folder), recipe, device, precision, row_tokens=longest)
    return {
        **asdict(expected),
        "total_bytes": expected.total_bytes,
        "memory_free_bytes": device.memory_free_bytes,
        "train_rows": rows["rows_trained"],
        "held_out_rows": len(data.held_out),
        "mean_tokens": rows["mean_tokens"],
        "longest_tokens": rows["longest"],
        "rows_cut": rows["rows_cut"],
        "answers_cut": rows["answers_cut"],
        "rows_untrained": rows["rows_dropped"],
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
