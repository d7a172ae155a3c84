"""Numbers as people say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from studio import words


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(512, "512 bytes"), (5_200, "5.2 kB"), (23_120_002, "23 MB"), (1_400_000_000, "1.4 GB"), (62e9, "62 GB")],
)
def test_sizes(size_bytes: float, said: str) -> None:
    assert words.size(size_bytes) == said


@pytest.mark.parametrize(("number", "said"), [(340, "340"), (1_163, "1,163"), (4_884_480, "4.9 M"), (7.2e9, "7.2 B")])
def test_counts(number: float, said: str) -> None:
    assert words.count(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (72, "72 s"), (185, "3 min"), (7800, "2 h 10 min"), (36_000, "10 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("past", "said"),
    [(5, "just now"), (300, "5 min ago"), (10_800, "3 h ago"), (3 * 86_400, "3 days ago"), (40 * 86_400, "2025-11-23")],
)
def test_moments(past: int, said: str) -> None:
    now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    assert words.ago(now - timedelta(seconds=past), now) == said


def test_percent() -> None:
    assert words.percent(0.9167) == "92 %"
    assert words.percent(0.03504, 1) == "3.5 %"
