"""A recipe: everything that decides what a run does, as frozen values.

    Recipe = model + data + cleaning + quantization + adapter + training

The parts' fields stand in recipe_fields.py and recipe_data_fields.py. Read from YAML or a form, checked in one place: a
wrong value is one sentence with the name of its field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from studio.errors import InvalidInput
from studio.recipe_data_fields import CleaningPart, DataPart, DataSource, MixedSource
from studio.recipe_fields import (
    STARTER_MODEL,
    STARTER_PREFIX,
    AdapterPart,
    ModelPart,
    QuantizationPart,
    RecipePart,
    TrainingPart,
)

__all__ = [
    "PRESETS",
    "STARTER_MODEL",
    "STARTER_PREFIX",
    "AdapterPart",
    "CleaningPart",
    "DataPart",
    "DataSource",
    "MixedSource",
    "ModelPart",
    "QuantizationPart",
    "Recipe",
    "TrainingPart",
    "field_help",
    "field_limits",
    "read_recipe",
    "read_recipe_dict",
    "recipe_from_dict",
]


class Recipe(RecipePart):
    """One run, whole. `Recipe()` is the studio's own start: it trains without another choice."""

    model: ModelPart = ModelPart()
    data: DataPart = DataPart()
    cleaning: CleaningPart = CleaningPart()
    quantization: QuantizationPart = QuantizationPart()
    adapter: AdapterPart = AdapterPart()
    training: TrainingPart = TrainingPart()

    def changed(self, **values: Any) -> Recipe:
        """A copy with dotted fields changed: `recipe.changed(**{"training.max_steps": 30})`.

        Raises InvalidInput naming the field when a value is not allowed.
        """
        tree = self.model_dump(mode="json")
        for name, value in values.items():
            part, _, field = name.partition(".")
            if part not in tree:
                raise InvalidInput(f"A recipe has no field {name}.", field=name)
            tree[part][field] = value
        return recipe_from_dict(tree)

    def to_yaml(self) -> str:
        """The recipe as YAML, every field written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "Quick look": (
        "Does the data teach anything?",
        {
            "training.max_steps": 30,
            "training.warmup_steps": 2,
            "training.eval_steps": 10,
            "training.save_steps": 30,
        },
    ),
    "Balanced": (
        "A good first result.",
        {
            "training.max_steps": 100,
            "training.warmup_steps": 5,
            "training.eval_steps": 20,
            "training.save_steps": 50,
        },
    ),
    "Thorough": (
        "More steps at half the learning rate.",
        {
            "training.max_steps": 300,
            "training.learning_rate": 5e-4,
            "training.warmup_steps": 15,
            "training.eval_steps": 30,
            "training.save_steps": 100,
        },
    ),
}
"""Name -> (one sentence, the fields it sets). Balanced is what `Recipe()` already is."""


def recipe_from_dict(tree: dict[str, Any]) -> Recipe:
    """Check a nested dict and make it a recipe. Raises InvalidInput with one sentence and the dotted field."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][:2])
        raise InvalidInput(_sentence(field, first), field=field) from None


def _sentence(field: str, error: Any) -> str:
    """What pydantic found, in the studio's words: the field, what it may be, and what was given."""
    given = repr(error.get("input"))
    if len(given) > 80:
        given = f"{given[:60]}… ({len(given)} characters)"
    limits = error.get("ctx", {})
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"A recipe has no field {field}."
    if kind == "value_error":
        return f"{field} {limits['error']}."
    if kind == "string_too_short":
        return f"{field} must not be empty."
    allowed = _allowed(kind, limits)
    if allowed is None:
        return f"{field}: {error['msg']}, but is {given}."
    return f"{field} must be {allowed}, but is {given}."


_KINDS = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "model_type": "a mapping of fields",
}
"""What pydantic's errors about a value's kind mean, after "must be"."""


def _allowed(kind: str, limits: dict[str, Any]) -> str | None:
    """What a value may be, after "must be"; None for what no field of a recipe asks for."""
    match kind:
        case "greater_than_equal":
            return f"at least {_plain(limits['ge'])}"
        case "greater_than":
            return f"more than {_plain(limits['gt'])}"
        case "less_than_equal":
            return f"at most {_plain(limits['le'])}"
        case "string_too_long":
            return f"at most {limits['max_length']} characters"
        case "literal_error":
            return f"one of {limits['expected']}"
    return _KINDS.get(kind)


def _plain(limit: float) -> str:
    """A limit as people write it: 1 instead of 1.0, 1000000 instead of 1e+06."""
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def read_recipe_dict(path: Path) -> dict[str, Any]:
    """The YAML file's content as a dict. Raises InvalidInput if it cannot be read or is not a mapping."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(tree, dict):
        raise InvalidInput(f"The recipe {path} must be a mapping with the parts {', '.join(Recipe.model_fields)}.")
    return tree


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file. Raises InvalidInput with one sentence."""
    return recipe_from_dict(read_recipe_dict(path))


def field_help(name: str) -> tuple[str, str, str]:
    """(plain sentence, longer explanation, unit) of a dotted field, from its docstring."""
    part, _, field = name.partition(".")
    info = Recipe.model_fields[part].annotation.model_fields[field]  # type: ignore[union-attr]
    sentence, _, more = (info.description or "").partition("\n\n")
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return " ".join(sentence.split()), " ".join(more.split()), str(extra.get("unit", ""))


def field_limits(name: str) -> tuple[float | None, float | None]:
    """(smallest, largest) value allowed of a dotted field; None where there is no limit."""
    part, _, field = name.partition(".")
    info = Recipe.model_fields[part].annotation.model_fields[field]  # type: ignore[union-attr]
    low = high = None
    for limit in info.metadata:
        low = getattr(limit, "ge", getattr(limit, "gt", low))
        high = getattr(limit, "le", getattr(limit, "lt", high))
    return low, high
