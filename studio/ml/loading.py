"""A base model's weights into memory: quantized or not, on the device, with room for new tokens.

Only safetensors are opened and no code of a model is run, as models.py says, which finds the folder.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from studio.errors import InvalidInput
from studio.ml.devices import Device, Precision
from studio.ml.models import broken_weights, check_folder, load_tokenizer, read_config
from studio.ml.text import special_tokens, templates
from studio.recipe import ModelPart, QuantizationPart

BUILDING_A_MODEL = threading.Lock()
"""Held while a model is made or loaded: the libraries switch the process-wide default dtype and initialisers meanwhile,
so a plan in one thread of the model server broke a load in another ("item() cannot be called on meta tensors")."""


def learn_tokens(model: Any, tokenizer: Any, folder: Path, part: ModelPart) -> list[int]:
    """Prepare `model`, just loaded from `folder`, for the tokens that the chosen template adds; returns those to train.

    Empty for a template that needs none or whose tokens the model knows.
    """
    tokens = templates.tokens_of(part)
    if not tokens:
        return []
    base = load_tokenizer(folder, ModelPart())
    rows = special_tokens.rows_to_train(tokenizer, base, tokens)
    special_tokens.make_room(model, tokenizer)
    special_tokens.start_at_mean(model, rows, base)
    return rows


def quantization_config(part: QuantizationPart, precision: Precision) -> BitsAndBytesConfig | None:
    """The bitsandbytes settings for `part`, as the QLoRA recipe of PEFT's and TRL's documentation has them."""
    if part.method == "none":
        return None
    if part.method == "int8":
        # It says at each layer of each step that it casts to float16: thousands of lines in a run's log
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=part.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, precision.weights),
    )


def load_model(folder: Path, part: QuantizationPart, device: Device, precision: Precision) -> Any:
    """The base model on `device`, quantized as `part` says. Attention is torch's own sdpa, which is always there.

    Raises InvalidInput if the weights are broken or do not belong to a text-generation model.
    """
    check_folder(folder)
    read_config(folder)
    try:
        with BUILDING_A_MODEL:
            model, loaded = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, precision.weights),
                quantization_config=quantization_config(part, precision),
                device_map={"": device.kind if device.kind != "cuda" else 0},
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise broken_weights(folder.name) from error
    missing = sorted(loaded["missing_keys"])
    if missing:  # transformers fills them with random numbers and goes on
        raise InvalidInput(
            f"{folder.name}: its weights lack {len(missing)} of the model's tensors, the first is {missing[0]}. Either "
            "a file is missing, or this is no text-generation model.",
            field="model.base_model",
        )
    model.config.use_cache = True
    return model


def keep_trainable(model: Any) -> None:
    """Let a 4-bit model on a CPU be asked in between without losing its gradients.

    On a CPU with AVX512-BF16, bitsandbytes 0.50 packs the weights anew at the first forward in eval mode, for a kernel
    that has no backward pass, and stays with it: LoRA then trains on gradients that are wrong by 88 % (median over its
    matrices, measured), with nothing to see but a warning.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
