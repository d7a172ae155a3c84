"""Rows kept for random access: everything is read once, checked, and written as JSON text into a parquet file.

    home/cache/rows/<name>-<content>/    rows.parquet, held_out.parquet if there is a held-out part, facts.json

A folder is written beside and renamed, so it is whole or absent. It is found again by what the source looks like
(paths, sizes, times, the Hub's commit) and by how it is read. One column of text keeps rows of any shape exactly.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow
import pyarrow.parquet as parquet
from filelock import FileLock, Timeout

from studio import words
from studio.data.files.byte_stream import EnoughRead, Progress, Reading, first_line
from studio.data.files.readers import attempt, read_part
from studio.data.files.rows import BadRow
from studio.data.files.text_lines import LONGEST_LINE
from studio.data.sources import Source, find_source
from studio.data.store_writer import BAD_ROWS_KEPT, StoreFacts, Wanted, no_rows, wanted_rows, write_rows
from studio.errors import InvalidInput, Refused
from studio.recipe import DataSource
from studio.settings import Settings

LAYOUT = 1
"""Raised when the files change their meaning, so that older ones are not taken for it."""
STORES_A_SOURCE = 8
"""Readings of one source that are kept: other slices, other row limits, another encoding."""
FARTHEST_LOOK = 20_000
HEAD_BYTES = LONGEST_LINE + (2 << 20)
"""A look at the beginning reads at most this much: one line of any length that is allowed."""

_GROUPS_KEPT = 4
_ROWS, _HELD_OUT, _FACTS = "rows.parquet", "held_out.parquet", "facts.json"
_PART = ".part"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RowStore:
    """The rows of one reading of a source, by number from 0. May be used by several threads."""

    def __init__(self, file: Path, facts: StoreFacts, start: int = 0, held_out: RowStore | None = None) -> None:
        """`start` is where its rows begin in the file: a slice in percent is cut out after everything was read."""
        self.facts = facts
        self.held_out = held_out
        self.key = f"{file.parent.name}/{file.name}/{start}/{facts.rows}"
        """The same for the same rows read in the same way; what is worked out from them is kept under it."""
        self._start = start
        self._file = parquet.ParquetFile(file)  # stays open, so that the store may be removed meanwhile
        metadata = self._file.metadata
        sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._recent: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.facts.rows

    def rows(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The rows at these places, in this order; reads only the groups of rows that they stand in."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"there are rows 0 to {len(self) - 1}")
        wanted = wanted + self._start
        groups = np.searchsorted(self._ends, wanted, side="right")
        found: list[dict[str, Any]] = [{}] * len(wanted)
        column: Any = None
        first, current = 0, -1
        for place in np.argsort(groups, kind="stable").tolist():
            if groups[place] != current:
                current = int(groups[place])
                column = self._group(current)
                first = int(self._ends[current - 1]) if current else 0
            found[place] = orjson.loads(column[int(wanted[place]) - first].as_py())
        return found

    def batches(self, size: int = 1000) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """(place of the first, rows) of all rows, `size` at a time."""
        for start in range(0, len(self), size):
            yield start, self.rows(range(start, min(start + size, len(self))))

    def _group(self, number: int) -> Any:
        """The rows of a group as an arrow column; the last few groups are kept, for who asks row by row."""
        with self._lock:
            if number in self._recent:
                self._recent.move_to_end(number)
            else:
                self._recent[number] = self._file.read_row_group(number, use_threads=False).column(0).combine_chunks()
                if len(self._recent) > _GROUPS_KEPT:
                    self._recent.popitem(last=False)
            return self._recent[number]


def open_store(part: DataSource, settings: Settings, progress: Progress | None = None) -> RowStore:
    """The rows that `part` names, from the cache if this content was read in this way before.

    Bad rows are counted in the facts and never stop the reading. Raises StudioError when nothing can be read.
    """
    source = find_source(part)
    folder = settings.data_cache / "rows"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / f"{_hash(source.name)[:12]}-{_hash(source.identity, _ways(part))[:20]}"
    found = _open(place)
    if found is None:
        with FileLock(f"{place}.lock"):
            found = _open(place)  # another thread or process may just have written it
            if found is None:
                _fill(place, part, source, progress)
                found = _open(place)
        _remove_older(place, source)
    if found is None:
        raise Refused(f"What was read of {source.name} disappeared again. Is the cache being cleaned? Try again.")
    return found


def _ways(part: DataSource) -> list[object]:
    return [LAYOUT, part.encoding, part.delimiter, part.split, part.max_rows]


def _hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


# -- on disk --------------------------------------------------------------------------------------------------


def _open(place: Path) -> RowStore | None:
    """The store in a folder; None if there is none, or if somebody damaged it."""
    try:
        kept = json.loads((place / _FACTS).read_text(encoding="utf-8"))
        held = RowStore(place / _HELD_OUT, _facts(kept["held_out"])) if kept["held_out"] else None
        store = RowStore(place / _ROWS, _facts(kept["facts"]), kept["start"], held)
        os.utime(place)  # when it was last used
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):
        return None
    return store


def _facts(kept: dict[str, Any]) -> StoreFacts:
    labels = {column: tuple(names) for column, names in kept.pop("label_names").items()}
    bad = tuple(BadRow(**row) for row in kept.pop("bad"))
    return StoreFacts(**{**kept, "columns": tuple(kept["columns"])}, bad=bad, label_names=labels)


def _fill(place: Path, part: DataSource, source: Source, progress: Progress | None) -> None:
    """Read the source into `place`, which appears whole or not at all."""
    beside = place.with_name(f".{place.name}{_PART}")
    for old in (beside, place):  # left behind by a process that was killed; damaged, or it would have been opened
        shutil.rmtree(old, ignore_errors=True)
    beside.mkdir()
    try:
        kept = attempt(part, lambda reading: _write(beside, part, source, reading), progress)
        (beside / _FACTS).write_text(json.dumps({"identity": source.identity, **kept}), encoding="utf-8")
        if find_source(part).identity != source.identity:
            raise Refused(f"{source.name} changed while it was being read. Try again when it is complete.")
        os.rename(beside, place)
    except OSError as error:
        if error.errno not in _FULL:
            raise _unreadable(source, error) from error
        raise Refused(
            f"The disk is full: what is read of {source.name} ({words.size(source.size_bytes)}) is kept for quick "
            "access. Free some space on the disk of the studio's home and try again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(folder: Path, part: DataSource, source: Source, reading: Reading) -> dict[str, Any]:
    """Write the rows of a source; returns what facts.json keeps of them."""
    reading.total_bytes = source.size_bytes
    wanted = wanted_rows(part, source)
    rows = read_part(part, source, source.files, reading)
    facts, start = write_rows(folder / _ROWS, rows, wanted, reading)
    if facts.rows == 0:
        raise no_rows(part, source, facts.bad, facts.bad_rows)
    reading.end_files(source.files)
    held = None
    if source.held_out_files:
        held_rows = read_part(part, source, source.held_out_files, reading)
        held, _ = write_rows(folder / _HELD_OUT, held_rows, Wanted(), reading)
        reading.end_files(source.held_out_files)
    facts = replace(facts, size_bytes=source.size_bytes, fingerprint=reading.digest.hexdigest())
    reading.finish()
    return {"start": start, "facts": asdict(facts), "held_out": asdict(held) if held and held.rows else None}


def _remove_older(place: Path, source: Source) -> None:
    """Remove stores of the same source whose content is not there any more, and the least used of many readings."""
    same: list[tuple[float, Path]] = []
    for other in place.parent.glob(place.name.partition("-")[0] + "-*"):
        with suppress(OSError):  # another process removes it at this moment
            if other == place or not other.is_dir():
                continue
            if _identity(other) != source.identity:
                shutil.rmtree(other, ignore_errors=True)
            else:
                same.append((other.stat().st_mtime, other))
    for _, other in sorted(same)[: max(0, len(same) + 1 - STORES_A_SOURCE)]:
        shutil.rmtree(other, ignore_errors=True)
    for left in place.parent.glob(f".*{_PART}"):
        with suppress(Timeout), FileLock(f"{left.with_name(left.name[1:].removesuffix(_PART))}.lock", timeout=0):
            shutil.rmtree(left, ignore_errors=True)  # nobody holds its lock, so nobody writes it


def _identity(place: Path) -> str:
    try:
        return str(json.loads((place / _FACTS).read_text(encoding="utf-8"))["identity"])
    except (ValueError, KeyError, FileNotFoundError):
        return ""


# -- a look ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The beginning of a source, and what it looks like."""

    rows: list[dict[str, Any]]
    bad: list[BadRow]
    columns: tuple[str, ...]
    kind: str
    encoding: str
    delimiter: str
    label_names: dict[str, tuple[str, ...]]
    size_bytes: int


