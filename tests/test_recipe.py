"""A recipe: it trains as it is, survives its file, and says in one sentence which field is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.errors import InvalidInput
from studio.recipe import (
    PRESETS,
    STARTER_MODEL,
    Recipe,
    field_help,
    field_limits,
    read_recipe,
    recipe_from_dict,
)

FIELDS = [
    f"{part}.{field}"
    for part, info in Recipe.model_fields.items()
    for field in info.annotation.model_fields  # type: ignore[union-attr]
]
NUMBERS = [
    name for name in FIELDS if type(Recipe().model_dump()[name.split(".")[0]][name.split(".")[1]]) in (int, float)
]


def refused(values: dict[str, Any]) -> InvalidInput:
    """The error that changing `values` raises."""
    with pytest.raises(InvalidInput) as caught:
        Recipe().changed(**values)
    return caught.value


def test_a_recipe_without_any_choice_trains() -> None:
    recipe = Recipe()

    assert recipe.model.base_model == STARTER_MODEL
    assert recipe.data.dataset == "starter:sentiment"
    assert recipe.data.held_out_rows > 0
    assert recipe.training.max_steps > recipe.training.warmup_steps
    assert recipe.training.max_steps >= recipe.training.save_steps, "a run leaves at least one checkpoint"


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = Recipe().changed(
        **{
            "model.base_model": "Ünï/módel",
            "training.learning_rate": 2e-5,
            "adapter.target_modules": ["q_proj", "v_proj"],
            "quantization.method": "nf4",
        }
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")

    assert read_recipe(file) == recipe


def test_a_file_may_leave_out_what_it_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("training:\n  max_steps: 7\n  learning_rate: 1e-4\n", encoding="utf-8")

    assert read_recipe(file) == Recipe().changed(**{"training.max_steps": 7, "training.learning_rate": 1e-4})


def test_a_recipe_cannot_be_changed_in_place() -> None:
    recipe = Recipe()

    changed = recipe.changed(**{"training.max_steps": 7})

    assert (recipe.training.max_steps, changed.training.max_steps) == (100, 7)
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.max_steps = 7  # type: ignore[misc]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_explained_in_a_short_sentence(name: str) -> None:
    sentence, _, _ = field_help(name)

    assert sentence.endswith((".", "?"))
    assert 15 <= len(sentence) <= 90


PURE_NUMBERS = {"adapter.r", "adapter.lora_alpha", "training.max_grad_norm", "training.seed"}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_two_limits_around_its_default_and_a_unit_where_there_is_one(name: str) -> None:
    part, field = name.split(".")
    low, high = field_limits(name)

    assert bool(field_help(name)[2]) != (name in PURE_NUMBERS)
    assert low is not None
    assert high is not None
    assert low <= Recipe().model_dump()[part][field] <= high


def test_a_field_that_is_no_number_has_no_limits() -> None:
    assert field_limits("model.base_model") == (None, None)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("adapter.r", 0, "adapter.r must be at least 1, but is 0."),
        ("training.max_steps", 2_000_000, "training.max_steps must be at most 1000000, but is 2000000."),
        ("training.learning_rate", 3, "training.learning_rate must be at most 1, but is 3."),
        ("adapter.lora_dropout", 0.95, "adapter.lora_dropout must be at most 0.9, but is 0.95."),
        ("training.learning_rate", 0, "training.learning_rate must be more than 0, but is 0."),
        ("training.learning_rate", "fast", "training.learning_rate must be a number, but is 'fast'."),
        ("training.learning_rate", float("nan"), "training.learning_rate must be a number, but is nan."),
        ("training.max_steps", "many", "training.max_steps must be a whole number, but is 'many'."),
        ("training.max_steps", 2.5, "training.max_steps must be a whole number, but is 2.5."),
        ("training.max_steps", None, "training.max_steps must be a whole number, but is None."),
        ("quantization.method", "fp4", "quantization.method must be one of 'none', 'int8' or 'nf4', but is 'fp4'."),
        ("training.rank", 8, "A recipe has no field training.rank."),
        ("tuning.rank", 8, "A recipe has no field tuning.rank."),
        ("model.base_model", "", "model.base_model must not be empty."),
        ("training.packing", "maybe", "training.packing must be true or false, but is 'maybe'."),
        ("model.revision", 5, "model.revision must be text, but is 5."),
    ],
)
def test_a_wrong_value_gives_one_sentence_and_its_field(field: str, value: object, sentence: str) -> None:
    error = refused({field: value})

    assert str(error) == sentence
    assert error.field == field


def test_a_very_long_value_is_not_repeated_whole() -> None:
    error = refused({"model.base_model": "x" * 100_000})

    assert error.field == "model.base_model"
    assert "at most 500" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize("typed", ["q_proj, v_proj", "q_proj v_proj", "q_proj,v_proj,"])
def test_layer_names_can_be_typed_with_commas(typed: str) -> None:
    """A single text would be a regular expression to PEFT."""
    assert Recipe().changed(**{"adapter.target_modules": typed}).adapter.target_modules == ("q_proj", "v_proj")


def test_all_linear_stays_a_word() -> None:
    assert Recipe().changed(**{"adapter.target_modules": " all-linear "}).adapter.target_modules == "all-linear"


@pytest.mark.parametrize("nothing", ["", " , ", []])
def test_no_layer_at_all_is_refused(nothing: object) -> None:
    error = refused({"adapter.target_modules": nothing})

    assert error.field == "adapter.target_modules"
    assert "at least one" in str(error)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_existing_fields_to_allowed_values(name: str) -> None:
    sentence, values = PRESETS[name]
    recipe = Recipe().changed(**values)

    assert sentence.endswith((".", "?"))
    assert {field: getattr(getattr(recipe, field.split(".")[0]), field.split(".")[1]) for field in values} == values
    assert recipe.training.warmup_steps < recipe.training.max_steps
    assert recipe.training.save_steps <= recipe.training.max_steps


def test_balanced_is_what_a_recipe_already_is() -> None:
    assert Recipe().changed(**PRESETS["Balanced"][1]) == Recipe()


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no field traning\.") as caught:
        recipe_from_dict({"traning": {"max_steps": 3}})

    assert caught.value.field == "traning"


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"training: [unclosed", "not valid YAML"),
        (b"- a\n- list\n", "must be a mapping with the parts model, data"),
        (b"", "must be a mapping"),
        (b"just words", "must be a mapping"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_its_name(content: bytes, fragment: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)

    with pytest.raises(InvalidInput, match=fragment) as caught:
        read_recipe(file)

    assert "odd.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml cannot be read: No such file"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_a_part_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidInput, match="training must be a mapping of fields, but is 5") as caught:
        recipe_from_dict({"training": 5})

    assert caught.value.field == "training"
