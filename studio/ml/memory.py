"""About how much memory and how many parameters a training takes, told before anything is loaded.

From the model's configuration alone (meta device, no weights). The sizes of weights, adapter and optimizer are exact;
activations and the process itself are estimates, calibrated on SmolLM2-135M. Knows
nothing of the machine; the caller compares with what is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from studio.ml.devices import Device, Precision
from studio.ml.loading import BUILDING_A_MODEL
from studio.ml.models import read_config
from studio.recipe import QuantizationPart, Recipe

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = 0.5 + 4 / 64
"""A parameter in nf4: half a byte and one float32 scale for 64 of them."""
NF4_DOUBLE_QUANT_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""With the scales quantized to 8 bit in groups of 256 (QLoRA paper, section 3)."""
PROCESS_BYTES = {"cpu": 950_000_000, "cuda": 600_000_000, "mps": 950_000_000}
"""Libraries and the held-out questions on a CPU, chosen so that the sum comes near the 2.2 GB that SmolLM2-135M with
batch 8 was seen to take; on a GPU its context, assumed."""
ACTIVATION_BYTES = 34
"""Bytes kept for each of `hidden_size`, a token and layer, in 16 bits (Korthikanti et al. 2022, without scores)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model's architecture decides memory."""

    parameters: int
    linear_shapes: tuple[tuple[str, int, int], ...]
    """(name's last part, inputs, outputs) of every linear layer except the output head."""
    hidden_size: int
    layers: int
    vocab_size: int

    @property
    def linear_parameters(self) -> int:
        """Parameters in the layers that quantization packs."""
        return sum(inputs * outputs for _, inputs, outputs in self.linear_shapes)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Bytes by part, and parameter counts."""

    weights_bytes: int
    adapter_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    process_bytes: int
    trainable_parameters: int
    total_parameters: int
    target_kinds: int
    """How many kinds of layers get an adapter (q_proj, k_proj, ...)."""

    @property
    def total_bytes(self) -> int:
        """About the peak of the process, or of the GPU."""
        return (
            self.weights_bytes + self.adapter_bytes + self.optimizer_bytes + self.activations_bytes + self.process_bytes
        )


@lru_cache(maxsize=16)
def shape_of(folder: Path) -> Shape:
    """The shape of the model whose config.json is in `folder`."""
    config = read_config(folder)
    with BUILDING_A_MODEL, torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    head = model.get_output_embeddings()
    linear = [
        (name.rsplit(".", 1)[-1], module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    text = config.get_text_config()
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        linear_shapes=tuple(linear),
        hidden_size=text.hidden_size,
        layers=text.num_hidden_layers,
        vocab_size=text.vocab_size,
    )


def forecast(shape: Shape, recipe: Recipe, device: Device, precision: Precision, row_tokens: int) -> Forecast:
    """What `recipe` will take. `row_tokens` is the longest row after the cut, which decides the peak."""
    chosen = [s for s in shape.linear_shapes if _is_target(s[0], recipe.adapter.target_modules)]
    trainable = sum(recipe.adapter.r * (inputs + outputs) for _, inputs, outputs in chosen)
    weight_bytes = BYTES[precision.weights]
    linear = shape.linear_parameters
    weights = linear * _packed_bytes(recipe.quantization, weight_bytes) + (shape.parameters - linear) * weight_bytes
    tokens = recipe.training.per_device_train_batch_size * row_tokens
    layer_bytes = tokens * shape.hidden_size * ACTIVATION_BYTES * weight_bytes / 2
    if precision.autocast == "no":  # the float32 adapter keeps a float32 copy of what goes into each adapted layer
        layer_bytes += tokens * sum(inputs for _, inputs, _ in chosen) * 4 / shape.layers
    kept_layers = 1 if recipe.training.gradient_checkpointing else shape.layers
    checkpoints = tokens * shape.hidden_size * weight_bytes * shape.layers
    activations = kept_layers * layer_bytes + (checkpoints if recipe.training.gradient_checkpointing else 0)
    logits = min(tokens, 4096) * min(shape.vocab_size, 65536) * 4
    return Forecast(
        weights_bytes=int(weights),
        adapter_bytes=trainable * 8,  # the adapter and its gradient, float32
        optimizer_bytes=trainable * (2 if "8bit" in recipe.training.optim else 8),  # AdamW: two moments
        activations_bytes=int(activations + logits),
        process_bytes=PROCESS_BYTES[device.kind],
        trainable_parameters=trainable,
        total_parameters=shape.parameters + trainable,
        target_kinds=len({name for name, _, _ in chosen}),
    )


def _is_target(name: str, targets: str | tuple[str, ...]) -> bool:
    return targets == "all-linear" if isinstance(targets, str) else name in targets


def _packed_bytes(part: QuantizationPart, full: int) -> float:
    if part.method == "int8":
        return 1.0
    if part.method == "nf4":
        return NF4_DOUBLE_QUANT_BYTES if part.bnb_4bit_use_double_quant else NF4_BYTES
    return full


def compare_methods(shape: Shape, recipe: Recipe, device: Device, precision: Precision) -> dict[str, Any]:
    """Total bytes of full fine-tuning, LoRA and QLoRA side by side, each by part: the picture on the Model page."""
    rows = {}
    for label, method in (("LoRA", "none"), ("QLoRA", "nf4")):
        changed = recipe.changed(**{"quantization.method": method, "training.per_device_train_batch_size": 1})
        rows[label] = forecast(shape, changed, device, precision, row_tokens=recipe.training.max_length)
    lora = rows["LoRA"]
    # Full fine-tuning: weights, gradients and two moments, all in float32 (the QLoRA paper's 16 bytes a parameter)
    full = Forecast(
        weights_bytes=shape.parameters * 4,
        adapter_bytes=shape.parameters * 4,
        optimizer_bytes=shape.parameters * 8,
        activations_bytes=lora.activations_bytes,
        process_bytes=lora.process_bytes,
        trainable_parameters=shape.parameters,
        total_parameters=shape.parameters,
        target_kinds=0,
    )
    return {"Full": full, **rows}
