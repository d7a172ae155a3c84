"""The supervisor: the queue moves, dead workers are noticed, and no folder, however odd, keeps the others waiting.

Workers are real processes that do as the test says (see conftest.py); real trainings are in test_services_studio.py.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from toy_home import put_run, quick, statuses_of, steps_of
from waiting import is_gone, wait_until

from studio.errors import Refused
from studio.process_identity import identity_of
from studio.run_folder import RunFolder, write_json
from studio.runs import RunStatus
from studio.services import supervisor, workers
from studio.services.studio import Studio, refuse_if_supervised
from studio.settings import Settings

OpenStudio = Callable[..., Studio]
WorkerThat = Callable[[str], list[int]]


@pytest.fixture(autouse=True)
def _quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look five times a second instead of once: these tests wait for ticks and for nothing else."""
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.2)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the studio."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as process:
        yield process
        process.kill()


def over(studio: Studio, run_id: str) -> bool:
    return studio.history.run(run_id).status.is_over


def cause(studio: Studio, run_id: str) -> str:
    return studio.history.run(run_id).cause or ""


# -- the queue ------------------------------------------------------------------------------------------------


def test_a_queued_run_is_started_and_followed_to_its_end(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    worker_that("finishes")
    studio = open_studio()
    run_id = studio.start_run(quick(), "otter")
    wait_until(lambda: over(studio, run_id), 20)
    assert studio.history.run(run_id).status is RunStatus.FINISHED
    assert [metric.value for metric in studio.history.metrics(run_id)] == [2.5]


def test_one_device_trains_one_run_at_a_time(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    pids = worker_that("trains on and on")
    studio = open_studio()
    first, second = studio.start_run(quick()), studio.start_run(quick())
    wait_until(lambda: studio.history.run(first).status is RunStatus.RUNNING, 20)
    studio.sync()
    assert studio.history.run(second).status is RunStatus.QUEUED
    assert len(pids) == 1
    assert studio.live_run() == studio.history.run(first)


def test_a_run_that_fell_out_of_the_queue_is_never_started(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    pids = worker_that("trains on and on")
    studio = open_studio()
    first, second = studio.start_run(quick()), studio.start_run(quick())
    studio.stop_run(second)
    assert studio.history.run(second).status is RunStatus.STOPPED
    assert "out of the queue" in cause(studio, second)
    os.killpg(pids[0], signal.SIGKILL)
    wait_until(lambda: over(studio, first), 10)
    studio.sync()
    assert len(pids) == 1


def test_ended_workers_leave_no_zombies(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    pids = worker_that("finishes")
    studio = open_studio()
    run_id = studio.start_run(quick())
    wait_until(lambda: over(studio, run_id), 20)
    wait_until(lambda: not psutil.pid_exists(pids[0]), 10, "the worker's leaving of the process table")


def test_commands_that_only_look_start_nothing(
    open_studio: OpenStudio, settings: Settings, worker_that: WorkerThat
) -> None:
    pids = worker_that("finishes")
    folder = put_run(settings, "waiting", RunStatus.QUEUED)
    studio = open_studio(start_runs=False)
    studio.sync()
    assert studio.history.run("waiting").status is RunStatus.QUEUED
    assert pids == []
    studio.stop_run("waiting")
    assert statuses_of(folder) == ["queued", "stopped"]


# -- workers that end badly -----------------------------------------------------------------------------------


def test_a_killed_worker_makes_the_run_interrupted_and_the_next_one_starts(
    open_studio: OpenStudio, worker_that: WorkerThat
) -> None:
    pids = worker_that("trains on and on")
    studio = open_studio()
    first, second = studio.start_run(quick()), studio.start_run(quick())
    wait_until(lambda: studio.history.run(first).last_step == 1, 20)
    os.killpg(pids[0], signal.SIGKILL)
    wait_until(lambda: over(studio, first), 5, "the notice of the worker's death")
    assert studio.history.run(first).status is RunStatus.INTERRUPTED
    assert "SIGKILL" in cause(studio, first)
    assert "memory" in cause(studio, first)
    assert "step 1" in cause(studio, first)
    wait_until(lambda: studio.history.run(second).status is RunStatus.RUNNING, 20)


@pytest.mark.parametrize(
    ("deed", "told"), [("cannot start", "could not start (exit code 3)"), ("forgets its last word", "without a word")]
)
def test_a_worker_that_ends_by_itself_is_not_taken_for_killed(
    open_studio: OpenStudio, worker_that: WorkerThat, deed: str, told: str
) -> None:
    worker_that(deed)
    studio = open_studio()
    run_id = studio.start_run(quick())
    wait_until(lambda: over(studio, run_id), 20)
    assert studio.history.run(run_id).status is RunStatus.INTERRUPTED
    assert told in cause(studio, run_id)
    assert "memory" not in cause(studio, run_id)


def test_a_worker_that_cannot_be_started_at_all_fails_the_run(
    open_studio: OpenStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(workers, "start_worker", no_memory)
    studio = open_studio()
    run_id = studio.start_run(quick())
    assert studio.history.run(run_id).status is RunStatus.FAILED
    assert "Cannot allocate memory" in cause(studio, run_id)


def test_a_worker_that_ignores_stop_is_ended_after_the_grace_time(
    open_studio: OpenStudio, worker_that: WorkerThat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(supervisor, "END_GRACE_SECONDS", 0.5)
    pids = worker_that("is stubborn")
    studio = open_studio()
    run_id = studio.start_run(quick())
    wait_until(lambda: studio.history.run(run_id).last_step == 1, 20)
    studio.stop_run(run_id)
    wait_until(lambda: over(studio, run_id), 30)
    assert is_gone(pids[0])
    assert studio.history.run(run_id).status is RunStatus.STOPPED
    assert "did not stop within 1 seconds" in cause(studio, run_id)


def test_a_worker_that_never_said_a_word_is_given_up(
    open_studio: OpenStudio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_GRACE_SECONDS", 0.5)
    folder = put_run(settings, "silent", RunStatus.QUEUED)
    folder.add_event("status", status=RunStatus.STARTING)  # by a studio that was killed before it started the worker
    studio = open_studio()
    wait_until(lambda: over(studio, "silent"), 10)
    assert "never said" in cause(studio, "silent")


# -- a pid that was given to somebody else --------------------------------------------------------------------


def test_a_stranger_with_the_workers_pid_is_never_signalled(
    open_studio: OpenStudio,
    settings: Settings,
    stranger: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "STOP_GRACE_SECONDS", 0.0)
    folder = put_run(settings, "reused", RunStatus.RUNNING)
    identity = identity_of(stranger.pid)
    assert identity is not None
    write_json(folder.path / "process.json", {**identity.as_json(), "started": identity.started - 5})
    folder.ask_to_stop()
    studio = open_studio()
    wait_until(lambda: over(studio, "reused"), 10)
    assert studio.history.run("reused").status is RunStatus.INTERRUPTED
    assert "after step 3" in cause(studio, "reused")
    time.sleep(1.5)  # another tick
    assert stranger.poll() is None


@pytest.mark.parametrize("told", ["", "{", "[]", '{"pid": "x"}', '{"pid": -1, "started": 1, "boot_id": ""}', "null"])
def test_a_broken_process_file_is_no_worker_and_no_crash(
    open_studio: OpenStudio, settings: Settings, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setattr(supervisor, "START_GRACE_SECONDS", 0.0)
    folder = put_run(settings, "broken", RunStatus.RUNNING)
    (folder.path / "process.json").write_text(told)
    studio = open_studio()
    wait_until(lambda: over(studio, "broken"), 10)
    assert studio.history.run("broken").status is RunStatus.INTERRUPTED


# -- odd folders ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_run_is_left_alone(
    open_studio: OpenStudio, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stray = settings.runs / "holiday pictures"
    stray.mkdir()
    (stray / "beach.jpg").write_bytes(b"\xff\xd8")
    put_run(settings, "real")
    studio = open_studio()
    for _ in range(3):
        studio.sync()
    assert [run.id for run in studio.history.runs()] == ["real"]
    assert sorted(path.name for path in stray.iterdir()) == ["beach.jpg"]
    assert sum("holiday pictures" in record.getMessage() for record in caplog.records) == 1


def _unknown_status(folder: RunFolder) -> None:
    folder.add_event("status", status="dancing")


def _event_without_its_values(folder: RunFolder) -> None:
    folder.add_event("export", id="x")


def _recipe_that_is_none(folder: RunFolder) -> None:
    folder.recipe_file.write_text("- 1\n- 2\n")


def _identity_that_is_none(folder: RunFolder) -> None:
    (folder.path / "run.json").write_text("[]")


@pytest.mark.parametrize(
    "damage", [_unknown_status, _event_without_its_values, _recipe_that_is_none, _identity_that_is_none]
)
def test_a_damaged_folder_does_not_hold_up_the_others(
    open_studio: OpenStudio, settings: Settings, worker_that: WorkerThat, damage: Callable[[RunFolder], None]
) -> None:
    worker_that("finishes")
    damage(put_run(settings, "20200101-000000-damaged", RunStatus.RUNNING))
    studio = open_studio()
    run_id = studio.start_run(quick(), "healthy")
    wait_until(lambda: studio.history.run(run_id).status is RunStatus.FINISHED, 20, "the healthy run's end")


def test_half_a_line_is_read_when_it_is_whole(open_studio: OpenStudio, settings: Settings) -> None:
    folder = put_run(settings, "torn", steps=1)
    studio = open_studio()
    studio.sync()
    with open(folder.path / "metrics.jsonl", "ab", buffering=0) as file:
        file.write(b'{"step": 2, "lo')
        studio.sync()
        assert studio.history.run("torn").last_step == 1
        file.write(b'ss": 2.0}\n')
        studio.sync()
    assert studio.history.run("torn").last_step == 2
    assert [metric.step for metric in studio.history.metrics("torn", names=["loss"])] == [1, 2]


def test_a_removed_folder_is_forgotten(open_studio: OpenStudio, settings: Settings) -> None:
    folder = put_run(settings, "gone")
    studio = open_studio()
    studio.sync()
    assert studio.history.ids() == {"gone"}
    folder.path.rename(settings.home / "elsewhere")
    studio.sync()
    assert studio.history.ids() == set()


# -- one supervisor a home ------------------------------------------------------------------------------------


def test_the_second_studio_watches_and_the_first_starts_its_runs(
    open_studio: OpenStudio, worker_that: WorkerThat
) -> None:
    pids = worker_that("finishes")
    first, second = open_studio(), open_studio()
    assert first.supervisor is not None
    assert second.supervisor is None
    run_id = second.start_run(quick())
    wait_until(lambda: second.folder(run_id).status() is RunStatus.FINISHED, 20)
    assert len(pids) == 1


def test_the_second_studio_takes_over_when_the_first_closes(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    worker_that("finishes")
    first, second = open_studio(), open_studio()
    first.close()
    wait_until(lambda: second.supervisor is not None, 10, "the taking over")
    run_id = second.start_run(quick())
    wait_until(lambda: over(second, run_id), 20)


def test_a_run_outlives_its_studio_and_the_next_one_follows_it_without_a_gap(
    open_studio: OpenStudio, worker_that: WorkerThat
) -> None:
    pids = worker_that("counts to 50")
    first = open_studio()
    run_id = first.start_run(quick())
    wait_until(lambda: first.history.run(run_id).last_step > 3, 20, "a few steps")
    first.close()

    second = open_studio()
    assert not over(second, run_id)
    wait_until(lambda: over(second, run_id), 30, "the end of the run")
    folder = second.folder(run_id)
    assert statuses_of(folder) == ["queued", "starting", "running", "finished"]
    assert len(pids) == 1
    shown = [metric.step for metric in second.history.metrics(run_id, names=["loss"])]
    assert shown == steps_of(folder) == list(range(1, 51))


def test_an_adopted_worker_that_dies_is_noticed(open_studio: OpenStudio, worker_that: WorkerThat) -> None:
    pids = worker_that("trains on and on")
    first = open_studio()
    run_id = first.start_run(quick())
    wait_until(lambda: first.history.run(run_id).last_step == 1, 20)
    first.close()
    second = open_studio()
    second.sync()
    assert second.history.run(run_id).status is RunStatus.RUNNING
    assert len(pids) == 1
    os.killpg(pids[0], signal.SIGKILL)
    wait_until(lambda: over(second, run_id), 5, "the notice of an adopted worker's death")
    assert second.history.run(run_id).status is RunStatus.INTERRUPTED


def test_rebuilding_is_refused_while_a_studio_is_open(open_studio: OpenStudio, settings: Settings) -> None:
    studio = open_studio()
    with pytest.raises(Refused, match="Close it first"):
        refuse_if_supervised(settings)
    studio.close()
    refuse_if_supervised(settings)
