"""Fetch the starter model before the pages open, in a process of its own: the pages never load a model library."""

from __future__ import annotations

import subprocess

from studio.services.processes import studio_command
from studio.settings import Settings


def fetch_in_terminal(settings: Settings) -> bool:
    """Run `studio starter` with its progress in this terminal. False if it failed; it has then said why, and the pages
    open without a starter model and say so.
    """
    command = studio_command("--home", str(settings.home), "starter")
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 0
