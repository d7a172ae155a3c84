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
from studio.ml import devices, loading, memory, models
from studio.ml.generate import Sampling, stream
from studio.ml.text import special_tokens
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
        self._tokenizers: dict[tuple[Path, str, str], Any] = {}

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
                tokenizer = self._load_adapter(run)
                self._model.set_adapter(run.id)
                context: Any = contextlib.nullcontext()
            else:
                tokenizer = self._base_tokenizer(run, part)
                adapted = isinstance(self._model, PeftModel)
                context = self._model.disable_adapter() if adapted else contextlib.nullcontext()
            with context:
                yield from stream(self._model, tokenizer, messages, sampling, stop)

    def _load_base(self, part: ModelPart) -> None:
        folder, _ = models.resolve(part, self.settings)
        if self._base == folder:
            return
        self._model, self._base, self._tokenizers = None, None, {}  # free the old one before the new one loads
        self._model = self._read(folder)
        self._base = folder

    def _read(self, folder: Path) -> Any:
        """The base model as it answers on this machine: in full precision if it fits."""
        device = devices.detect()
        parameters = sum(map(models.count_parameters, folder.glob("*.safetensors")))
        precision = devices.choose_answering_precision(device, parameters)
        fits = parameters * memory.BYTES[precision.weights] < FITS_SHARE * device.memory_free_bytes
        quantization = QuantizationPart(method="none" if fits else "nf4")
        return loading.load_model(folder, quantization, device, precision).eval()

    def _load_adapter(self, run: RunFolder) -> Any:
        if not run.adapter.is_dir():
            raise NotFound("This run has no adapter yet: it has to finish or be stopped first.")
        tokenizer = self._tokenizer(run.adapter, ModelPart())
        if not isinstance(self._model, PeftModel):
            self._model = PeftModel.from_pretrained(self._model, run.adapter, adapter_name=run.id).eval()
        elif run.id not in self._model.peft_config:
            special_tokens.let_others_in(self._model)
            self._model.load_adapter(run.adapter, adapter_name=run.id)
        return tokenizer

    def _base_tokenizer(self, run: RunFolder | None, part: ModelPart) -> Any:
        """The base is asked as its run's adapter is, also where the training data brought the chat template."""
        assert self._base is not None
        tokenizer = self._tokenizer(self._base, part)
        if tokenizer.chat_template is None and run and run.adapter.is_dir():
            return self._tokenizer(run.adapter, ModelPart())
        return tokenizer

    def _tokenizer(self, folder: Path, part: ModelPart) -> Any:
        """The tokenizer in `folder`, for whose tokens the model then has room."""
        key = (folder, part.chat_template, part.chat_template_jinja)
        if key not in self._tokenizers:
            self._tokenizers[key] = models.load_tokenizer(folder, part)
        tokenizer = self._tokenizers[key]
        if special_tokens.rows_needed(tokenizer) > special_tokens.rows_of(self._model):
            if isinstance(self._model, PeftModel):
                # PEFT holds on to the old embeddings; the other adapters come back when they are asked
                base, self._model, self._base = self._base, None, None
                assert base is not None
                self._model, self._base = self._read(base), base
            special_tokens.make_room(self._model, tokenizer)
        return tokenizer
