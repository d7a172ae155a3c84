"""Counting in bounded memory: exact while there are few values, never losing the frequent ones of many."""

from __future__ import annotations

from studio.data.survey.tallies import BARS, Frequent, bars, most


def test_few_values_are_counted_exactly() -> None:
    tally: Frequent[str] = Frequent(10)
    for word in "a b a c b a".split():
        tally.add(word)

    assert most(tally.counts, 2) == [("a", 3), ("b", 2)]
    assert tally.missed == 0


def test_of_many_values_the_frequent_ones_survive() -> None:
    tally: Frequent[int] = Frequent(10)
    for number in range(10_000):
        tally.add(-1 if number % 4 == 0 else number)

    (value, count), *_ = most(tally.counts, 1)
    assert value == -1
    assert count <= 2500 <= count + tally.missed
    assert len(tally.counts) <= 20


def test_bars_are_equally_wide_and_lose_nothing() -> None:
    assert bars({}) == []
    assert bars({0: 2, 3: 1}) == [(0, 1, 2), (1, 2, 0), (2, 3, 0), (3, 4, 1)]
    wide = bars({5: 10, 1999: 1})
    assert len(wide) <= BARS
    assert {end - start for start, end, _ in wide} == {50}
    assert wide[0] == (0, 50, 10)
    assert wide[-1] == (1950, 2000, 1)
