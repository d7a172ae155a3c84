"""Base models: find the folder that a recipe's name means, describe it, load its tokenizer.

Everything is read from a folder on disk (a Hub model is fetched first, `hub.py`). Only safetensors and GGUF weights
are opened, and code that comes with a model is never run: `trust_remote_code` is False everywhere. The weights are
loaded in loading.py, so that who only counts tokens does not pay for it.
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from studio.errors import InvalidInput, Refused
from studio.ml import hub
from studio.ml.text import special_tokens, templates
from studio.ml.text.chat_formats import TEMPLATES
from studio.recipe import STARTER_MODEL, ModelPart
from studio.settings import Settings

LARGEST_HEADER_BYTES = 100_000_000
"""The safetensors format allows no longer header."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the Model page says about a base model."""

    name: str
    folder: str
    architecture: str
    parameters: int | None
    licence: str
    context_length: int | None
    has_chat_template: bool
    size_bytes: int
    revision: str | None = None


def resolve(part: ModelPart, settings: Settings, *, weights: bool = True) -> tuple[Path, dict[str, Any]]:
    """The folder of the model that `part` names, and what the Hub says of it if it comes from there.

    With `weights` False a Hub model's small files are enough. Raises StudioError in a sentence.
    """
    name = part.base_model
    if name == STARTER_MODEL:
        if not settings.starter_model.is_dir():
            raise Refused("The starter model is not on this machine yet. Run `studio starter`, or choose another.")
        return settings.starter_model, {"licence": "apache-2.0"}
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        return path, {}
    if path.is_file() and path.suffix == ".gguf":
        from studio.ml.starter import converted_gguf

        return converted_gguf(path, settings), {}
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise InvalidInput(
            f"There is no folder {name}. Give a folder with a model in it, or a Hub name like owner/name.",
            field="model.base_model",
        )
    if weights:
        return hub.fetch_model(name, part.revision), {}
    return hub.fetch_description(name, part.revision)


def check_folder(folder: Path) -> None:
    """Raise InvalidInput naming the file that is missing or not allowed."""

    def refuse(sentence: str) -> InvalidInput:
        return InvalidInput(f"{folder.name}: {sentence}", field="model.base_model")

    if not (folder / "config.json").is_file():
        raise refuse("config.json is missing, so this is no model folder. An adapter's folder needs its base model.")
    if not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
            raise refuse(
                "it has pickled weights only (.bin or .pt). Reading them can run code, so the studio does not open "
                "them. Save the model again with save_pretrained, which writes safetensors."
            )
        raise refuse("no *.safetensors weights are in it. The download may have broken off: fetch it again.")
    if not any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise refuse("the tokenizer is missing (tokenizer.json). Copy the tokenizer files of the same model into it.")


def describe(part: ModelPart, settings: Settings) -> ModelCard:
    """What there is to know about a model without loading it."""
    folder, facts = resolve(part, settings, weights=False)
    on_hub = "weights_bytes" in facts
    if not on_hub:
        check_folder(folder)
    config = read_config(folder)
    tokenizer = load_tokenizer(folder, ModelPart(base_model=part.base_model))
    text_config = config.get_text_config()
    weights = list(folder.glob("*.safetensors"))
    return ModelCard(
        name="SmolLM2-135M-Instruct" if part.base_model == STARTER_MODEL else part.base_model,
        folder=str(folder),
        architecture=(
            f"{(config.architectures or [config.model_type])[0]}, {text_config.num_hidden_layers} layers, "
            f"width {text_config.hidden_size}, {text_config.vocab_size:,} tokens"
        ),
        parameters=facts.get("parameters") or sum(map(count_parameters, weights)) or None,
        licence=facts.get("licence") or _licence_in(folder),
        context_length=getattr(text_config, "max_position_embeddings", None),
        has_chat_template=tokenizer.chat_template is not None,
        size_bytes=facts.get("weights_bytes") or sum(file.stat().st_size for file in weights),
        revision=facts.get("revision"),
    )


def read_config(folder: Path) -> Any:
    """The model's configuration. Raises InvalidInput if it is broken or needs code of its own."""
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidInput(
            f"{folder.name}: its config.json cannot be used: {_reason(error)}.", field="model.base_model"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what transformers says, without its full stop; it would offer to run the model's code."""
    if "trust_remote_code" in str(error):
        return "it needs Python code that comes with it, which the studio never runs"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def count_parameters(file: Path) -> int:
    """Number of values in a safetensors file, from its header alone (the format: 8 bytes length, then JSON).

    Raises InvalidInput if it is none or shorter than its header says.
    """
    try:
        with open(file, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > LARGEST_HEADER_BYTES:
                raise ValueError("no header")
            header = json.loads(handle.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        if file.stat().st_size < 8 + length + max((entry["data_offsets"][1] for entry in entries), default=0):
            raise ValueError("cut off")
        return sum(math.prod(entry["shape"]) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise broken_weights(file.name) from error


def broken_weights(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name}: this is no whole safetensors file. The download may have broken off, or brought a pointer of Git LFS "
        "instead of the weights: fetch it again.",
        field="model.base_model",
    )


def _licence_in(folder: Path) -> str:
    """The licence named in the model card's YAML head, if any."""
    card = folder / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
            if line.startswith("license:"):
                return line.removeprefix("license:").strip()
    return ""


def load_tokenizer(folder: Path, part: ModelPart) -> Any:
    """The tokenizer with the chat template that `part` asks for, the tokens that it needs, and a padding of its own."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidInput(
            f"{folder.name}: its tokenizer cannot be read: {_reason(error)}.",
            field="model.base_model",
        ) from error
    if tokenizer.eos_token is None:
        raise InvalidInput(
            f"{folder.name}: its tokenizer names no end token (eos_token), so a model could not learn to stop.",
            field="model.base_model",
        )
    if not tokenizer.is_fast:
        raise InvalidInput(
            f"{folder.name}: its tokenizer has no tokenizer.json and cannot say which letters a token stands for, so "
            "answers cannot be told from questions. Take a model that has the file.",
            field="model.base_model",
        )
    templates.choose_template(tokenizer, part)
    special_tokens.choose_padding(tokenizer)
    tokenizer.padding_side = "right"
    return tokenizer


def load_tokenizer_for(folder: Path, part: ModelPart, baked: str | None, sample: str = "") -> Any:
    """The tokenizer for training on rows that may carry a chat format along (`baked`, with one text as `sample`).

    Where the recipe leaves the template to the model, conversations are then written as these texts are.
    """
    tokenizer = load_tokenizer(folder, part)
    if baked in TEMPLATES and part.chat_template == "own":
        templates.adopt_baked_template(tokenizer, baked, sample)
    return tokenizer
