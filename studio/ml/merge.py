"""Exports: the adapter as a zip, or merged into its base model as safetensors. Called by the worker.

A merge adds the adapter to the base weights in float32 and stores them in the number format in which the chat answers
(`devices.choose_answering_precision`). The base is the unquantized model, also for an adapter that was trained on a
quantized one, because that is what the chat answers from and what others load.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from studio.errors import NotFound, Refused
from studio.ml import adapters, devices, models
from studio.ml.text import special_tokens
from studio.ml.text.tokens import end_ids
from studio.recipe import ModelPart, Recipe, read_recipe
from studio.run_folder import RunFolder
from studio.settings import Settings

KINDS = {
    "adapter": "The adapter as a zip, for peft",
    "merged": "Adapter and base in one model, for transformers",
}


def export(run: RunFolder, kind: str, target: Path, settings: Settings) -> dict[str, Any]:
    """Write the export of `kind` to `target` (whole or not at all); returns what it is for the report."""
    if not run.adapter.is_dir():
        raise NotFound(f"{run.identity()['name']} has no adapter yet: the run has to finish or be stopped first.")
    recipe = read_recipe(run.recipe_file)
    beside = target.with_name(f".{target.name}.tmp")
    if kind == "adapter":
        _zip_folder(run.adapter, beside)
        beside.rename(target)
        return {"base_model": recipe.model.base_model, "dtype": _name(answering_dtype(run, settings))}
    if beside.exists():
        shutil.rmtree(beside)
    report = _merge(run, recipe, beside, settings)
    beside.rename(target)
    return report


def _zip_folder(folder: Path, target: Path) -> None:
    """All files of `folder`, uncompressed: weights do not shrink, and reading stays fast."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))


def _merge(run: RunFolder, recipe: Recipe, target: Path, settings: Settings) -> dict[str, Any]:
    base, _ = models.resolve(recipe.model, settings)
    models.check_folder(base)
    dtype = answering_dtype(run, settings)
    needed = 2 * dtype.itemsize * sum(map(models.count_parameters, base.glob("*.safetensors")))
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise Refused(f"The merged model needs about {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free.")
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    tokenizer = models.load_tokenizer(run.adapter, ModelPart())  # its template and tokens are the adapter's
    special_tokens.make_room(model, tokenizer)
    merged = PeftModel.from_pretrained(model, run.adapter).merge_and_unload(safe_merge=True)
    _end_answers_as_trained(merged, tokenizer)
    merged.to(dtype).save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "README.md").write_text(adapters.card(run, recipe, dtype, merged=True), encoding="utf-8")
    return {"base_model": recipe.model.base_model, "dtype": _name(dtype)}


def _end_answers_as_trained(model: Any, tokenizer: Any) -> None:
    """Let `generate` stop at the token that ended answers in training, also where the base model ended otherwise."""
    known = model.generation_config.eos_token_id
    ends = known if isinstance(known, list) else [known]
    new = [end for end in end_ids(tokenizer) if end not in ends]
    if new:
        model.generation_config.eos_token_id = [*new, *(end for end in ends if end is not None)]


def answering_dtype(run: RunFolder, settings: Settings) -> torch.dtype:
    """The number format in which the chat answers from this run's model on this machine."""
    base, _ = models.resolve(read_recipe(run.recipe_file).model, settings)
    parameters = sum(map(models.count_parameters, base.glob("*.safetensors")))
    precision = devices.choose_answering_precision(devices.detect(), parameters)
    dtype: torch.dtype = getattr(torch, precision.weights)
    return dtype


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
