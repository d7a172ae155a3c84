"""The Hugging Face Hub: search, look at a model, fetch it. Every refusal of the Hub becomes a sentence.

The token is the one that `hf auth login` stored (`huggingface_hub.get_token`); it is never asked for, printed or kept.
Only data files are fetched: weights as safetensors or GGUF, never pickles, never code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx  # what huggingface_hub 2 speaks with, so these are the errors it raises
from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    OfflineModeIsEnabled,
)

from studio.data.files.hub_errors import told_in_sentences
from studio.errors import Refused, Unavailable

CONNECT_SECONDS = 4.0
SMALL_FILES = ["*.json", "*.jinja", "*.txt", "tokenizer.model", "*.tiktoken", "README.md", "LICENSE*"]
"""What describes a model: configuration, tokenizer, template, licence."""
WEIGHT_FILES = ["*.safetensors"]


@dataclass(frozen=True)
class HubModel:
    """One search result."""

    id: str
    downloads: int
    gated: bool
    licence: str
    parameters: int | None


def is_reachable() -> bool:
    """Whether the Hub answers at all: a short question, so that a closed network costs seconds, not minutes."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except httpx.HTTPError:
        return False
    return True


def search_models(text: str, limit: int = 20) -> list[HubModel]:
    """Text-generation models with safetensors weights that match `text`, most downloaded first. Raises Unavailable."""
    if not is_reachable():
        raise Unavailable("The Hub cannot be reached. Check the network, or choose a model that is on this machine.")
    with told_in_sentences(text or "the list of models"):
        found = HfApi().list_models(
            search=text,
            filter=["text-generation", "safetensors"],
            sort="downloads",
            limit=limit,
            expand=["downloads", "gated", "safetensors", "tags"],
        )
        return [_hub_model(model) for model in found]


def _hub_model(model: Any) -> HubModel:
    licences = [tag.removeprefix("license:") for tag in model.tags or [] if tag.startswith("license:")]
    return HubModel(
        id=model.id,
        downloads=model.downloads or 0,
        gated=bool(model.gated),
        licence=licences[0] if licences else "",
        parameters=model.safetensors.total if model.safetensors else None,
    )


def fetch_description(name: str, revision: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Fetch what describes a model (no weights). Returns its folder and {"weights_bytes", "parameters", "licence"}."""
    with told_in_sentences(name):
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10)
        folder = snapshot_download(name, revision=info.sha, allow_patterns=SMALL_FILES)
    files = info.siblings or []
    weights = [file for file in files if file.rfilename.endswith(".safetensors")]
    if not weights:
        raise Refused(
            f"{name} has no safetensors weights. Pickled weights (.bin, .pt) can run code when they are read, so the "
            "studio does not open them. Look for a converted copy of the model."
        )
    facts = {
        "weights_bytes": sum(file.size or 0 for file in weights),
        "parameters": info.safetensors.total if info.safetensors else None,
        "licence": info.card_data.get("license", "") if info.card_data else "",
        "revision": info.sha,
    }
    return Path(folder), facts


def fetch_model(name: str, revision: str | None = None) -> Path:
    """Fetch a whole model into the Hugging Face cache (resuming a broken fetch); returns its folder."""
    with told_in_sentences(name):
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        try:
            return Path(snapshot_download(name, revision=revision, allow_patterns=SMALL_FILES + WEIGHT_FILES))
        except (OfflineModeIsEnabled, httpx.TransportError):
            if not isinstance(cached, str):
                raise
            return Path(cached).parent  # offline, but it was fetched before
