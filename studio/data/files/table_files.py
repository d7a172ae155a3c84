"""Parquet and Arrow files as numbered rows, read a batch at a time; nothing is decoded, no picture is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow

from studio.data.files.byte_stream import BLOCK, Reading, first_line
from studio.data.files.rows import BadRow
from studio.data.files.text_lines import Numbered
from studio.errors import InvalidInput

BATCH = 500


def read_parquet(path: Path, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of a parquet file."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False) as file:
            note_labels(file.schema_arrow, reading)
            batches = file.iter_batches(batch_size=BATCH)
            yield from _counted(path, reading, numbered(path.name, batches), file.metadata.num_rows)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, "parquet", error) from error


def read_arrow(path: Path, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of an Arrow file, in the file or the stream format."""
    try:
        with pyarrow.memory_map(os.fspath(path)) as source:
            rows = sum(batch.num_rows for batch in _arrow_batches(source))
            source.seek(0)
            note_labels(_arrow_reader(source).schema, reading)
            yield from _counted(path, reading, numbered(path.name, _arrow_batches(source)), rows)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, "arrow", error) from error


def _counted(
    path: Path, reading: Reading, rows: Iterator[Numbered | BadRow], total: int
) -> Iterator[Numbered | BadRow]:
    """The rows, while the bytes of their file are hashed in step with them."""
    raw = None if reading.head_bytes else reading.begin_file(path)
    for place, row in enumerate(rows):
        if raw and place % BATCH == 0:
            raw.read_to(place / total)
        yield row


def _arrow_reader(source: Any) -> Any:
    return (pyarrow.ipc.open_file if _is_file_format(source) else pyarrow.ipc.open_stream)(source)


def _arrow_batches(source: Any) -> Iterator[Any]:
    reader = _arrow_reader(source)
    is_file = isinstance(reader, pyarrow.ipc.RecordBatchFileReader)
    whole = (reader.get_batch(number) for number in range(reader.num_record_batches)) if is_file else iter(reader)
    for batch in whole:
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH)


def _is_file_format(source: Any) -> bool:
    source.seek(0)
    found = source.read(6) == b"ARROW1"
    source.seek(0)
    return bool(found)


def numbered(name: str, batches: Iterator[Any]) -> Iterator[Numbered | BadRow]:
    """Rows of record batches; a batch that Python cannot show (a date in the year 60,000) is a bad row each."""
    number = 0
    for batch in batches:
        try:
            rows = _values(batch)
        except (ValueError, OverflowError, pyarrow.ArrowException):
            yield from _one_by_one(name, batch, number)
        else:
            yield from enumerate(rows, start=number + 1)
        number += batch.num_rows


def _values(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch as Python values. It is checked first: a damaged one could end the process."""
    batch.validate(full=True)
    return list(batch.to_pylist())


def _one_by_one(name: str, batch: Any, before: int) -> Iterator[Numbered | BadRow]:
    for place in range(batch.num_rows):
        try:
            yield before + place + 1, _values(batch.slice(place, 1))[0]
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:
            yield BadRow(name, before + place + 1, f"a value in it cannot be shown ({first_line(error)})")


def note_labels(schema: Any, reading: Reading) -> None:
    """Remember the names of labels, which `datasets` writes into a file's schema."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return
    try:
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return  # another program's idea of the same key
    reading.label_names.update(label_names(features))


def label_names(features: Any) -> dict[str, tuple[str, ...]]:
    """Column -> names of its labels, from the features of a dataset as JSON."""
    if not isinstance(features, dict):
        return {}
    return {
        column: tuple(str(name) for name in feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _unreadable(path: Path, kind: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"{path.name} cannot be read as {kind}: {first_line(error)}. Check that the upload was whole and that the "
        "ending is right.",
        field="data.dataset",
    )
