"""Waiting for what other processes do: look again and again, and give up at a deadline with what was waited for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import psutil
import pytest

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], seconds: float, what: str = "the condition") -> Value:
    """The first true value of `condition`; fails the test when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be taken note of has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def end(pid: int) -> None:
    """End a process that a test started, and wait until it has."""
    if not is_gone(pid):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), 10, f"the end of process {pid}")
