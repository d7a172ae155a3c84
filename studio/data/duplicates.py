"""Rows that are the same as an earlier one, or nearly so.

Knows digests and texts, no recipe and no file. Nearly the same are rows that share most of their word groups (Jaccard
similarity of three words in a row, of five letters in scripts without blanks). MinHash sketches (rensa) say which rows
may be alike without comparing each with each; those that may be are then compared for real.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import rensa
from numpy.typing import NDArray

from studio.errors import InvalidInput

MOST_ROWS = 1_000_000
MOST_GROUPS = 250_000_000
"""What is compared at once stays below about 1.5 GB of memory."""

SKETCH = 128
"""Numbers in a sketch: the usual choice, which misses about one pair in a hundred at the similarity asked for."""
LARGEST_ROW = 1024
"""Word groups kept of a row; longer ones are compared by the 1024 that come first by their hash, give or take 1.5 %."""

_BATCH = 1000
_SEED = 1
_NO_WORD = re.compile(r"[\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f]+")
"""Blanks and punctuation. \\W would take the vowel signs of Hindi and Thai for it."""
_LETTERS_IN_A_GROUP = 5
_WORDS_IN_A_GROUP = 3
_LETTERS_BETWEEN_BLANKS = 15
"""Where blanks are rarer than this, the script has none between its words."""


PIECE = 250_000
"""Digests that are compared at once."""


def first_of_each(digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """True for the first of equal digests; 24 bytes a row while it runs."""
    first = np.ones(len(digests), dtype=bool)
    order = np.argsort(digests, kind="stable")
    in_order = digests[order]
    first[order[1:][in_order[1:] == in_order[:-1]]] = False
    return first


def is_among(digests: NDArray[np.uint64], some: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `digests` are in `some`; piece by piece, as numpy sorts copies of all that it compares."""
    among = np.zeros(len(digests), dtype=bool)
    for start in range(0, len(digests), PIECE):
        among[start : start + PIECE] = np.isin(digests[start : start + PIECE], some)
    return among


def near_duplicates(texts: Iterable[tuple[int, str]], similarity: float) -> list[tuple[int, int]]:
    """(row, earlier row that it resembles) for each row that shares at least `similarity` with one that stays.

    The first of similar rows stays. Rows are compared with those that stay only, so that a chain of small changes
    does not carry off its far end. Raises InvalidInput above MOST_ROWS rows.
    """
    sketches = _Sketches(similarity)
    for batch in _batches(texts):
        sketches.add(batch)
    alike: dict[int, set[int]] = {}
    for row, earlier in sketches.pairs():
        alike.setdefault(row, set()).add(earlier)
    stays_for: dict[int, int] = {}
    for row in sorted(alike):
        for earlier in sorted(alike[row]):
            stays = stays_for.get(earlier, earlier)
            if stays == earlier or sketches.similarity_of(row, stays) >= similarity:
                stays_for[row] = stays
                break
    numbers = sketches.numbers
    return [(numbers[row], numbers[earlier]) for row, earlier in sorted(stays_for.items())]


