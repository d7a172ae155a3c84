"""The program that opened the studio is killed in the middle of a training: the training must not notice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_home import long, make_home, statuses_of, steps_of, write_sums
from waiting import end, wait_until

from studio.process_identity import Identity, is_alive
from studio.run_folder import RunFolder
from studio.runs import RunStatus
from studio.services.studio import Studio
from studio.services.workers import read_identity
from studio.settings import Settings

STEPS = 600
PROGRAM = """
import sys, time
from pathlib import Path
from studio.recipe import read_recipe
from studio.services.studio import Studio
from studio.settings import read_settings

studio = Studio.open(read_settings(Path(sys.argv[1])))
print(studio.start_run(read_recipe(Path(sys.argv[2])), "outlives us"), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    return make_home(tmp_path_factory.mktemp("killed") / "home", toy_model)


@pytest.fixture(scope="module")
def orphan(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunFolder, Identity, int]]:
    """A run in the middle of its training whose studio was killed: its folder, its worker, its last step then."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "recipe.yaml").write_text(long(write_sums(folder), STEPS).to_yaml())
    command = [sys.executable, "-c", PROGRAM, str(home.home), str(folder / "recipe.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        run = RunFolder(home.runs / program.stdout.readline().strip())
        wait_until(lambda: len(steps_of(run)) > 3, 120, "the first steps")
        program.kill()
    assert program.returncode == -signal.SIGKILL
    worker = read_identity(run)
    assert worker is not None
    yield run, worker, steps_of(run)[-1]
    if is_alive(worker):
        end(worker.pid)


def test_the_worker_goes_on_without_its_studio(orphan: tuple[RunFolder, Identity, int]) -> None:
    run, worker, step = orphan
    assert run.status() is RunStatus.RUNNING
    wait_until(lambda: steps_of(run)[-1] > step, 30, "another step")
    assert is_alive(worker)


def test_a_new_studio_finds_the_same_worker_and_follows_it_to_the_end(
    home: Settings, orphan: tuple[RunFolder, Identity, int]
) -> None:
    run, worker, _ = orphan
    studio = Studio.open(home)
    try:
        assert studio.supervisor is not None, "the killed studio still holds the home's lock"
        studio.sync()
        assert studio.live_run() == studio.history.run(run.id)
        wait_until(lambda: studio.history.run(run.id).status.is_over, 120, "the end of the run")
        assert studio.history.run(run.id).status is RunStatus.FINISHED
        assert read_identity(run) == worker, "a second worker was started"
        assert statuses_of(run) == ["queued", "starting", "running", "finished"]
        shown = [metric.step for metric in studio.history.metrics(run.id, names=["loss"])]
        assert shown == steps_of(run) == list(range(1, STEPS + 1))
    finally:
        studio.close()


def test_a_studio_opened_after_the_end_shows_the_whole_run(
    home: Settings, orphan: tuple[RunFolder, Identity, int]
) -> None:
    run, worker, _ = orphan
    wait_until(lambda: run.status().is_over, 120, "the end of the run")
    wait_until(lambda: not is_alive(worker), 30, "the end of the worker")
    studio = Studio.open(home)
    try:
        studio.sync()
        assert studio.history.run(run.id).status is RunStatus.FINISHED
        assert studio.history.run(run.id).last_step == STEPS
    finally:
        studio.close()
