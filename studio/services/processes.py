"""Processes that outlive us: start one in a group of its own, end the whole group. Knows nothing of runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from studio.process_identity import Identity, identity_of, is_alive

COMPUTE_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "GOMP_SPINCOUNT": "10000",
}
"""For processes that compute. glibc keeps freed memory: a training step frees and takes the same large blocks again,
and giving them back to the kernel each time costs system time. OpenMP's threads wait asleep after a moment: spinning,
they take the core from the thread that they wait for when anything else runs. What was observed of both is in
docs/design.md. Elsewhere the names mean nothing."""

_started: list[subprocess.Popen[bytes]] = []
"""Processes that we started and whose end we have not seen yet."""


def start_detached(command: Sequence[str], log_file: Path, environment: Mapping[str, str], folder: Path) -> Any:
    """Start `command` in a session of its own, with its output in `log_file`; returns the Popen.

    No shell, no pipe that somebody would have to drain, no terminal: it lives on when we do not.
    """
    reap()
    with open(log_file, "ab") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
            close_fds=True,
        )
    _started.append(process)
    return process


def reap() -> None:
    """Take note of the end of what we started: until then an ended process stays in the system's table as a zombie."""
    _started[:] = [process for process in _started if process.poll() is None]


def studio_command(*arguments: str) -> list[str]:
    """The command line of this studio's own program, in this same Python."""
    return [sys.executable, "-m", "studio", *arguments]


def end_group(identity: Identity, *, grace_seconds: float) -> None:
    """Ask the process and its group to end, wait, then kill what is left. Does nothing if it is not who it was.

    Members are known by identity, not by the group's number: once the leader has ended, that may be given away again.
    """
    if not is_alive(identity):
        return
    members = _members(identity.pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in filter(is_alive, members):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, number)
        deadline = time.monotonic() + grace_seconds
        while any(map(is_alive, members)) and time.monotonic() < deadline:
            time.sleep(0.05)


def _members(group: int) -> list[Identity]:
    """Who is in a process group now."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and (identity := identity_of(pid)) is not None:
                found.append(identity)
    return found


def signal_name(code: int) -> str:
    """What a negative exit code of Popen means, in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
