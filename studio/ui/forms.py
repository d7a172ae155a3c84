"""The recipe as a form: one component a field, its words and limits taken from the recipe's own docstrings.

Laid out by hand (which field stands where is a decision), read and filled by name. Knows no run and no service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, get_args

import gradio as gr

from studio.errors import InvalidInput
from studio.recipe import PRESETS, Recipe, field_help, field_limits, recipe_from_dict
from studio.ui.shared import piece

BASIC = (
    "quantization.method",
    "adapter.r",
    "training.learning_rate",
    "training.max_steps",
    "training.per_device_train_batch_size",
    "training.max_length",
)
FOLDED: dict[str, tuple[str, ...]] = {
    "Quantization": ("quantization.bnb_4bit_use_double_quant", "training.dtype"),
    "Adapter": ("adapter.lora_alpha", "adapter.lora_dropout", "adapter.target_modules"),
    "Optimisation": (
        "training.num_train_epochs",
        "training.gradient_accumulation_steps",
        "training.lr_scheduler_type",
        "training.warmup_steps",
        "training.weight_decay",
        "training.max_grad_norm",
        "training.optim",
        "training.seed",
    ),
    "Data handling": (
        "training.assistant_only_loss",
        "training.completion_only_loss",
        "training.packing",
        "training.train_sampling_strategy",
    ),
    "Evaluation and checkpoints": ("training.eval_steps", "training.save_steps", "training.save_total_limit"),
    "Memory": ("training.gradient_checkpointing",),
}
FIELDS = (*BASIC, *(name for group in FOLDED.values() for name in group))
CHOICE_WORDS = {"none": "none", "int8": "8-bit", "nf4": "4-bit NF4"}
LABELS = {"quantization.method": "quantization"}


def make_field(name: str) -> Any:
    """The component for one recipe field with its plain sentence, and under it the longer explanation, folded."""
    part, _, field = name.partition(".")
    info = Recipe.model_fields[part].annotation.model_fields[field]  # type: ignore[union-attr]
    value = shown_value(Recipe(), name)
    common = {
        "label": LABELS.get(name, field),
        "info": field_help(name)[0],
        "elem_classes": ["field"],
        "elem_id": css_id(name),
    }
    component: Any
    if name == "adapter.target_modules":
        component = gr.Textbox(value=value, max_lines=1, **common)
    elif get_args(info.annotation):
        choices = [(CHOICE_WORDS.get(choice, choice), choice) for choice in get_args(info.annotation)]
        component = gr.Dropdown(choices=choices, value=value, filterable=False, **common)
    elif info.annotation is bool:
        component = gr.Checkbox(value=value, **common)
    else:
        component = gr.Number(value=value, **common)
    explanation = explanation_html(name)
    if explanation:
        piece(explanation, elem_classes="more")
    return component


def explanation_html(name: str) -> str:
    """What too low and too high do, with limits and unit, as a fold; empty where one sentence says it all."""
    _, more, unit = field_help(name)
    low, high = field_limits(name)
    allowed = f"Allowed: {_number(low)} to {_number(high)} {unit}." if low is not None and high is not None else ""
    text = " ".join(filter(None, [more, allowed]))
    return f"<details><summary>more</summary><p>{escape(text)}</p></details>" if text else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def css_id(name: str) -> str:
    """A field's element id: `field-adapter-r`."""
    return "field-" + name.replace(".", "-").replace("_", "-")


def as_text(target_modules: Any) -> str:
    """Target modules as they are typed: names with commas."""
    return target_modules if isinstance(target_modules, str) else ", ".join(target_modules)


def value_of(recipe: Recipe, name: str) -> Any:
    """The value of a dotted field."""
    part, _, field = name.partition(".")
    return getattr(getattr(recipe, part), field)


def shown_value(recipe: Recipe, name: str) -> Any:
    """The value of a dotted field as its component shows it."""
    value = value_of(recipe, name)
    return as_text(value) if name == "adapter.target_modules" else value


def read_form(draft: Mapping[str, Any], values: Mapping[str, Any]) -> Recipe:
    """The recipe that the form says: model, data and cleaning from `draft`, the rest from `values` by field.

    Raises InvalidInput with the field's name.
    """
    tree = Recipe().model_dump(mode="json")
    for part in ("model", "data", "cleaning"):
        tree[part] |= dict(draft.get(part, {}))
    for name, value in values.items():
        part, _, field = name.partition(".")
        if value is None:
            raise InvalidInput(f"{name} is empty. Give it a value.", field=name)
        if name == "adapter.target_modules":
            value = parse_targets(str(value))
        tree[part][field] = value
    return recipe_from_dict(tree)


def parse_targets(text: str) -> str | list[str]:
    """`all-linear`, or the names between commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InvalidInput(
            "adapter.target_modules is empty. Write all-linear, or names such as q_proj, v_proj.",
            field="adapter.target_modules",
        )
    return names[0] if names == ["all-linear"] else names


@dataclass(frozen=True)
class Marks:
    """Which fields differ from the chosen preset, and which one is wrong: what the form shows beside them."""

    changed: tuple[str, ...] = ()
    wrong: str = ""
    sentence: str = ""

    def update(self, name: str) -> Any:
        """The component update that shows this for one field."""
        classes = ["field"]
        if name in self.changed:
            classes.append("changed")
        if name == self.wrong:
            classes.append("wrong")
        words = self.sentence if name == self.wrong else field_help(name)[0]
        return gr.update(elem_classes=classes, info=words)


def mark(before: Marks, after: Marks) -> list[Any]:
    """Updates for all fields in their order; those whose marks did not change are left alone, so nothing flickers."""
    touched = set(before.changed) ^ set(after.changed)
    if (before.wrong, before.sentence) != (after.wrong, after.sentence):
        touched |= {before.wrong, after.wrong}
    return [after.update(name) if name in touched else gr.skip() for name in FIELDS]


def preset_recipe(name: str) -> Recipe:
    """The recipe that a preset stands for."""
    return Recipe().changed(**PRESETS[name][1])


def changed_fields(values: Mapping[str, Any], preset: str) -> tuple[str, ...]:
    """Fields whose value in the form is not the preset's."""
    recipe = preset_recipe(preset)
    return tuple(name for name in FIELDS if values.get(name) != shown_value(recipe, name))
