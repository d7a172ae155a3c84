"""The door of a job: one training or one export in a process of its own.

    python -m studio worker RUN_FOLDER                  # train what recipe.yaml says
    python -m studio worker RUN_FOLDER --export merged --to NAME

Knows the run's folder and no database. Output goes to wherever its parent sent it (worker.log). Exit code: 0 finished
or stopped, 1 failed; the folder's last event says the same in a sentence.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from filelock import FileLock, Timeout

from studio.errors import StudioError
from studio.process_identity import identity_of
from studio.run_folder import RunFolder, write_json
from studio.runs import RunStatus
from studio.settings import Settings

log = logging.getLogger("studio.worker")
DEVICE_SECONDS = 10.0
"""How long to wait for the device: the training before has told its end, but may still be putting away its memory."""
LOADING_PROMISE_SECONDS = 900.0
"""Loading may include fetching a model of many gigabytes; once training begins the Reporter beats."""


def run_training(path: Path, settings: Settings) -> int:
    """Train the recipe in `path`. Holds the device's lock for as long as this process lives."""
    folder = RunFolder(path)
    identity = identity_of(os.getpid())
    assert identity is not None
    write_json(path / "process.json", identity.as_json())
    folder.beat(LOADING_PROMISE_SECONDS)
    try:
        with FileLock(settings.home / "device.lock", timeout=DEVICE_SECONDS):
            from studio.ml.train import train

            train(folder, settings)
        return 0
    except Timeout:
        return _fail(folder, "Another training holds the device. This one can be started when that has ended.")
    except StudioError as error:
        log.exception("The run was refused or failed")
        return _fail(folder, str(error))
    except Exception as error:
        log.exception("The run failed")
        return _fail(folder, explain(error))


def run_export(path: Path, kind: str, name: str, settings: Settings) -> int:
    """Export the run in `path` as `kind` to exports/`name`."""
    folder = RunFolder(path)
    try:
        from studio.ml.merge import export

        folder.exports.mkdir(exist_ok=True)
        report = export(folder, kind, folder.exports / name, settings)
        size = _size_of(folder.exports / name)
        folder.add_event("export", id=name, kind=kind, path=f"exports/{name}", size_bytes=size, report=report)
        return 0
    except Exception as error:
        log.exception("The export failed")
        cause = str(error) if isinstance(error, StudioError) else explain(error)
        folder.add_event("export_failed", id=name, kind=kind, cause=cause)
        return 1


def _fail(folder: RunFolder, cause: str) -> int:
    folder.add_event("status", status=RunStatus.FAILED, cause=cause)
    return 1


def _size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


_NO_MEMORY = ("OutOfMemory", "out of memory", "can't allocate memory")
_NO_SPACE = ("No space left", "inline_container.cc", "PytorchStreamWriter failed writing")
"""Measured: safetensors passes the system's words on, torch.save only notices that its file did not grow."""


def explain(error: BaseException) -> str:
    """What a library's exception means for a person, and what to try. The traceback is in worker.log."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return (
            "The memory was not enough. In this order: halve per_device_train_batch_size and double "
            "gradient_accumulation_steps; turn on gradient_checkpointing; shorten max_length; use nf4."
        )
    if getattr(error, "errno", None) == errno.ENOSPC or any(words in text for words in _NO_SPACE):
        return "The disk is full. Delete old runs on the History page, empty the trash there, and start again."
    first_line = text.splitlines()[0][:300]
    return f"The worker failed: {first_line}. The whole story is in the run's log."
