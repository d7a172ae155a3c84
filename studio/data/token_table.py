"""Tokenized rows on disk, as the trainer reads them: written row by row, then mapped into memory.

So a dataset of millions of rows takes disk while it trains, not memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow
from datasets import Dataset

SCHEMA = pyarrow.schema([("input_ids", pyarrow.list_(pyarrow.int32())), ("labels", pyarrow.list_(pyarrow.int32()))])
"""The columns that TRL's SFTTrainer takes as already tokenized."""
BATCH_ROWS = 1000


class TokenTable:
    """A file of token rows that is being written; `as_dataset` opens it once it is closed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._writer: Any = pyarrow.ipc.new_stream(file, SCHEMA)
        self._waiting: list[tuple[Sequence[int], Sequence[int]]] = []

    def add(self, input_ids: Sequence[int], labels: Sequence[int]) -> None:
        """One row more; both have the same length."""
        self._waiting.append((input_ids, labels))
        if len(self._waiting) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            ids, labels = zip(*self._waiting, strict=True)
            self._writer.write_batch(pyarrow.record_batch([list(ids), list(labels)], schema=SCHEMA))
            self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def as_dataset(self) -> Dataset:
        """The rows, mapped from the file."""
        return Dataset.from_file(str(self.file))
