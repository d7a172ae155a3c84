"""What every test of the history starts with: a database of its own and one run with every field filled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from studio.history import History
from studio.runs import Run, RunStatus


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where this test's database is, or would be."""
    return tmp_path / "history.sqlite"


@pytest.fixture
def url(file: Path) -> str:
    """Its URL, as settings would give it."""
    return f"sqlite:///{file}"


@pytest.fixture
def history(url: str) -> Iterator[History]:
    """A new, empty history."""
    with History.open(url) as opened:
        yield opened


@pytest.fixture
def run() -> Run:
    """A finished run. Tests change what they are about with `dataclasses.replace`."""
    return Run(
        id="20261122-101500-tidy-otter",
        name="Sentiment, first try",
        status=RunStatus.FINISHED,
        created_at=datetime(2026, 11, 22, 10, 15, 0, 123456, UTC),
        started_at=datetime(2026, 11, 22, 10, 15, 3, tzinfo=UTC),
        ended_at=datetime(2026, 11, 22, 10, 21, 59, 999999, UTC),
        cause="All steps are done.",
        total_steps=100,
        last_step=100,
        recipe={"model": {"base_model": "starter"}, "data": {"dataset": "starter:sentiment"}},
        facts={"versions": {"torch": "2.13.0"}, "rows": 540},
        result={"eval_loss": 0.31, "held_out": [0.42, 0.97]},
        samples=({"prompt": "Great film 🎬", "wanted": "positive", "before": "The", "after": "positive"},),
    )
