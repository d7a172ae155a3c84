"""One copy of a base model in memory with any number of adapters on it; answers as the base or as one of them.

Adapters are switched, the base weights are never copied (`disable_adapter`). One answer at a time: the switch is a
state of the whole model. Knows folders and models; not HTTP, not the history.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from studio.errors import NotFound
from studio.messages import Message
from studio.ml import devices, memory, models
from studio.ml.generate import Sampling, stream
from studio.recipe import ModelPart, QuantizationPart, read_recipe
from studio.run_folder import RunFolder
from studio.settings import Settings

FITS_SHARE = 0.8
"""Share of the free memory that full-precision weights may take; beyond it the base is loaded as 4-bit."""


class ChatModel:
    """Loads lazily: the first question for a base model loads it, the first for a run loads its adapter."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._turn = threading.Lock()
        self._base: Path | None = None
        self._model: Any = None
        self._tokenizers: dict[str, Any] = {}

    def answer(
        self, model: str, messages: Sequence[Message], sampling: Sampling, stop: threading.Event
    ) -> Iterator[str]:
        """Pieces of the answer of `model`: `run:ID` for a run's adapter, `base:ID` for the base model of a run, else a
        base model by its name in a recipe. Waits while another answer is being given. Raises StudioError.
        """
        kind, _, name = model.partition(":")
        run = RunFolder(self.settings.runs / name) if kind in ("run", "base") and name else None
        if run is not None and (name == ".." or Path(name).name != name or not run.path.is_dir()):
            raise NotFound("This run is gone: it was deleted or belongs to another studio home.")
        with self._turn:
            part = read_recipe(run.recipe_file).model if run else ModelPart(base_model=model)
            self._load_base(part)
            if kind == "run" and run:
                tokenizer = self._load_adapter(run, part)
                self._model.set_adapter(run.id)
                context: Any = contextlib.nullcontext()
            else:
                tokenizer = self._tokenizer(part)
                adapted = isinstance(self._model, PeftModel)
                context = self._model.disable_adapter() if adapted else contextlib.nullcontext()
            with context:
                yield from stream(self._model, tokenizer, messages, sampling, stop)

    def _load_base(self, part: ModelPart) -> None:
        folder, _ = models.resolve(part, self.settings)
        if self._base == folder:
            return
        self._model, self._base, self._tokenizers = None, None, {}  # free the old one before the new one loads
        device = devices.detect()
        parameters = sum(map(models.count_parameters, folder.glob("*.safetensors")))
        precision = devices.choose_answering_precision(device, parameters)
        fits = parameters * memory.BYTES[precision.weights] < FITS_SHARE * device.memory_free_bytes
        quantization = QuantizationPart(method="none" if fits else "nf4")
        self._model = models.load_model(folder, quantization, device, precision).eval()
        self._base = folder

    def _load_adapter(self, run: RunFolder, part: ModelPart) -> Any:
        if not run.adapter.is_dir():
            raise NotFound("This run has no adapter yet: it has to finish or be stopped first.")
        if not isinstance(self._model, PeftModel):
            self._model = PeftModel.from_pretrained(self._model, run.adapter, adapter_name=run.id).eval()
        elif run.id not in self._model.peft_config:
            self._model.load_adapter(run.adapter, adapter_name=run.id)
        if run.id not in self._tokenizers:
            self._tokenizers[run.id] = models.load_tokenizer(run.adapter, ModelPart())
        return self._tokenizers[run.id]

    def _tokenizer(self, part: ModelPart) -> Any:
        key = f"base {part.chat_template}"
        if key not in self._tokenizers:
            assert self._base is not None
            self._tokenizers[key] = models.load_tokenizer(self._base, part)
        return self._tokenizers[key]
