"""A source as a stream of rows in their JSON text, good and bad ones, whichever kind of file they come from.

Knows no store. Values that JSON lacks become text: dates as ISO, decimals as written, bytes as "(1,234 bytes)".
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from studio.data.files.byte_stream import BrokenOff, Progress, Reading
from studio.data.files.csv_files import read_csv
from studio.data.files.hub_rows import read_hub, read_hub_beginning
from studio.data.files.json_files import read_json
from studio.data.files.rows import BadRow
from studio.data.files.table_files import read_arrow, read_parquet
from studio.data.files.text_files import read_text
from studio.data.files.text_lines import NotUtf8, Numbered
from studio.data.sources import Source, family_of, parse_split
from studio.recipe import DataSource

Readable = tuple[dict[str, Any], bytes] | BadRow
"""(values as they were read, the row as JSON text), or why there are none."""
Result = TypeVar("Result")

READERS: dict[str, Callable[[Path, Reading], Iterator[Numbered | BadRow]]] = {
    "jsonl": read_json,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "text": read_text,
}


def attempt(part: DataSource, read: Callable[[Reading], Result], progress: Progress | None = None) -> Result:
    """What `read` gives, called again when a file turns out to be in another encoding than it seemed."""
    encodings: dict[Path, str] = {}
    name = part.split if "+" in part.split else parse_split(part.split).name
    while True:
        reading = Reading(part.encoding, part.delimiter, name, progress, encodings=encodings)
        try:
            return read(reading)
        except NotUtf8 as error:
            encodings[error.path] = error.encoding
        finally:
            reading.end()


def read_part(part: DataSource, source: Source, files: tuple[Path, ...], reading: Reading) -> Generator[Readable]:
    """The rows of the training or the held-out files of a source."""
    if source.kind == "hub":
        reading.kind = "hub"
        read = read_hub_beginning if reading.head_bytes else read_hub
        yield from _as_json(read(part, source.commit, reading), source.name)
    for path in files:
        reading.kind = family_of(path)
        yield from _as_json(READERS[reading.kind](path, reading), path.name)
        reading.end_file()


def _as_json(rows: Iterator[Numbered | BadRow], name: str) -> Iterator[Readable]:
    line = 0
    try:
        for row in rows:
            if isinstance(row, BadRow):
                line = row.line
                yield row
                continue
            line, values = row
            try:
                text = orjson.dumps(values)
            except TypeError as error:
                yield _second_try(values, error, name, line)
            else:
                yield values, text
    except BrokenOff as error:
        yield BadRow(name, line + 1, str(error))


def _second_try(values: dict[str, Any], error: TypeError, name: str, line: int) -> Readable:
    """A row that holds more than JSON knows, as JSON; bad if that is impossible."""
    try:
        if "64-bit" in str(error):  # too large for orjson to write; as it reads them, they become floats
            return values, json.dumps(values, default=_plain).encode()
        return values, orjson.dumps(values, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError) as again:
        message = str(again).lower()
    if "recursion" in message:
        return BadRow(name, line, "it is nested more than 254 levels deep")
    if "surrogate" in message or "utf-8" in message:
        return BadRow(name, line, "it holds bytes that are no valid UTF-8")
    return BadRow(name, line, f"it holds a value that cannot be kept ({message})")


def _plain(value: Any) -> Any:
    """A value that JSON lacks, as text, number or list."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value):,} bytes)"
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, decimal.Decimal | timedelta):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
