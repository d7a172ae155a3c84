"""Writes a stream of rows into one parquet file of JSON texts, and counts what it sees. Knows no source, no cache."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from studio import words
from studio.data.files.byte_stream import Reading
from studio.data.files.readers import Readable
from studio.data.files.rows import BadRow
from studio.data.sources import Slice, Source, parse_split
from studio.errors import InvalidInput
from studio.recipe import DataSource

BAD_ROWS_KEPT = 100
ROWS_IN_A_GROUP = 1_000
"""A group is what is read for one row: few rows make single rows quick, many make the file small."""
BYTES_IN_A_GROUP = 8 << 20
MOST_COLUMNS = 10_000
"""Column names that are remembered; rows whose keys are numbers or names would fill the memory with them."""

_SCHEMA = pyarrow.schema([("row", pyarrow.large_string())])


@dataclass(frozen=True)
class StoreFacts:
    """What is known of the rows of a store."""

    rows: int
    """Good ones, of the slice."""
    bad_rows: int
    bad: tuple[BadRow, ...]
    """The first 100."""
    columns: tuple[str, ...]
    """In the order of their first appearance."""
    fingerprint: str
    """SHA-256 over the bytes of all files, the held-out ones last; for the Hub what `datasets` calls the content."""
    size_bytes: int
    encoding: str
    """Of the first file, such as utf-8; empty where there is none (parquet)."""
    delimiter: str
    """Of a csv file; else empty."""
    kind: str
    """jsonl, json, csv, parquet, arrow, text or hub."""
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> words for its integers, where the source stores them."""


@dataclass(frozen=True)
class Wanted:
    """Which good rows are read: from `first` to before `last`; None reads to the end."""

    first: int = 0
    last: int | None = None
    afterwards: Slice | None = None
    """A slice that can only be cut out when the number of rows is known."""
    most: int = 0
    """Row limit after such a slice; 0 is none."""

    def of(self, rows: Iterator[Readable]) -> Iterator[Readable]:
        """These rows and the bad ones among them. Stops reading after the last."""
        if self.last is not None and self.last <= self.first:
            return
        good = 0
        for row in rows:
            if isinstance(row, BadRow):
                if good >= self.first:
                    yield row
                continue
            good += 1
            if good > self.first:
                yield row
                if good == self.last:
                    return


def wanted_rows(part: DataSource, source: Source) -> Wanted:
    """What `part.split` and `part.max_rows` ask for. The Hub's own reader cuts slices itself."""
    if source.kind == "hub":
        return Wanted(0, part.max_rows or None)
    asked = parse_split(part.split)
    if asked.needs_total:
        return Wanted(afterwards=asked, most=part.max_rows)
    first, last = int(asked.start or 0), int(asked.stop) if asked.stop else None
    if part.max_rows:
        last = min(last, first + part.max_rows) if last is not None else first + part.max_rows
    return Wanted(first, last)


def write_rows(file: Path, rows: Generator[Readable], wanted: Wanted, reading: Reading) -> tuple[StoreFacts, int]:
    """Write the wanted rows; returns what they are, and where those of a later slice begin in the file."""
    bad: list[BadRow] = []
    bad_rows = 0
    columns: dict[str, None] = {}
    with closing(rows), _RowFile(file) as kept:
        for row in wanted.of(rows):
            if isinstance(row, BadRow):
                bad_rows += 1
                if len(bad) < BAD_ROWS_KEPT:
                    bad.append(row)
                continue
            values, text = row
            kept.add(text)
            if not values.keys() <= columns.keys() and len(columns) < MOST_COLUMNS:
                columns.update(dict.fromkeys(values))
    start, stop = _cut(wanted, kept.rows)
    facts = StoreFacts(
        rows=stop - start,
        bad_rows=bad_rows,
        bad=tuple(bad),
        columns=tuple(map(str, columns)),
        fingerprint=reading.digest.hexdigest(),
        size_bytes=file.stat().st_size,
        encoding=reading.found_encoding,
        delimiter=reading.found_delimiter,
        kind=reading.kind,
        label_names=dict(reading.label_names),
    )
    return facts, start


def _cut(wanted: Wanted, rows: int) -> tuple[int, int]:
    start, stop = wanted.afterwards.bounds(rows) if wanted.afterwards else (0, rows)
    return start, min(stop, start + wanted.most) if wanted.most else stop


def no_rows(part: DataSource, source: Source, bad: Sequence[BadRow], bad_rows: int) -> InvalidInput:
    """What to say of a source without a single good row."""
    shown = source.files[0].name if len(source.files) == 1 else source.name
    if bad:
        return InvalidInput(
            f"None of the {words.count(bad_rows)} rows of {shown} can be read. {bad[0].sentence}", field="data.dataset"
        )
    if source.kind != "hub" and not parse_split(part.split).is_whole:
        return InvalidInput(f"{part.split} takes none of the rows of {shown}. Take a larger slice.", field="data.split")
    return InvalidInput(f"{shown} has no rows. Check that the file is the right one.", field="data.dataset")


class _RowFile:
    """The parquet file while it is written, a group of rows at a time."""

    def __init__(self, path: Path) -> None:
        self._writer = parquet.ParquetWriter(
            path, _SCHEMA, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
        )
        self._texts: list[bytes] = []
        self._size = 0
        self.rows = 0

    def add(self, text: bytes) -> None:
        """Append a row."""
        self.rows += 1
        self._texts.append(text)
        self._size += len(text)
        if len(self._texts) == ROWS_IN_A_GROUP or self._size > BYTES_IN_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        ends = np.cumsum([0, *map(len, self._texts)], dtype=np.int64)
        buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(self._texts))]
        # pyarrow.array would do, but it imports pandas first, which costs half a second
        column = pyarrow.Array.from_buffers(pyarrow.large_string(), len(self._texts), buffers)
        self._writer.write_table(pyarrow.Table.from_arrays([column], schema=_SCHEMA))
        self._texts, self._size = [], 0

    def __enter__(self) -> _RowFile:
        return self

    def __exit__(self, *error: object) -> None:
        """Write what is left and the footer, without which the file is none; after an error only let go of it."""
        try:
            if error[0] is None:
                if self._texts:
                    self._flush()
                self._writer.close()
        finally:
            with suppress(pyarrow.ArrowException, OSError):  # a full disk was told by the write that failed
                self._writer.close()
