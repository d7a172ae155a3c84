"""Processes that outlive us: start one in a group of its own, end the whole group. Knows nothing of runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.process_identity import Identity, is_alive

MALLOC_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
"""Tell glibc to keep freed memory: a training step frees and takes the same gigabyte again, and giving it back to the
kernel each time cost 40 % of a step on a CPU (measured: 2.6 s -> 1.4 s a step). Other systems ignore these names."""


def start_detached(command: Sequence[str], log_file: Path, environment: Mapping[str, str], folder: Path) -> Any:
    """Start `command` in a session of its own, with its output in `log_file`; returns the Popen.

    No shell, no pipe that somebody would have to drain, no terminal: it lives on when we do not.
    """
    with open(log_file, "ab") as log:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
            close_fds=True,
        )


def studio_command(*arguments: str) -> list[str]:
    """The command line of this studio's own program, in this same Python."""
    return [sys.executable, "-m", "studio", *arguments]


def end_group(identity: Identity, *, grace_seconds: float) -> None:
    """Ask the process group to end, wait, then kill it. Does nothing if the process is not who it was."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_alive(identity):
            return
        try:
            os.killpg(identity.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + grace_seconds
        while is_alive(identity) and time.monotonic() < deadline:
            time.sleep(0.05)


def signal_name(code: int) -> str:
    """What a negative exit code of Popen means, in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