class _Sketches:
    """Word groups of all rows, compactly, and the band keys under which similar rows meet."""

    def __init__(self, similarity: float) -> None:
        self.similarity = similarity
        self.numbers = array("q")
        self.rows_in_band = _rows_in_band(similarity)
        self._bands: list[NDArray[np.uint32]] = []
        self._groups = array("I")
        self._ends = array("q", [0])

    def add(self, batch: list[tuple[int, str]]) -> None:
        """Take in some rows; those without any letter resemble nothing."""
        numbers, groups = [], []
        for number, text in batch:
            found = _groups_of(text)
            if len(found):
                numbers.append(number)
                groups.append(found)
        if not numbers:
            return
        self.numbers.extend(numbers)
        ends = np.cumsum([0, *map(len, groups)], dtype=np.uint64)
        digests = rensa.RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(groups), ends, SKETCH, _SEED)
        self._bands.append(_band_keys(np.array(digests.to_rows(), dtype=np.uint64), self.rows_in_band))
        for found in groups:
            kept = (found[:LARGEST_ROW] >> np.uint64(32)).astype(np.uint32)
            self._groups.frombytes(kept.tobytes())
            self._ends.append(len(self._groups))
        if len(self.numbers) > MOST_ROWS or len(self._groups) > MOST_GROUPS:
            raise InvalidInput(
                f"These are too many rows to look for near duplicates ({MOST_ROWS:,} short ones are possible). Take "
                "fewer rows (data.max_rows), or leave out exact duplicates only.",
                field="cleaning.dedupe",
            )

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(row, earlier row), counted from 0 among those taken in, of those that are alike for real.

        In each band a row meets the first and the nearest earlier of the rows that look alike there: a crowd of rows
        costs two comparisons each, not one with every other.
        """
        if not self._bands:
            return
        bands = np.concatenate(self._bands)
        rows = len(bands)
        compared = np.empty(0, np.int64)
        for band in range(bands.shape[1]):
            order = np.argsort(bands[:, band], kind="stable")
            keys = bands[order, band]
            starts = np.r_[True, keys[1:] != keys[:-1]]
            first = order[np.maximum.accumulate(np.where(starts, np.arange(rows), 0))]
            later = np.flatnonzero(~starts)
            met = np.unique(
                np.concatenate([order[later] * rows + first[later], order[later] * rows + order[later - 1]])
            )
            met = met[~np.isin(met, compared)]
            compared = np.concatenate([compared, met])
            for row, earlier in zip((met // rows).tolist(), (met % rows).tolist(), strict=True):
                if self.similarity_of(row, earlier) >= self.similarity:
                    yield row, earlier

    def similarity_of(self, row: int, other: int) -> float:
        """Share of their word groups that two rows have in common, from 0 to 1."""
        ours, theirs = self._of(row), self._of(other)
        if min(len(ours), len(theirs)) < self.similarity * max(len(ours), len(theirs)):
            return 0.0  # cannot be as alike as asked for
        both = np.concatenate([ours, theirs])
        both.sort()
        twice = both[1:] == both[:-1]
        if max(len(ours), len(theirs)) == LARGEST_ROW:  # cut: look only as far as both are known
            whole = np.unique(both)[:LARGEST_ROW]
            return float(np.count_nonzero(both[1:][twice] <= whole[-1])) / len(whole)
        shared = int(np.count_nonzero(twice))
        return shared / (len(both) - shared)

    def _of(self, row: int) -> NDArray[np.uint32]:
        return np.frombuffer(self._groups, np.uint32)[self._ends[row] : self._ends[row + 1]]


def _batches(texts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _groups_of(text: str) -> NDArray[np.uint64]:
    """Hashes of the different word groups of a text, ascending."""
    words = _NO_WORD.sub(" ", text.lower()).encode("utf-8", "surrogatepass").split()
    if words and len(text.split()) * _LETTERS_BETWEEN_BLANKS >= len(text):
        pieces, length = np.fromiter(map(zlib.crc32, words), np.uint64, len(words)), _WORDS_IN_A_GROUP
    else:
        letters = "".join(text.lower().split()).encode("utf-32-le", "surrogatepass")
        pieces, length = np.frombuffer(letters, np.uint32).astype(np.uint64), _LETTERS_IN_A_GROUP
    if not len(pieces):
        return pieces
    length = min(length, len(pieces))
    count = len(pieces) - length + 1
    hashes = pieces[:count].copy()
    for offset in range(1, length):
        hashes = _scattered(hashes) + pieces[offset : offset + count]
    # no hash that differs only in what _Sketches cuts off
    return np.unique(_scattered(hashes) | np.uint64(0xFFFFFFFF))


def _scattered(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """MurmurHash's last steps: neighbouring numbers come to lie anywhere."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))


def _rows_in_band(similarity: float) -> int:
    """Numbers of a sketch that must agree for two rows to be compared.

    As many as possible, which spares comparisons, such that 99 of 100 pairs that are as alike as asked for still meet.
    """
    found = [size for size in range(1, SKETCH // 2) if 1 - (1 - similarity**size) ** (SKETCH // size) >= 0.99]
    return max(found)


def _band_keys(digests: NDArray[np.uint64], rows_in_band: int) -> NDArray[np.uint32]:
    """One number a band for each row: equal where the sketches agree in the whole band."""
    count = digests.shape[1] // rows_in_band
    bands = digests[:, : count * rows_in_band].reshape(len(digests), count, rows_in_band)
    keys: NDArray[Any] = bands[:, :, 0]
    for place in range(1, rows_in_band):
        keys = _scattered(keys) + bands[:, :, place]
    return (_scattered(keys) >> np.uint64(32)).astype(np.uint32)
