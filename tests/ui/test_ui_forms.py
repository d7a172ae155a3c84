"""The form says what the recipe says: every field, its words, its limits; a wrong value names its field."""

from __future__ import annotations

import pytest

from studio.errors import InvalidInput
from studio.recipe import PRESETS, Recipe, field_help
from studio.ui import forms
from studio.ui.forms import FIELDS, Marks
from studio.ui.shared import START_DRAFT


def shown(recipe: Recipe) -> dict[str, object]:
    return {name: forms.shown_value(recipe, name) for name in FIELDS}


def test_an_untouched_form_is_the_default_recipe() -> None:
    assert forms.read_form(START_DRAFT, shown(Recipe())) == Recipe()


def test_the_draft_brings_model_and_data() -> None:
    draft = {**START_DRAFT, "model": {"base_model": "owner/name"}, "data": {"dataset": "starter:lighthouse"}}
    recipe = forms.read_form(draft, shown(Recipe()))
    assert (recipe.model.base_model, recipe.data.dataset) == ("owner/name", "starter:lighthouse")


def test_every_field_of_the_training_parts_is_on_the_form() -> None:
    on_form = set(FIELDS)
    for part in ("quantization", "adapter", "training"):
        fields = Recipe.model_fields[part].annotation.model_fields  # type: ignore[union-attr]
        assert {f"{part}.{field}" for field in fields} <= on_form


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("training.learning_rate", -1, "more than 0"),
        ("training.max_steps", 1.5, "whole number"),
        ("adapter.r", float("nan"), "number"),
        ("training.max_length", None, "empty"),
        ("adapter.target_modules", " , ", "all-linear"),
    ],
)
def test_a_wrong_value_comes_back_with_its_field(name: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        forms.read_form(START_DRAFT, {**shown(Recipe()), name: value})
    assert caught.value.field == name


def test_target_modules_are_typed_with_commas() -> None:
    values = {**shown(Recipe()), "adapter.target_modules": "q_proj, v_proj"}
    assert forms.read_form(START_DRAFT, values).adapter.target_modules == ("q_proj", "v_proj")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fresh_preset_has_no_changed_field(preset: str) -> None:
    assert forms.changed_fields(shown(forms.preset_recipe(preset)), preset) == ()


def test_a_changed_field_is_marked_and_only_that_one_is_touched() -> None:
    values = {**shown(Recipe()), "adapter.r": 8}
    after = Marks(forms.changed_fields(values, "Balanced"))
    updates = dict(zip(FIELDS, forms.mark(Marks(), after), strict=True))
    assert updates["adapter.r"]["elem_classes"] == ["field", "changed"]
    assert [name for name, update in updates.items() if "elem_classes" in update] == ["adapter.r"]


def test_a_wrong_field_shows_the_sentence_in_place_of_its_help_and_later_the_help_again() -> None:
    wrong = Marks((), "adapter.r", "adapter.r must be at least 1, but is 0.")
    during = dict(zip(FIELDS, forms.mark(Marks(), wrong), strict=True))["adapter.r"]
    afterwards = dict(zip(FIELDS, forms.mark(wrong, Marks()), strict=True))["adapter.r"]
    assert "at least 1" in during["info"]
    assert afterwards["info"] == field_help("adapter.r")[0]
