"""What the reporter tells and obeys, called as the Trainer calls it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from studio.ml.callbacks import OVERFLOWS_TOLERATED, Reporter, checkpoint_folders
from studio.ml.devices import Device
from studio.recipe import Recipe
from studio.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]

CPU = Device(kind="cpu", name="CPU", memory_total_bytes=1, memory_free_bytes=1)
FLOAT32 = SimpleNamespace(fp16=False)
FLOAT16 = SimpleNamespace(fp16=True)


@pytest.fixture
def folder(make_run: MakeRun) -> RunFolder:
    """A queued run."""
    return make_run(Recipe())


def log(reporter: Reporter, args: Any, step: int = 1, **logs: float) -> bool:
    """Log numbers at `step`; returns whether the reporter wants the training to end."""
    control = TrainerControl()
    reporter.on_log(args, TrainerState(global_step=step), control, logs=logs)
    return control.should_training_stop


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_ran_away_ends_the_training(folder: RunFolder, name: str, value: float) -> None:
    reporter = Reporter(folder, CPU, keep_checkpoints=2)

    assert log(reporter, FLOAT32, **{"loss": 1.0, "grad_norm": 1.0, name: value})
    assert reporter.not_finite == f"{name} became {value} at step 1"


def test_an_overflow_of_float16_is_no_end(folder: RunFolder) -> None:
    """The loss scale starts at 65536 and is halved after each overflow; those steps are skipped."""
    reporter = Reporter(folder, CPU, keep_checkpoints=2)

    for step in range(1, 60):
        overflows = step % (OVERFLOWS_TOLERATED + 1) != 0  # one good step among many
        assert not log(reporter, FLOAT16, step, loss=1.0, grad_norm=math.inf if overflows else 1.0)
    assert reporter.not_finite is None


def test_float16_that_never_stops_overflowing_is_an_end(folder: RunFolder) -> None:
    reporter = Reporter(folder, CPU, keep_checkpoints=2)

    ends = [log(reporter, FLOAT16, step, loss=1.0, grad_norm=math.nan) for step in range(OVERFLOWS_TOLERATED + 1)]

    assert ends.index(True) == OVERFLOWS_TOLERATED


def test_a_loss_of_nan_ends_a_float16_training_too(folder: RunFolder) -> None:
    assert log(Reporter(folder, CPU, keep_checkpoints=2), FLOAT16, loss=math.nan, grad_norm=1.0)


def test_only_known_numbers_are_kept_and_no_summary(folder: RunFolder) -> None:
    reporter = Reporter(folder, CPU, keep_checkpoints=2)

    log(reporter, FLOAT32, loss=1.0, entropy=3.0)
    log(reporter, FLOAT32, train_runtime=9.0, train_loss=1.0, epoch=1.0)

    assert {m.name for m in folder.metrics()[0]} == {"loss", "memory_bytes", "elapsed_seconds"}


def test_the_oldest_checkpoints_go_by_their_step_whatever_the_clock_says(folder: RunFolder) -> None:
    reporter = Reporter(folder, CPU, keep_checkpoints=2)
    for age, step in enumerate((2, 9, 10)):  # the newest step has the oldest file time, and sorts first as text
        path = folder.checkpoints / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "training_args.bin").touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))

    reporter.on_save(FLOAT32, TrainerState(global_step=10), TrainerControl())

    assert [path.name for path in checkpoint_folders(folder.checkpoints)] == ["checkpoint-9", "checkpoint-10"]
    assert not (folder.checkpoints / "checkpoint-10" / "training_args.bin").exists()


def test_folders_that_are_no_checkpoints_are_left_alone(tmp_path: Path) -> None:
    for name in ("checkpoint-3", "checkpoint-tmp", "checkpoint-3.incomplete", "adapter"):
        (tmp_path / name).mkdir()

    assert [path.name for path in checkpoint_folders(tmp_path)] == ["checkpoint-3"]


def test_stop_is_obeyed_at_the_next_step_with_a_checkpoint(folder: RunFolder) -> None:
    reporter = Reporter(folder, CPU, keep_checkpoints=2)
    control = TrainerControl()

    reporter.on_step_end(FLOAT32, TrainerState(global_step=1), control)
    assert not control.should_training_stop
    folder.ask_to_stop()
    reporter.on_step_end(FLOAT32, TrainerState(global_step=2), control)

    assert control.should_training_stop
    assert control.should_save
    assert folder.status() == "stopping"


def test_a_step_is_a_sign_of_life(folder: RunFolder) -> None:
    Reporter(folder, CPU, keep_checkpoints=2).on_step_end(FLOAT32, TrainerState(), TrainerControl())

    assert (folder.path / "heartbeat.json").is_file()
