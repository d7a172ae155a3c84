"""What the tests of the data room share: a home without a model, a private datasets cache, and files to read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.data.store import RowStore, open_store
from studio.recipe import DataSource
from studio.settings import Settings, read_settings

OpenFile = Callable[..., RowStore]


@pytest.fixture(autouse=True, scope="session")
def private_datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The `datasets` library keeps a copy of what it reads: not in the developer's home."""
    folder = tmp_path_factory.mktemp("datasets-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(folder))  # read when the library is imported, by a test that needs it
        if "datasets" in sys.modules:
            patch.setattr(sys.modules["datasets"].config, "HF_DATASETS_CACHE", folder)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A studio home of its own; no model, which reading needs as little as torch."""
    made = read_settings(tmp_path / "home")
    made.make_folders()
    return made


@pytest.fixture
def open_file(tmp_path: Path, settings: Settings) -> OpenFile:
    """Write a file and read it: `open_file("rows.jsonl", b"...", max_rows=3)`."""

    def make(name: str, content: bytes | str, **values: Any) -> RowStore:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_store(DataSource(dataset=str(file), **values), settings)

    return make


@pytest.fixture
def in_a_process() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program in a fresh Python, to measure it or to kill it."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)

    return run
