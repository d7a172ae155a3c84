"""Writes benchmarks/RESULTS.md: one section a benchmark, replaced when that benchmark runs again."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import re
from pathlib import Path

import psutil

FILE = Path(__file__).resolve().parent / "RESULTS.md"
HEAD = """# Results

Made by the scripts in this folder; each measures its peer in the same run on the same machine. Times on a small shared
machine vary: read the ratios.
"""


def machine_sentence() -> str:
    """What this was measured on, with the versions that matter."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "trl", "gradio")
    )
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"Measured {datetime.date.today():%Y-%m-%d} on {psutil.cpu_count(logical=False)} cores, {memory:.0f} GB, "
        f"Python {platform.python_version()}, {versions}."
    )


def write_section(name: str, text: str) -> None:
    """Print `text` and put it into RESULTS.md under `name`."""
    print(text)
    old = FILE.read_text(encoding="utf-8") if FILE.exists() else HEAD
    section = f"## {name}\n\n{text}\n"
    pattern = re.compile(rf"## {re.escape(name)}\n.*?(?=\n## |\Z)", re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n{section}"
    FILE.write_text(new, encoding="utf-8")
