"""Counting without end in bounded memory: the most frequent of any number of values, and histograms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)

BARS = 40


class Frequent(Generic[Value]):
    """Counts the most frequent of any number of values (Misra and Gries).

    Exact while there are at most `2 * capacity` different ones. Beyond that each count is too small by at most
    `missed`, and a value that makes up more than one in `capacity` is never lost.
    """

    def __init__(self, capacity: int) -> None:
        self.counts: Counter[Value] = Counter()
        self.missed = 0
        self._capacity = capacity

    def add(self, value: Value) -> None:
        """Count one more of it."""
        self.counts[value] += 1
        if len(self.counts) > 2 * self._capacity:
            least = self.counts.most_common(self._capacity + 1)[-1][1]
            self.missed += least
            self.counts = Counter({kept: count - least for kept, count in self.counts.items() if count > least})


def most(counts: Mapping[Value, int], number: int) -> list[tuple[Value, int]]:
    """The `number` most frequent; of equally frequent ones, those that come first in the alphabet."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0])))[:number]


def bars(counts: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """(from, to, how many) of a histogram with equally wide bars from 0 on; `to` is not included."""
    if not counts:
        return []
    width = math.ceil((max(counts) + 1) / BARS)
    heights: Counter[int] = Counter()
    for value, count in counts.items():
        heights[value // width] += count
    return [(bar * width, (bar + 1) * width, heights[bar]) for bar in range(max(heights) + 1)]
