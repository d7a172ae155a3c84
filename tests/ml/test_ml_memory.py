"""The forecast's counts are PEFT's own, and its bytes move the right way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import LlamaForCausalLM

from studio.ml.devices import Device, Precision
from studio.ml.memory import Forecast, compare_methods, forecast, shape_of
from studio.ml.train import lora_config
from studio.recipe import Recipe

CPU = Device(kind="cpu", name="CPU", memory_total_bytes=1, memory_free_bytes=1)
FLOAT32 = Precision("float32", "no")


def expect(folder: Path, precision: Precision = FLOAT32, row_tokens: int = 100, **values: Any) -> Forecast:
    """The forecast for the model in `folder` and a recipe changed by dotted `values` (`__` for the dot)."""
    recipe = Recipe().changed(**{name.replace("__", "."): value for name, value in values.items()})
    return forecast(shape_of(folder), recipe, CPU, precision, row_tokens)


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), ("down_proj",)], ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_pefts_own_counts(targets: Any, tied: bool, toy_model: Path, talking_model: Path) -> None:
    folder = toy_model if tied else talking_model
    recipe = Recipe().changed(**{"adapter.target_modules": targets, "adapter.r": 6})
    model = LlamaForCausalLM.from_pretrained(folder)
    trainable, total = get_peft_model(model, lora_config(recipe.adapter, model)).get_nb_trainable_parameters()

    expected = expect(folder, adapter__target_modules=targets, adapter__r=6)

    assert (expected.trainable_parameters, expected.total_parameters) == (trainable, total)
    assert expected.target_kinds == {"all-linear": 7}.get(targets, len(targets))


def test_weights_are_the_files_bytes(toy_model: Path) -> None:
    """bfloat16 in the file; twice that in float32."""
    from studio.ml.models import count_parameters

    stored = 2 * count_parameters(toy_model / "model.safetensors")

    assert expect(toy_model, Precision("bfloat16", "no")).weights_bytes == stored
    assert expect(toy_model).weights_bytes == 2 * stored


def test_quantization_packs_the_linear_layers_alone(toy_model: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(toy_model)
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not model.lm_head)
    rest = (model.num_parameters() - linear) * 4

    assert expect(toy_model, quantization__method="int8").weights_bytes == linear + rest
    nf4 = expect(toy_model, quantization__method="nf4", quantization__bnb_4bit_use_double_quant=False)
    assert nf4.weights_bytes == linear * 0.5625 + rest
    assert expect(toy_model, quantization__method="nf4").weights_bytes < nf4.weights_bytes


def test_adapter_and_optimizer_are_exact(toy_model: Path) -> None:
    expected = expect(toy_model)

    assert expected.adapter_bytes == expected.trainable_parameters * (4 + 4)  # weights and gradients
    assert expected.optimizer_bytes == expected.trainable_parameters * (4 + 4)  # two moments
    assert expect(toy_model, training__optim="adamw_8bit").optimizer_bytes == expected.trainable_parameters * 2


@pytest.mark.parametrize(
    "values",
    [
        {"training__per_device_train_batch_size": 4},
        {"row_tokens": 50},
        {"training__gradient_checkpointing": True},
        {"precision": Precision("bfloat16", "no")},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_helps_when_memory_is_short_is_forecast_to_help(values: dict[str, Any], toy_model: Path) -> None:
    assert expect(toy_model, **values).activations_bytes < expect(toy_model).activations_bytes


def test_the_total_is_the_sum_of_its_parts(toy_model: Path) -> None:
    parts = expect(toy_model)

    assert parts.total_bytes == sum(
        (parts.weights_bytes, parts.adapter_bytes, parts.optimizer_bytes, parts.activations_bytes, parts.process_bytes)
    )


def test_full_fine_tuning_is_sixteen_bytes_a_parameter(toy_model: Path) -> None:
    methods = compare_methods(shape_of(toy_model), Recipe(), CPU, FLOAT32)

    full = methods["Full"]
    assert full.weights_bytes + full.adapter_bytes + full.optimizer_bytes == 16 * shape_of(toy_model).parameters
    assert methods["QLoRA"].weights_bytes < methods["LoRA"].weights_bytes
    assert full.trainable_parameters == full.total_parameters == shape_of(toy_model).parameters