def first_rows(part: DataSource, count: int = 200) -> Head:
    """The first rows that `part` names, and the bad ones among them; keeps nothing and takes a moment for any size.

    A slice that begins after row 20,000, or in percent, is not looked for: the beginning stands for it. Raises
    StudioError when nothing can be read.
    """
    source = find_source(part)
    wanted = wanted_rows(part, source)
    first = wanted.first if wanted.first <= FARTHEST_LOOK else 0
    last = min(first + count, wanted.last or first + count)
    return attempt(part, lambda reading: _look(part, source, reading, Wanted(first, last)))


def _look(part: DataSource, source: Source, reading: Reading, wanted: Wanted) -> Head:
    reading.head_bytes = HEAD_BYTES
    rows: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    columns: dict[str, None] = {}
    whole = True
    try:
        for row in wanted.of(read_part(part, source, source.files, reading)):
            if isinstance(row, BadRow):
                bad.append(row)
                if len(bad) == BAD_ROWS_KEPT:
                    whole = False
                    break
                continue
            rows.append(orjson.loads(row[1]))
            columns.update(dict.fromkeys(row[0]))
    except EnoughRead:
        whole = False
        if not rows and not bad:
            bad.append(BadRow(source.files[0].name, 1, f"the line is longer than {LONGEST_LINE >> 20} MB"))
    except OSError as error:
        raise _unreadable(source, error) from error
    if whole and not rows:
        raise no_rows(part, source, bad, len(bad))
    return Head(
        rows=rows,
        bad=bad,
        columns=tuple(map(str, columns)),
        kind=reading.kind,
        encoding=reading.found_encoding,
        delimiter=reading.found_delimiter,
        label_names=reading.label_names,
        size_bytes=source.size_bytes or reading.total_bytes,
    )


def _unreadable(source: Source, error: OSError) -> InvalidInput:
    reason = error.strerror or first_line(error)
    return InvalidInput(f"{source.name} cannot be read: {reason}. Check the file and its rights.", field="data.dataset")
