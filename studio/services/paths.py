"""Which local paths a person may name on a page.

On loopback only this machine's own user reaches the pages: any regular file or folder of theirs, never /proc, /sys or
/dev (they hold secrets such as the environment, and some never end). Once exposed by --host or --share: the studio's
own folders and those given with --allow-path, nothing else. A relative path counts from the studio's home: that is
where the processes run that will read it.
"""

from __future__ import annotations

import os
import re
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
    """Raise Refused if `name` is a path that may not be read. What does not exist is told of later, unless exposed."""
    try:
        resolved = (settings.home / os.path.expanduser(name)).resolve()
        found = resolved.stat()
    except (OSError, ValueError, RuntimeError):
        if settings.exposed and not _HUB_NAME.fullmatch(name):
            raise Refused(_CLOSED) from None  # the same sentence, so that nobody learns what exists
        return
    if settings.exposed:
        allowed = (settings.models, settings.uploads, settings.runs, *settings.allow_paths)
        if not any(resolved.is_relative_to(folder.resolve()) for folder in allowed):
            raise Refused(_CLOSED)
    if any(resolved.is_relative_to(folder) for folder in SYSTEM_FOLDERS):
        raise Refused("Files of the system (/proc, /sys, /dev) are not read.")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise Refused(f"{name} is no regular file or folder.")
    if found.st_uid != os.getuid() and not os.access(resolved, os.R_OK):
        raise Refused(f"{name} belongs to another user of this machine, who does not let others read it.")


def from_here(recipe: Recipe, folder: Path) -> Recipe:
    """`recipe` with the paths that lie in `folder` made absolute: for a person in a terminal there."""
    changes = {}
    if recipe.model.base_model != STARTER_MODEL and os.path.exists(folder / recipe.model.base_model):
        changes["model.base_model"] = str(folder / recipe.model.base_model)
    if os.path.exists(folder / recipe.data.dataset):
        changes["data.dataset"] = str(folder / recipe.data.dataset)
    return recipe.changed(**changes)


_HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_CLOSED = (
    "This studio can be reached by others, so only its own folders, uploads and Hub names can be used. The person who "
    "started it can open a folder with --allow-path."
)
