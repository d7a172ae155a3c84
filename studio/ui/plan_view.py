"""What a run will take, as HTML, before it starts: one paragraph, one bar, and the sentences worth reading first."""

from __future__ import annotations

from html import escape
from typing import Any

from studio import words
from studio.recipe import PRESETS, STARTER_MODEL, Recipe
from studio.services import forecast
from studio.services.studio import Studio
from studio.ui import charts
from studio.ui.model_view import PARTS
from studio.ui.run_view import say


def preset_choices(seconds: dict[str, float | None]) -> list[tuple[str, str]]:
    """The preset cards: name, steps, about how long here, and a sentence."""
    cards = []
    for name, (sentence, changes) in PRESETS.items():
        known = seconds.get(name)
        time = f", about {words.duration(known)}" if known else ""
        cards.append((f"{name}\n{changes['training.max_steps']} steps{time}. {sentence}", name))
    return cards


def preset_seconds(studio: Studio, recipe: Recipe, answer: dict[str, Any]) -> dict[str, float | None]:
    """About how long each preset takes with this model and data."""
    cores = answer["cores"]
    return {
        name: forecast.seconds_for(recipe.changed(**changes), answer, studio.history, cores)
        for name, (_, changes) in PRESETS.items()
    }


def what_html(recipe: Recipe) -> str:
    """Model and data of the recipe in a line."""
    model = "SmolLM2-135M-Instruct" if recipe.model.base_model == STARTER_MODEL else recipe.model.base_model
    return (
        f'<h2 class="t">What to train</h2><p class="sub">{escape(model)} on {escape(recipe.data.dataset)}. '
        '<a data-tab="model" href="javascript:void 0">Other model</a> · '
        '<a data-tab="data" href="javascript:void 0">Other data</a></p>'
    )


def plan_title() -> str:
    """The heading of the right side's first card."""
    return '<h2 class="t">Before you start</h2>'


def plan_html(studio: Studio, recipe: Recipe, answer: dict[str, Any]) -> str:
    """What the recipe will take, in one paragraph, one bar and the sentences worth reading before the start."""
    seconds = forecast.seconds_for(recipe, answer, studio.history, answer["cores"])
    steps = forecast.steps_of(recipe, answer["train_rows"])
    rows = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    trained, total = answer["trainable_parameters"], answer["total_parameters"]
    time = f"about {words.duration(seconds)}" if seconds else "a time not known before the first run here"
    method = {"none": "LoRA", "int8": "LoRA on an 8-bit model", "nf4": "QLoRA"}[recipe.quantization.method]
    free = answer["memory_free_bytes"]
    text = (
        f"{method} with r = {recipe.adapter.r} on {answer['target_kinds']} kinds of layers trains "
        f"<b>{words.count(trained)} of {words.count(total)}</b> parameters ({words.percent(trained / total, 1)}). "
        f"{steps} steps see every row {steps * rows / max(1, answer['train_rows']):.1f} times, take {time} and need "
        f"about {words.size(answer['total_bytes'])} of the {words.size(free)} free."
    )
    parts = [(word, answer[key], colour) for key, word, colour in PARTS]
    legend = [(f"{word} {words.size(amount)}", colour) for word, amount, colour in parts]
    return (
        plan_title()
        + f'<p class="sub">{text}</p>'
        + charts.stacked_bar(parts, min(free, 4 * answer["total_bytes"]))
        + charts.legend(legend)
        + "".join(say(*advice) for advice in advices(recipe, answer))
    )


def advices(recipe: Recipe, answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(kind, title, sentence) of what is worth knowing before the start; one good word if there is nothing."""
    found = []
    if answer["total_bytes"] > answer["memory_free_bytes"]:
        found.append(
            (
                "bad",
                "Does not fit",
                "It needs more memory than is free. In this order: halve the batch size and "
                "double gradient_accumulation_steps, turn on gradient_checkpointing, choose 4-bit NF4.",
            )
        )
    if answer["answers_cut"]:
        found.append(
            (
                "warn",
                "Worth a look",
                f"{answer['answers_cut']:,} of {answer['train_rows']:,} answers are cut at the end, so the model would "
                f"not learn to stop there. max_length {answer['longest_tokens']:,} holds them all.",
            )
        )
    elif answer["rows_cut"]:
        found.append(("note", "Worth knowing", f"{answer['rows_cut']:,} rows are cut at max_length, no answer is."))
    if answer["rows_untrained"]:
        found.append(
            ("warn", "Worth a look", f"{answer['rows_untrained']} rows have no trained token left and are left out.")
        )
    if not answer["held_out_rows"]:
        found.append(
            ("warn", "Worth a look", "Nothing is held out, so nobody will know whether it learned or memorised.")
        )
    if recipe.quantization.method != "none" and answer["device_kind"] == "cpu":
        found.append(("note", "On this CPU", "quantized weights save memory but are slower. Full precision fits here."))
    return found or [
        ("good", "Nothing to fix", f"{answer['train_rows']:,} rows, every answer whole, the end of each is trained.")
    ]
