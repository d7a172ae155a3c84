"""Which local paths a person may name on a page.

On loopback only this machine's own user reaches the pages: any regular file or folder of theirs, never /proc, /sys or
/dev (they hold secrets such as the environment, and some never end). Once exposed by --host or --share: the studio's
own folders and those given with --allow-path, nothing else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from studio.errors import Refused
from studio.recipe import STARTER_MODEL, STARTER_PREFIX, Recipe
from studio.settings import Settings

SYSTEM_FOLDERS = tuple(Path(name) for name in ("/proc", "/sys", "/dev"))


def check_recipe_paths(recipe: Recipe, settings: Settings) -> None:
    """Refuse a recipe whose model or dataset is a path that may not be read. Hub names and starters pass."""
    if recipe.model.base_model != STARTER_MODEL:
        check_path(recipe.model.base_model, settings)
    if not recipe.data.dataset.startswith(STARTER_PREFIX):
        check_path(recipe.data.dataset, settings)


def check_path(name: str, settings: Settings) -> None:
    """Raise Refused if `name` is an existing path that may not be read. What does not exist is told of later."""
    path = Path(name).expanduser()
    try:
        resolved = path.resolve()
        mode = resolved.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        if settings.exposed and (path.is_absolute() or ".." in path.parts):
            raise Refused(_CLOSED) from None  # the same sentence, so that nobody learns what exists
        return
    if any(resolved.is_relative_to(folder) for folder in SYSTEM_FOLDERS):
        raise Refused("Files of the system (/proc, /sys, /dev) are not read.")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Refused(f"{name} is no regular file or folder.")
    if settings.exposed:
        allowed = (settings.models, settings.uploads, settings.runs, *settings.allow_paths)
        if not any(resolved.is_relative_to(folder.resolve()) for folder in allowed):
            raise Refused(_CLOSED)
    elif resolved.stat().st_uid != os.getuid() and not os.access(resolved, os.R_OK):
        raise Refused(f"{name} belongs to another user of this machine.")


_CLOSED = (
    "This studio can be reached by others, so only its own folders, uploads and Hub names can be used. The person who "
    "started it can open a folder with --allow-path."
)
