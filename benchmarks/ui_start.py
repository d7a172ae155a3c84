"""How long the pages take to be ready and how much memory they take, beside LLaMA Board on the same machine.

    python benchmarks/ui_start.py --peer-python /path/to/environment/bin/python [--rounds 3]

The peer's environment is one in which LLaMA-Factory is installed: `python -m venv board && board/bin/pip install
llamafactory`. (It imports torchaudio, which has no CPU build for every torch; an empty module of that name serves: the
pages never use it.) Ready means that the page's configuration is answered; memory is the resident memory of the process
that serves the pages. Writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine_sentence, write_section

DEADLINE_SECONDS = 120.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(command: list[str], environment: dict[str, str], port: int) -> tuple[float, float]:
    """(seconds until the page's configuration is answered, resident MB of that process then)."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        cwd=tempfile.gettempdir(),  # the board writes its cache to where it is started
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.monotonic() - began < DEADLINE_SECONDS:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode} before its page was there.")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=2) as answer:
                    if answer.status == 200:
                        seconds = time.monotonic() - began
                        return seconds, resident_mb(process.pid)
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{command[0]} was not ready within {DEADLINE_SECONDS:.0f} s.")
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.terminate()
            process.terminate()
            process.wait(timeout=20)


def resident_mb(pid: int) -> float:
    """Resident memory of the process that serves the page (the largest of the started ones) in MB."""
    started = psutil.Process(pid)
    pages = [p for p in [started, *started.children(recursive=True)] if "serve" not in p.cmdline()]
    return max(p.memory_info().rss for p in pages) / 1e6


def main() -> None:
    """Measure both in turns, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="python of an environment with LLaMA-Factory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=None, help="studio home with the starter model")
    arguments = parser.parse_args()
    from studio.settings import read_settings

    home = str(read_settings(arguments.home).home)
    subprocess.run([sys.executable, "-m", "studio", "--home", home, "starter"], check=True)
    board = str(Path(arguments.peer_python).parent / "llamafactory-cli")
    rows: dict[str, list[tuple[float, float]]] = {"Finetune Studio": [], "LLaMA Board": []}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(arguments.rounds):
            port = free_port()
            command = [sys.executable, "-m", "studio", "--home", home, "--port", str(port), "--no-browser"]
            rows["Finetune Studio"].append(measure(command, {}, port))
            port = free_port()
            peer = {
                "GRADIO_SERVER_PORT": str(port),
                "GRADIO_SERVER_NAME": "127.0.0.1",
                "HOME": scratch,
                "GRADIO_ANALYTICS_ENABLED": "False",
                "DISABLE_VERSION_CHECK": "1",
            }
            rows["LLaMA Board"].append(measure([board, "webui"], peer, port))
    lines = [
        f"Medians of {arguments.rounds} starts in turns, caches warm. {machine_sentence()}",
        "",
        "| | ready after | memory of the UI process |",
        "|---|---|---|",
    ]
    for name, values in rows.items():
        seconds, megabytes = (statistics.median(column) for column in zip(*values, strict=True))
        lines.append(f"| {name} | {seconds:.1f} s | {megabytes:.0f} MB |")
    write_section("ui_start", "\n".join(lines))


if __name__ == "__main__":
    main()
