"""One pass over the rows of a store: which can be read, which the cleaning steps leave, and a digest of each.

What it finds takes 17 bytes a row and is kept in the cache, so that the same question about five million rows is not
answered twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from studio.data.cleaning import REPAIRS, Sieve, digest, repair
from studio.data.duplicates import near_duplicates
from studio.data.formats.conversations import UnreadableRow, read_row
from studio.data.formats.formats import Format
from studio.data.store import RowStore
from studio.data.survey.findings import ROWS_NAMED
from studio.messages import Example
from studio.recipe import CleaningPart
from studio.settings import Settings

Indices = npt.NDArray[Any]
"""Integers, one a row."""

CACHED_FROM_ROWS = 20_000
"""Fewer rows are sifted again in well under a second, faster than they would be looked up by all who change a step."""
UNREADABLE = -1
KEPT = 0
DROPS = ("drop_rows", "drop_empty", "keep_if")
"""Steps that look at one row alone, in their order. The others need all rows: dataset.py."""


@dataclass(frozen=True)
class StepCount:
    """What one cleaning step did."""

    name: str
    """The field of the recipe's cleaning part."""
    changed: int = 0
    dropped: int = 0
    left: int = 0


@dataclass(frozen=True)
class UnreadableAt:
    """A row that does not fit the format."""

    number: int
    """From 1."""
    reason: str


@dataclass(frozen=True)
class Sifted:
    """What one pass found; the arrays have one entry a row of the store."""

    outcome: Indices
    """int8: 0 kept, -1 unreadable, n dropped by DROPS[n - 1]."""
    kept_digests: Indices | Path
    """uint64; 0 for unreadable rows. Of many rows they stay in the cache's file until they are asked for."""
    groups: Indices
    """uint64 of the column that keeps rows together when some are held out; empty without one."""
    steps: tuple[StepCount, ...]
    unreadable: int
    unreadable_rows: tuple[UnreadableAt, ...]
    """The first of them."""

    @property
    def digests(self) -> Indices:
        """uint64 of each row, 0 for unreadable ones."""
        if not isinstance(self.kept_digests, Path):
            return self.kept_digests
        with np.load(self.kept_digests, allow_pickle=False) as kept:
            digests: Indices = kept["digests"]
        return digests

    @property
    def readable(self) -> Indices:
        """Where the rows stand that fit the format, from 0."""
        return _places(self.outcome != UNREADABLE)

    @property
    def kept(self) -> Indices:
        """Where the rows stand that are left, from 0."""
        return _places(self.outcome == KEPT)


def sift(
    store: RowStore,
    form: Format,
    cleaning: CleaningPart,
    settings: Settings,
    told: Callable[[str, int, int], None],
    *,
    group_by: str = "",
) -> Sifted:
    """Read every row once. Raises InvalidInput for an expression that cannot be evaluated, naming the row."""
    asked = [store.key, asdict(form), group_by, *(getattr(cleaning, name) for name in (*REPAIRS, *DROPS))]
    file = settings.data_cache / "sifted" / f"{key_of(asked)}.npz"
    if file.is_file():
        return _read(file)
    sifted = _Sieving(store, form, cleaning, group_by).run(told)
    if len(store) < CACHED_FROM_ROWS:
        return sifted
    _write(sifted, file)
    return _read(file)


class _Sieving:
    """The pass itself and what it counts."""

    def __init__(self, store: RowStore, form: Format, cleaning: CleaningPart, group_by: str) -> None:
        self.store, self.form, self.cleaning, self.group_by = store, form, cleaning, group_by
        self.sieve = Sieve(cleaning, store.facts.columns)
        self.outcome = np.zeros(len(store), np.int8)
        self.digests = np.zeros(len(store), np.uint64)
        self.groups = np.zeros(len(store) if group_by else 0, np.uint64)
        self.changed = dict.fromkeys(REPAIRS, 0)
        self.unreadable: list[UnreadableAt] = []

    def run(self, told: Callable[[str, int, int], None]) -> Sifted:
        for start, rows in self.store.batches():
            told("Looking at each row", start, len(self.store))
            for offset, row in enumerate(rows):
                self._look_at(start + offset, row)
        return Sifted(
            self.outcome,
            self.digests,
            self.groups,
            tuple(self._steps()),
            int(np.count_nonzero(self.outcome == UNREADABLE)),
            tuple(self.unreadable),
        )

    def _look_at(self, index: int, row: dict[str, Any]) -> None:
        if self.group_by:
            self.groups[index] = _hash(row.get(self.group_by))
        try:
            example = read_row(row, self.form)
        except UnreadableRow as error:
            self.outcome[index] = UNREADABLE
            if len(self.unreadable) < ROWS_NAMED:
                self.unreadable.append(UnreadableAt(index + 1, str(error)))
            return
        example, changed_by = repair(example, self.cleaning)
        for name in changed_by:
            self.changed[name] += 1
        reason = self.sieve.reason_to_drop(index + 1, row, example)
        if reason is not None:
            self.outcome[index] = DROPS.index(reason) + 1
        self.digests[index] = digest(example)

    def _steps(self) -> Iterable[StepCount]:
        left = int(np.count_nonzero(self.outcome != UNREADABLE))
        for name in REPAIRS:
            if getattr(self.cleaning, name):
                yield StepCount(name, changed=self.changed[name], left=left)
        for code, name in enumerate(DROPS, start=1):
            if getattr(self.cleaning, name):
                dropped = int(np.count_nonzero(self.outcome == code))
                left -= dropped
                yield StepCount(name, dropped=dropped, left=left)


def without_near_duplicates(
    batches: Iterable[tuple[Indices, list[Example]]], indices: Indices, similarity: float
) -> Indices:
    """`indices` without those whose rows resemble an earlier one."""
    texts = (
        (int(index), words_of(example))
        for some, examples in batches
        for index, example in zip(some, examples, strict=True)
    )
    doubles = {index for index, _ in near_duplicates(texts, similarity)}
    return indices[~np.isin(indices, np.fromiter(doubles, np.int64, len(doubles)))]


def words_of(example: Example) -> str:
    """All that is said in an example, as one text."""
    if example.text is not None:
        return example.text
    return "\n".join(message["content"] for message in example.messages)


def _places(mask: Indices) -> Indices:
    """Where a mask is true, in half the memory that numpy would take by itself."""
    return np.flatnonzero(mask).astype(np.int32)


def key_of(parts: Any) -> str:
    """A short name for what `parts` (plain JSON values) say: equal parts have equal keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()[:32]


def hash_of(array: Indices) -> str:
    """A short name of an array's content."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:32]


def _hash(value: Any) -> int:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def _write(sifted: Sifted, file: Path) -> None:
    """Beside and renamed: a file that is there is whole."""
    told = {"steps": [asdict(step) for step in sifted.steps], "unreadable": [asdict(r) for r in sifted.unreadable_rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as beside:
        np.savez(
            beside,
            told=np.array(json.dumps(told)),
            outcome=sifted.outcome,
            digests=sifted.digests,
            groups=sifted.groups,
        )
    os.replace(beside.name, file)


def _read(file: Path) -> Sifted:
    with np.load(file, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
        outcome, groups = kept["outcome"], kept["groups"]
    return Sifted(
        outcome,
        file,
        groups,
        tuple(StepCount(**step) for step in told["steps"]),
        int(np.count_nonzero(outcome == UNREADABLE)),
        tuple(UnreadableAt(**row) for row in told["unreadable"]),
    )
