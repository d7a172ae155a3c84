"""What a run is: the records that travel between the rooms, and the legal moves between statuses.

Plain frozen values; knows neither the database nor the folder they are kept in (`history/`, `run_folder.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from studio.errors import Refused


class RunStatus(StrEnum):
    """Where a run is in its life. The words are shown as they are."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def is_live(self) -> bool:
        """Whether a worker process should exist."""
        return self in (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.STOPPING)

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more unless somebody asks for it."""
        return not self.is_live and self is not RunStatus.QUEUED


_ENDS = {RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.INTERRUPTED, RunStatus.FAILED}
LEGAL_MOVES: dict[RunStatus, set[RunStatus]] = {
    RunStatus.QUEUED: {RunStatus.STARTING, RunStatus.STOPPED, RunStatus.FAILED},
    RunStatus.STARTING: {RunStatus.RUNNING, RunStatus.STOPPING, *_ENDS},
    RunStatus.RUNNING: {RunStatus.STOPPING, *_ENDS},
    RunStatus.STOPPING: _ENDS,
    RunStatus.FINISHED: set(),
    RunStatus.STOPPED: set(),
    RunStatus.INTERRUPTED: set(),
    RunStatus.FAILED: set(),
}


def check_move(old: RunStatus, new: RunStatus) -> None:
    """Raise `Refused` unless a run may go from `old` to `new`. Staying put is always allowed."""
    if new is not old and new not in LEGAL_MOVES[old]:
        raise Refused(f"This run is {old}, so it cannot become {new}.")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number at one optimizer step. `value` may be nan or inf and is kept as such."""

    step: int
    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state on disk, from which an adapter can be loaded. `folder` is relative to the run's folder."""

    step: int
    folder: str
    size_bytes: int
    eval_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Export:
    """A finished export. `path` is relative to the run's folder; `report` holds what the export checked."""

    id: str
    kind: str
    path: str
    size_bytes: int
    created_at: datetime
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the history knows it. Times are UTC and aware; dicts are plain JSON values."""

    id: str
    name: str
    status: RunStatus
    created_at: datetime
    recipe: dict[str, Any]
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cause: str | None = None
    """One sentence: why the run ended as it did, and what to try. None while it goes well."""
    total_steps: int | None = None
    last_step: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    """What the worker found out at the start: versions, device, dataset fingerprint, row and parameter counts."""
    result: dict[str, Any] = field(default_factory=dict)
    """What came out: losses, held-out accuracy before and after, speed, peak memory."""
    samples: tuple[dict[str, Any], ...] = ()
    """Answers to fixed held-out prompts before and after: prompt, wanted, before, after."""
