"""What the commands say in a terminal beside their results: the log, and a progress line that is written over."""

from __future__ import annotations

import logging
import sys


def log_to_terminal(level: int = logging.INFO) -> None:
    """The log of our own processes, for whoever reads worker.log or server.log."""
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(message)s")
    # It tells everybody on every start that an optional package is missing, which we leave out on purpose.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def show_progress(doing: str, done: int, total: int) -> None:
    """One line on the error output that the next one replaces; nothing where nobody watches."""
    if sys.stderr.isatty():
        share = f" {100 * done // total} %" if total else ""
        print(f"\r\033[K{doing}{share}", end="\r", file=sys.stderr, flush=True)
