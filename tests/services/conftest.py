"""What the tests of the services share: one open studio with finished runs, and a worker that does as it is told.

The studio and its workers are real, on the toy model. The obedient worker stands in where a test is about the
supervisor and not about training: a real process too, that says in a run's folder what a worker says, without torch.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_home import make_home

from studio.run_folder import RunFolder
from studio.services import processes, workers
from studio.services.studio import Studio
from studio.settings import Settings

OBEDIENT = """
import os, signal, sys, time
from pathlib import Path
from studio.process_identity import identity_of
from studio.run_folder import RunFolder, write_json

folder, deed = RunFolder(Path(sys.argv[1])), sys.argv[2]
if deed == "cannot start":
    sys.exit(3)
write_json(folder.path / "process.json", identity_of(os.getpid()).as_json())
if deed == "is stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
folder.add_event("status", status="running")
if deed == "forgets its last word":
    sys.exit(0)
folder.add_metrics(1, {"loss": 2.5})
if deed == "counts to 50":
    for step in range(2, 51):
        time.sleep(0.04)
        folder.add_metrics(step, {"loss": 2.5})
    folder.add_event("status", status="finished")
    sys.exit(0)
if deed == "finishes":
    folder.add_event("status", status="finished")
    sys.exit(0)
time.sleep(120)
"""

Obey = Callable[[str], list[int]]


@pytest.fixture
def worker_that(monkeypatch: pytest.MonkeyPatch) -> Obey:
    """`worker_that("finishes")` makes every worker of this test do so; returns the list of their pids as it grows."""
    pids: list[int] = []

    def choose(deed: str) -> list[int]:
        def start_worker(settings: Settings, folder: RunFolder, *arguments: str) -> Any:
            command = [sys.executable, "-c", OBEDIENT, str(folder.path), deed]
            started = processes.start_detached(command, folder.log_file, {}, settings.home)
            pids.append(started.pid)
            return started

        monkeypatch.setattr(workers, "start_worker", start_worker)
        return pids

    return choose


@pytest.fixture(autouse=True, scope="package")
def _leave_no_worker() -> Iterator[None]:
    """End what is still running when these tests are over, by its own id."""
    yield
    end_workers()


def end_workers() -> None:
    processes.reap()
    for process in list(processes._started):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    processes.reap()


@pytest.fixture
def open_studio(settings: Settings) -> Iterator[Callable[..., Studio]]:
    """`open_studio()` opens a studio on this test's home that has looked at it once; closed at the end."""
    opened: list[Studio] = []

    def make(**options: bool) -> Studio:
        opened.append(Studio.open(settings, **options))
        opened[-1].sync()
        return opened[-1]

    yield make
    for studio in opened:
        studio.close()
    end_workers()


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    """A toy home that the tests with real workers share."""
    return make_home(tmp_path_factory.mktemp("services") / "home", toy_model)


@pytest.fixture(scope="package")
def studio(home: Settings) -> Iterator[Studio]:
    """The studio that is open on the shared home."""
    opened = Studio.open(home)
    yield opened
    for run in opened.history.runs():
        if not run.status.is_over:
            opened.stop_run(run.id)
    opened.close()
