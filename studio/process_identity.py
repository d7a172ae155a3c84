"""Who a process is, so that it can be recognised later: by us, and by the next start of the studio.

A pid alone can be reused by a stranger after a crash or a reboot, so a process is known by its pid, its start time in
clock ticks since boot, and the boot's id. Where the system does not tell these (not Linux), psutil's creation time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """Who a process is. `started` is in clock ticks since boot on Linux, else in seconds."""

    pid: int
    started: float
    boot_id: str

    def as_json(self) -> dict[str, Any]:
        """For process.json."""
        return asdict(self)


def identity_of(pid: int) -> Identity | None:
    """The identity of a running process; None if there is none (a zombie is none: it will never do anything)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if _BOOT_ID.exists():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return Identity(pid, float(fields[19]), _BOOT_ID.read_text().strip())
        return Identity(pid, process.create_time(), "")
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError, ValueError, OverflowError):
        return None  # the last two: no process can have such a number


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identity_of(identity.pid) == identity
