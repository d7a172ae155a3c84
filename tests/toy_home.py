"""A studio home with the toy model in it, recipes that are short or long on purpose, and runs without a training.

What tests/conftest.py offers a single test, for fixtures that many tests share.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from studio.recipe import Recipe
from studio.run_folder import RunFolder, now
from studio.runs import RunStatus
from studio.settings import Settings, read_settings

# The toy is too small for two threads to help, and beside another busy process they would hinder each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def make_home(folder: Path, toy_model: Path, **ways_in: Any) -> Settings:
    """A home in `folder` with the toy model in the starter model's place."""
    settings = read_settings(folder, **ways_in)
    settings.make_folders()
    shutil.copytree(toy_model, settings.starter_model)
    return settings


def write_sums(folder: Path, rows: int = 24) -> Path:
    """A dataset of very short rows, so that a step takes a hundredth of a second."""
    file = folder / "sums.jsonl"
    lines = [json.dumps({"prompt": f"{n}+1", "completion": str(n + 1)}) for n in range(rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def quick(steps: int = 4) -> Recipe:
    """A few steps on a few starter rows, with held-out loss, checkpoints and answers."""
    return Recipe().changed(
        **{
            "data.max_rows": 24,
            "data.held_out_rows": 8,
            "training.max_steps": steps,
            "training.eval_steps": 2,
            "training.save_steps": 2,
            "training.warmup_steps": 0,
            "training.per_device_train_batch_size": 4,
            "training.dtype": "float32",
        }
    )


def long(dataset: Path, steps: int = 1_000_000) -> Recipe:
    """Many steps of about 10 ms: a run that goes on until somebody ends it."""
    return Recipe().changed(
        **{
            "data.dataset": str(dataset),
            "data.held_out_rows": 0,
            "training.max_steps": steps,
            "training.eval_steps": 100_000,
            "training.save_steps": 100_000,
            "training.warmup_steps": 0,
            "training.per_device_train_batch_size": 1,
            "training.max_length": 64,
            "training.dtype": "float32",
        }
    )


def put_run(settings: Settings, run_id: str, status: RunStatus = RunStatus.FINISHED, *, steps: int = 3) -> RunFolder:
    """A run as a worker would have left it in its folder, without one: with metrics up to `steps`."""
    folder = RunFolder(settings.runs / run_id)
    identity = {"id": run_id, "name": run_id, "created_at": now().isoformat()}
    folder.create(identity, quick().to_yaml())  # its first event is: queued
    if status is not RunStatus.QUEUED:
        folder.add_event("status", status=RunStatus.STARTING)
        folder.add_event("status", status=RunStatus.RUNNING)
        for step in range(1, steps + 1):
            folder.add_metrics(step, {"loss": 5.0 / step, "num_tokens": 10.0 * step})
    if status.is_over:
        folder.add_event("result", steps=steps, eval_loss_last=1.5)
        folder.add_event("status", status=status)
    return folder


def work(settings: Settings, folder: RunFolder, *arguments: str) -> int:
    """Run `studio worker` on `folder` as the supervisor does, wait for it, and return its exit code."""
    command = [sys.executable, "-m", "studio", "--home", str(settings.home), "worker", str(folder.path), *arguments]
    with open(folder.log_file, "ab") as log:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=settings.home, timeout=180, check=False
        )
    return done.returncode


@functools.cache
def trained_home(toy_model: Path) -> tuple[Path, str, int]:
    """(home, run id, the worker's exit code) of one real training; made once a session, so copy what you change."""
    settings = make_home(Path(tempfile.mkdtemp(dir=toy_model.parent)) / "home", toy_model)
    folder = RunFolder(settings.runs / "tidy-otter")
    folder.create({"id": folder.id, "name": "Tidy otter", "created_at": now().isoformat()}, quick().to_yaml())
    return settings.home, folder.id, work(settings, folder)


def steps_of(folder: RunFolder) -> list[int]:
    """The steps whose loss the folder holds, in the order in which they were written."""
    metrics, _ = folder.metrics()
    return [metric.step for metric in metrics if metric.name == "loss"]


def statuses_of(folder: RunFolder) -> list[str]:
    """Every status that the run had, in order."""
    events, _ = folder.events()
    return [event["status"] for event in events if event["event"] == "status"]
