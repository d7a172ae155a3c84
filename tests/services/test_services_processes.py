"""Processes that outlive us, known by identity: a pid alone may be a stranger's by now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from waiting import end, is_gone, wait_until

from studio.process_identity import Identity, identity_of, is_alive
from studio.services import processes

SLEEP = "import time; time.sleep(60)"
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf])
print(child.pid, flush=True)
time.sleep(60)
"""
POLITE_WITH_STUBBORN_CHILD = STUBBORN.replace("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "", 1)

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(program)` runs Python code detached, its output in log.txt; ended with its group after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str) -> subprocess.Popen[bytes]:
        started.append(processes.start_detached([sys.executable, "-c", program], tmp_path / "log.txt", {}, tmp_path))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def known(pid: int) -> Identity:
    identity = identity_of(pid)
    assert identity is not None
    return identity


def child_of(log: Path) -> int:
    """The pid that the program wrote, once its child is up as well."""
    wait_until(lambda: log.read_text().count("\n") >= 2, 20, "the start of parent and child")
    return int(next(line for line in log.read_text().split() if line.isdigit()))


def test_a_process_is_itself(start: Start) -> None:
    process = start(SLEEP)
    assert identity_of(process.pid) == identity_of(process.pid)
    assert is_alive(known(process.pid))


def test_two_processes_are_not_the_same(start: Start) -> None:
    assert known(start(SLEEP).pid) != known(os.getpid())


def test_a_reused_pid_is_somebody_else(start: Start) -> None:
    identity = known(start(SLEEP).pid)
    assert not is_alive(replace(identity, started=identity.started - 1))
    assert not is_alive(replace(identity, boot_id="another boot"))


def test_an_identity_survives_its_json(start: Start) -> None:
    identity = known(start(SLEEP).pid)
    assert Identity(**identity.as_json()) == identity


@pytest.mark.parametrize("pid", [-1, 0x7FFFFFFF, 2**70])
def test_no_process_has_an_impossible_number(pid: int) -> None:
    assert identity_of(pid) is None


def test_a_zombie_is_dead(start: Start) -> None:
    process = start(SLEEP)
    identity = known(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, 10)
    assert not is_alive(identity)


def test_reaping_leaves_no_zombie(start: Start) -> None:
    process = start("pass")
    wait_until(lambda: is_gone(process.pid), 20)
    processes.reap()
    assert not psutil.pid_exists(process.pid)
    assert process.returncode == 0


def test_a_group_that_listens_ends_without_force(start: Start) -> None:
    process = start(SLEEP)
    processes.end_group(known(process.pid), grace_seconds=10)
    assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("program", [STUBBORN, POLITE_WITH_STUBBORN_CHILD], ids=["stubborn", "polite parent"])
def test_a_group_that_ignores_the_request_is_ended_with_its_children(
    start: Start, tmp_path: Path, program: str
) -> None:
    process = start(program)
    child = child_of(tmp_path / "log.txt")
    processes.end_group(known(process.pid), grace_seconds=0.5)
    assert is_gone(process.pid)
    assert is_gone(child)


def test_a_stranger_with_the_same_pid_is_never_signalled(start: Start) -> None:
    process = start(SLEEP)
    processes.end_group(replace(known(process.pid), started=1.0), grace_seconds=0.1)
    time.sleep(0.2)
    assert process.poll() is None


def test_what_we_start_has_a_session_of_its_own_and_no_terminal(start: Start, tmp_path: Path) -> None:
    process = start("import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '')")
    process.wait(20)
    assert (tmp_path / "log.txt").read_text().split() == ["True", "True"]


def test_what_we_start_gets_its_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['STUDIO_HOME'], 'PATH' in os.environ)"]
    processes.start_detached(command, tmp_path / "log.txt", {"STUDIO_HOME": "there"}, tmp_path).wait(20)
    assert (tmp_path / "log.txt").read_text().split() == ["there", "True"]


def test_it_lives_on_and_writes_its_log_when_we_are_killed(tmp_path: Path) -> None:
    ticking = "import time\nfor n in range(600): print(n, flush=True); time.sleep(0.1)"
    parent = f"""
import sys, time
from pathlib import Path
from studio.services import processes
child = processes.start_detached([sys.executable, "-c", {ticking!r}], Path("log.txt"), {{}}, Path("."))
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as ours:
        assert ours.stdout is not None
        child = int(ours.stdout.readline())
        ours.kill()
    try:
        log = tmp_path / "log.txt"
        size = log.stat().st_size
        wait_until(lambda: log.stat().st_size > size + 10, 20, "more lines in the log")
        assert not is_gone(child)
    finally:
        end(child)


def test_an_exit_is_told_in_words() -> None:
    assert processes.signal_name(-9) == "SIGKILL"
    assert processes.signal_name(3) == "exit code 3"
