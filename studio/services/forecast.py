"""About how long a run will take here: from what finished runs of the same model measured, else from a first guess.

Knows the history and recipes; the plan (tokens, parameters) comes from the model server.
"""

from __future__ import annotations

from typing import Any

from studio.history import History
from studio.recipe import Recipe
from studio.runs import RunStatus

CPU_PARAMETER_TOKENS_PER_SECOND = 27e9
"""First guess for a CPU core: parameters x tokens trained in a second (SmolLM2-135M at about 400 tokens/s on two cores,
LoRA on all linear layers, bfloat16; benchmarks/RESULTS.md). That quantized weights take twice and checkpointing 1.3
times as long is assumed, until a run has measured it."""
EXTRA_SECONDS = 25.0
"""Loading the libraries and the model, and the questions before and after."""


def seconds_for(recipe: Recipe, plan: dict[str, Any], history: History, cores: int) -> float | None:
    """About how many seconds `recipe` takes; None on a GPU that has not trained this model yet."""
    speed = measured_speed(recipe, history)
    if speed is None and plan["device_kind"] == "cpu":
        speed = CPU_PARAMETER_TOKENS_PER_SECOND * cores / plan["total_parameters"]
        speed /= 1.0 if recipe.quantization.method == "none" else 2.0
        speed /= 1.3 if recipe.training.gradient_checkpointing else 1.0
    if not speed:
        return None
    return EXTRA_SECONDS + steps_of(recipe, plan["train_rows"]) * tokens_per_step(recipe, plan) / speed


def measured_speed(recipe: Recipe, history: History) -> float | None:
    """tokens/s of the newest finished run with the same model, quantization and checkpointing; None without one."""
    for run in history.runs(statuses=[RunStatus.FINISHED], limit=50):
        model, quantization = run.recipe["model"], run.recipe["quantization"]
        if (
            model["base_model"] == recipe.model.base_model
            and quantization["method"] == recipe.quantization.method
            and run.recipe["training"]["gradient_checkpointing"] == recipe.training.gradient_checkpointing
            and run.result.get("tokens_per_second")
        ):
            return float(run.result["tokens_per_second"])
    return None


def steps_of(recipe: Recipe, train_rows: int) -> int:
    """Optimizer steps of `recipe` on `train_rows` rows."""
    if recipe.training.max_steps:
        return recipe.training.max_steps
    rows = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    return max(1, round(recipe.training.num_train_epochs * train_rows / rows))


def tokens_per_step(recipe: Recipe, plan: dict[str, Any]) -> float:
    """Real tokens that one optimizer step learns from, on average."""
    rows = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    per_row = recipe.training.max_length if recipe.training.packing else plan["mean_tokens"]
    return float(rows * per_row)
