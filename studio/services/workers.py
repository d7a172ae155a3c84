"""The supervisor's side of a worker: start the process, know it again, say in a sentence how it ended.

A worker is `studio worker FOLDER` (worker.py) in a session of its own. Knows its folder and nothing of the queue.
"""

from __future__ import annotations

import json
from typing import Any

from studio.process_identity import Identity
from studio.run_folder import RunFolder
from studio.runs import Run, RunStatus
from studio.services import processes
from studio.settings import Settings


def start_worker(settings: Settings, folder: RunFolder, *arguments: str) -> Any:
    """Start `studio worker FOLDER ...` as a process that outlives us; returns its Popen."""
    return processes.start_detached(
        processes.studio_command("worker", str(folder.path), *arguments),
        folder.log_file,
        {"STUDIO_HOME": str(settings.home), "PYTHONUNBUFFERED": "1", **processes.COMPUTE_ENVIRONMENT},
        settings.home,
    )


def read_identity(folder: RunFolder) -> Identity | None:
    """Who works on `folder`, as the worker wrote it; None if it did not yet, or not in a way that can be read."""
    try:
        told = json.loads((folder.path / "process.json").read_text(encoding="utf-8"))
        return Identity(int(told["pid"]), float(told["started"]), str(told["boot_id"]))
    except (FileNotFoundError, ValueError, TypeError, LookupError):
        return None


def cause_of_exit(run: Run, code: int) -> str:
    """What a worker's exit code means when its folder does not say how it ended."""
    name = processes.signal_name(code)
    if code >= 0:
        did = "could not start" if run.status is RunStatus.STARTING else "ended without a word"
        return f"The worker {did} ({name}). Its log may say why."
    why = ", most often because the machine ran out of memory" if name == "SIGKILL" else ""
    return f"The worker was ended from outside ({name}){why}. Everything up to step {run.last_step} is in the curves."
