"""The worker: one job in a process of its own, whose exit code and last event say the same."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from toy_home import put_run, quick, statuses_of, trained_home, work

from studio import worker
from studio.process_identity import is_alive
from studio.recipe import Recipe
from studio.run_folder import RunFolder, now
from studio.runs import RunStatus
from studio.services.workers import read_identity
from studio.settings import Settings, read_settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    """A copy of the home in which one run was trained."""
    return read_settings(shutil.copytree(trained_home(toy_model)[0], tmp_path_factory.mktemp("worker") / "home"))


def queue(home: Settings, name: str, recipe: Recipe) -> RunFolder:
    folder = RunFolder(home.runs / name)
    folder.create({"id": name, "name": name, "created_at": now().isoformat()}, recipe.to_yaml())
    return folder


@pytest.fixture(scope="module")
def finished(home: Settings, toy_model: Path) -> RunFolder:
    """The run that was trained."""
    return RunFolder(home.runs / trained_home(toy_model)[1])


def test_a_finished_run_exits_with_0(finished: RunFolder, toy_model: Path) -> None:
    assert trained_home(toy_model)[2] == 0, finished.log_tail()
    assert statuses_of(finished) == ["queued", "running", "finished"]
    events, _ = finished.events()
    assert events[-1]["event"] == "status"


def test_the_worker_says_who_it_is_and_that_it_lives(finished: RunFolder) -> None:
    identity = read_identity(finished)
    assert identity is not None
    assert not is_alive(identity)
    assert (finished.path / "heartbeat.json").is_file()


def test_the_worker_never_opens_a_database(home: Settings, finished: RunFolder) -> None:
    assert list(home.home.glob("history.sqlite*")) == []


def test_a_failing_run_exits_with_1_and_one_sentence(home: Settings) -> None:
    folder = queue(home, "failing", Recipe().changed(**{"data.dataset": str(home.home / "nowhere.jsonl")}))
    assert work(home, folder) == 1
    run = folder.read_run()
    assert run.status is RunStatus.FAILED
    assert "There is no file" in (run.cause or "")
    assert "\n" not in (run.cause or "")
    assert "Traceback" not in (run.cause or "")
    assert "Traceback" in folder.log_tail()


def test_a_held_device_is_told_in_a_sentence(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "DEVICE_SECONDS", 0.1)
    folder = queue(home, "second", quick())
    holder = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(home.home / "device.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert worker.run_training(folder.path, home) == 1
        other.kill()
    assert folder.status() is RunStatus.FAILED
    assert "Another training holds the device" in (folder.read_run().cause or "")


def test_a_device_that_is_just_being_let_go_is_waited_for(home: Settings) -> None:
    folder = queue(home, "patient", Recipe().changed(**{"data.dataset": "/nowhere.jsonl"}))
    lock = FileLock(home.home / "device.lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.5, lock.release).start()
    assert worker.run_training(folder.path, home) == 1
    assert "There is no file" in (folder.read_run().cause or ""), "it did not get as far as the data"


def test_an_export_tells_its_end_in_the_runs_folder(home: Settings, finished: RunFolder) -> None:
    assert worker.run_export(finished.path, "adapter", "mine.zip", home) == 0
    events, _ = finished.events()
    assert events[-1]["event"] == "export"
    assert events[-1]["size_bytes"] == (finished.exports / "mine.zip").stat().st_size


def test_a_failing_export_exits_with_1_and_leaves_the_run_as_it_was(home: Settings) -> None:
    folder = put_run(home, "bare")
    assert worker.run_export(folder.path, "adapter", "bare.zip", home) == 1
    events, _ = folder.events()
    assert events[-1]["event"] == "export_failed"
    assert "no adapter yet" in events[-1]["cause"]
    assert folder.status() is RunStatus.FINISHED
    assert list(folder.exports.iterdir()) == []


# -- what a library's exception means -------------------------------------------------------------------------


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "mps", "python"],
)
def test_out_of_memory_says_what_to_change_and_in_which_order(error: Exception) -> None:
    told = worker.explain(error)
    fixes = ["per_device_train_batch_size", "gradient_checkpointing", "max_length", "nf4"]
    places = [told.index(fix) for fix in fixes]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        Exception("No space left on device (os error 28)"),  # as safetensors' Rust raises it
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # torch.save
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
    ids=["python", "safetensors", "torch", "torch's writer"],
)
def test_a_full_disk_says_so(error: Exception) -> None:
    assert "disk is full" in worker.explain(error)


def test_anything_else_is_named_in_one_line_and_points_to_the_log() -> None:
    told = worker.explain(ValueError("first line\nsecond line"))
    assert "ValueError: first line" in told
    assert "second line" not in told
    assert "log" in told


def test_an_exception_without_words_is_still_named() -> None:
    assert "KeyError" in worker.explain(KeyError())
    assert len(worker.explain(ValueError("x" * 10_000))) < 500
