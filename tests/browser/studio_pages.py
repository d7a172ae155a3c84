"""Starting a real Chromium and a real studio process, for tests that drive the one with the other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Playwright
from waiting import wait_until

from studio.settings import Settings

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def start_chromium(playwright: Playwright) -> Browser:
    """Chromium from STUDIO_BROWSER (launch.py sets it; empty means Playwright's own), else from the usual names."""
    named = os.environ.get("STUDIO_BROWSER")
    if named is None:
        names = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
        named = next(filter(None, map(shutil.which, names)), "")
    return playwright.chromium.launch(executable_path=named or None, args=CHROMIUM_ARGUMENTS)


@dataclass
class Pages:
    """A studio process that serves the pages."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """End it as a crash would: no goodbye."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)


def start_pages(settings: Settings) -> Pages:
    """`studio --no-browser` on the settings' home; returns when it has said its address."""
    settings.make_folders()
    said = settings.logs / "terminal.txt"
    with open(said, "w", encoding="utf-8") as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "studio", "--home", str(settings.home), "--no-browser"],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def address() -> str:
        if process.poll() is not None:
            pytest.fail(f"The studio ended as it started: {said.read_text(encoding='utf-8')}")
        found = re.search(r"http://\S+", said.read_text(encoding="utf-8"))
        return found.group(0) if found else ""

    return Pages(process, wait_until(address, 60, "the studio's address"))
