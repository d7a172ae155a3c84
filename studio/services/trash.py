"""Deleted runs: their folders, moved aside on the same disk until the trash is emptied. Knows folders only."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.errors import NotFound, Refused
from studio.run_folder import RunFolder, now
from studio.settings import Settings


def put(folder: RunFolder, settings: Settings) -> Path:
    """Take a run's folder out of the runs; the history forgets it at the supervisor's next tick."""
    target = settings.trash / f"{folder.id}.{now().strftime('%Y%m%d-%H%M%S')}"
    shutil.move(folder.path, target)
    return target


def take_back(run_id: str, settings: Settings) -> None:
    """Bring a run back. Raises NotFound when it is not there any more, Refused when it is back already."""
    found = sorted(path for path in settings.trash.iterdir() if path.name.rpartition(".")[0] == run_id)
    if not found:
        raise NotFound("This run is not in the trash any more.")
    if (settings.runs / run_id).exists():
        raise Refused("This run is back already: it is in the list of runs.")
    shutil.move(found[-1], settings.runs / run_id)


def size_bytes(settings: Settings) -> int:
    """Disk that emptying would free."""
    return sum(file.stat().st_size for file in settings.trash.rglob("*") if file.is_file())


def empty(settings: Settings) -> int:
    """Remove everything in the trash for good; returns the bytes that it took."""
    freed = size_bytes(settings)
    for path in settings.trash.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()  # no run, but in the way all the same
    return freed
