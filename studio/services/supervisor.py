"""One thread that keeps the history true and the queue moving.

Each tick it reads what is new in the run folders into the database (the only writer), starts the next queued run when
the device is free, ends workers that ignore a Stop, and marks runs whose worker is gone as interrupted. It holds no
truth of its own: killed and started again it finds everything in the folders. One process at a time supervises a home:
the one that holds its lock. The others wait for it, and one of them goes on when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from studio.errors import HistoryError
from studio.history import History
from studio.process_identity import is_alive
from studio.run_folder import RunFolder, apply_events, now
from studio.runs import Checkpoint, Export, Run, RunStatus
from studio.services import processes, workers
from studio.settings import Settings

log = logging.getLogger("studio.supervisor")

TICK_SECONDS = 1.0
STOP_GRACE_SECONDS = 60.0
"""How long a worker may take from the request to stop until its group is ended: a step, a checkpoint, the answers."""
END_GRACE_SECONDS = 5.0
"""How long a worker may take to end when the system asks it to (SIGTERM), until it is killed."""
START_GRACE_SECONDS = 30.0
"""How long a started worker may take to say who it is; importing Python's libraries comes after that."""


class Supervisor:
    """See the module. `start_runs` False only keeps the history true: for commands that look and go away."""

    def __init__(self, settings: Settings, history: History, lock: FileLock, *, start_runs: bool = True) -> None:
        self.settings = settings
        self.history = history
        self.lock = lock
        self.start_runs = start_runs
        self._known: dict[str, Run] = {}
        self._offsets: dict[str, tuple[int, int]] = {}
        self._children: dict[str, Any] = {}
        self._stop_seen: dict[str, float] = {}
        self._ended: set[str] = set()
        self._told: set[str] = set()
        self._wake = threading.Condition()
        self._asked = 0
        self._served = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    @property
    def leads(self) -> bool:
        """Whether this one supervises the home, and no other process."""
        return self.lock.is_locked

    def start(self) -> None:
        """Begin ticking, or waiting for the home's lock."""
        self._thread.start()

    def close(self) -> None:
        """Stop ticking and let go of the lock; workers go on."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self.lock.release()

    def sync(self, timeout_seconds: float = 10.0) -> None:
        """Wait until a tick that began after this call has ended, so that the history shows what was just done."""
        with self._wake:
            self._asked += 1
            mine = self._asked
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._served >= mine or self._closing, timeout=timeout_seconds)

    def _work(self) -> None:
        while not self._closing:
            with self._wake:
                serving = self._asked
            try:
                if take(self.lock):
                    self.tick()
            except Exception:
                # A locked database or a full disk must not end the supervision: the folders keep the truth meanwhile.
                log.exception("The supervisor's tick failed; it will be tried again")
            with self._wake:
                self._served = serving
                self._wake.notify_all()
                if self._asked == serving and not self._closing:
                    self._wake.wait(timeout=TICK_SECONDS)

    # -- one tick ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Read, reconcile, start: everything once."""
        processes.reap()
        folders = {path.name: RunFolder(path) for path in _run_folders(self.settings.runs)}
        for gone in (self.history.ids() | set(self._known)) - set(folders):
            self._forget(gone)
        for folder in folders.values():
            self._follow(folder)
        if self.start_runs:
            self._start_next(folders)

    def _follow(self, folder: RunFolder) -> None:
        """Ingest and reconcile one folder. One that cannot be read must not keep the others waiting."""
        try:
            run = self.ingest(folder)
            if run.status.is_over:
                self._children.pop(folder.id, None)
            else:
                self._reconcile(folder, run)
            self._told.discard(folder.id)
        except HistoryError:
            raise
        except Exception:
            self._known.pop(folder.id, None)
            if folder.id not in self._told:
                self._told.add(folder.id)
                log.warning("%s cannot be read as a run and is left alone", folder.path, exc_info=True)

    def ingest(self, folder: RunFolder) -> Run:
        """Bring what is new in `folder` into the database; returns the run as it is now. Raises if it is no run."""
        run = self._known.get(folder.id) or self._first_sight(folder)
        events_offset, metrics_offset = self._offsets[folder.id]
        if (
            _size(folder.path / "events.jsonl") <= events_offset
            and _size(folder.path / "metrics.jsonl") <= metrics_offset
        ):
            return run
        events, events_end = folder.events(events_offset)
        metrics, metrics_end = folder.metrics(metrics_offset)
        if (events_end, metrics_end) == (events_offset, metrics_offset):
            return run  # half a line: its writer is at it, or was cut off
        run = apply_events(run, events)
        if metrics:
            run = replace(run, last_step=max(run.last_step, max(metric.step for metric in metrics)))
        self.history.write(
            run,
            metrics=metrics,
            exports=exports_of(events),
            events_offset=events_end,
            metrics_offset=metrics_end,
        )
        self._known[folder.id] = run
        self._offsets[folder.id] = (events_end, metrics_end)
        return run

    def _first_sight(self, folder: RunFolder) -> Run:
        """A run this supervisor has not seen: from the database if it is there, else from its folder's beginning."""
        whole = folder.read_run()
        offsets = self.history.offsets(folder.id)
        if offsets == (0, 0):
            whole = replace(whole, status=RunStatus.QUEUED)
        else:
            whole = self.history.run(folder.id)
        self._known[folder.id] = whole
        self._offsets[folder.id] = offsets
        return whole

    def _forget(self, run_id: str) -> None:
        self.history.forget(run_id)
        self._known.pop(run_id, None)
        self._offsets.pop(run_id, None)

    # -- keeping it true --------------------------------------------------------------------------------------

    def _reconcile(self, folder: RunFolder, run: Run) -> None:
        if run.status is RunStatus.QUEUED:
            if folder.stop_asked():
                folder.add_event("status", status=RunStatus.STOPPED, cause="Taken out of the queue before it began.")
                self.ingest(folder)
            return
        cause = self._cause_of_death(folder, run)
        if cause is not None:
            self.ingest(folder)  # its last words may have come between the reading and its end
            if self._known[run.id].status.is_live:
                status = RunStatus.STOPPED if run.id in self._ended else RunStatus.INTERRUPTED
                folder.add_event("status", status=status, cause=cause)
                self.ingest(folder)
            self._stop_seen.pop(run.id, None)
            self._ended.discard(run.id)
        elif folder.stop_asked():
            asked = self._stop_seen.setdefault(run.id, time.monotonic())
            identity = workers.read_identity(folder)
            if time.monotonic() - asked > STOP_GRACE_SECONDS and identity is not None:
                self._ended.add(run.id)
                processes.end_group(identity, grace_seconds=END_GRACE_SECONDS)

    def _cause_of_death(self, folder: RunFolder, run: Run) -> str | None:
        """Why the worker of a live run is not there any more, as a sentence; None while it is."""
        child = self._children.get(run.id)
        identity = workers.read_identity(folder)
        code = child.poll() if child is not None else None
        if (child is not None and code is None) or (child is None and identity is not None and is_alive(identity)):
            return None
        self._children.pop(run.id, None)
        if run.id in self._ended:
            return (
                f"It did not stop within {STOP_GRACE_SECONDS:.0f} seconds, so it was ended after step {run.last_step}."
            )
        if code is not None:
            return workers.cause_of_exit(run, code)
        if identity is not None:
            return f"The machine or the worker stopped while nobody watched, after step {run.last_step}."
        started = run.started_at or run.created_at
        if (now() - started).total_seconds() < START_GRACE_SECONDS:
            return None
        return "The worker never said that it had begun. Its log may say why."

    # -- the queue --------------------------------------------------------------------------------------------

    def _start_next(self, folders: dict[str, RunFolder]) -> None:
        """Start the oldest queued run if no other one is live: one device, one training."""
        runs = [run for run in self._known.values() if run.id in folders]
        if any(run.status.is_live for run in runs):
            return
        queued = sorted((r for r in runs if r.status is RunStatus.QUEUED), key=lambda r: (r.created_at, r.id))
        if not queued:
            return
        folder = folders[queued[0].id]
        folder.add_event("status", status=RunStatus.STARTING)
        self.ingest(folder)
        try:
            self._children[folder.id] = workers.start_worker(self.settings, folder)
        except OSError as error:
            folder.add_event("status", status=RunStatus.FAILED, cause=f"The worker could not be started: {error}.")
            self.ingest(folder)


def exports_of(events: list[dict[str, Any]]) -> list[Export]:
    """The finished exports among `events`."""
    return [
        Export(
            id=event["id"],
            kind=event["kind"],
            path=event["path"],
            size_bytes=event["size_bytes"],
            created_at=datetime.fromisoformat(event["at"]).astimezone(UTC),
            report=event.get("report", {}),
        )
        for event in events
        if event.get("event") == "export"
    ]


def checkpoints_of(folder: RunFolder) -> list[Checkpoint]:
    """The checkpoints that were announced and are still there, oldest first."""
    events, _ = folder.events()
    told = {
        event["step"]: Checkpoint(step=event["step"], folder=event["folder"], size_bytes=event["size_bytes"])
        for event in events
        if event.get("event") == "checkpoint"
    }
    return [told[step] for step in sorted(told) if (folder.path / told[step].folder).is_dir()]


def take(lock: FileLock) -> bool:
    """Hold `lock` from now on unless another process does; whether it is held."""
    if not lock.is_locked:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
    return bool(lock.is_locked)


def _run_folders(runs: Path) -> list[Path]:
    with os.scandir(runs) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
