"""Which local paths a person may name on a page.

On loopback only this machine's own user reaches the pages: any regular file or folder of theirs, never /proc, /sys or
/dev (they hold secrets such as the environment, and some never end). Once exposed by --host or --share: the studio's
own folders and those given with --allow-path, nothing else, also when a link inside a folder leads there. A relative
path counts from the studio's home: that is where the processes run that will read it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from studio.errors import Refused
from studio.recipe import STARTER_MODEL, STARTER_PREFIX, Recipe
from studio.settings import Settings

SYSTEM_FOLDERS = tuple(Path(name) for name in ("/proc", "/sys", "/dev"))
MOST_FILES = 10_000
"""Of a folder that others may name as a dataset: each of its files is looked at first."""


def dataset_names(recipe: Recipe) -> list[str]:
    """Every dataset that a recipe reads: the one that it is about, and those mixed into it."""
    return [recipe.data.dataset, *(source.dataset for source in recipe.data.mix)]


def is_hub_name(name: str) -> bool:
    """Whether `name` has the form of one on the Hub; a file beside the studio may have it too."""
    return _HUB_NAME.fullmatch(name) is not None


def check_recipe_paths(recipe: Recipe, settings: Settings) -> None:
    """Refuse a recipe in which the model or any dataset is a path that may not be read.

    Hub names and starters pass.
    """
    if recipe.model.base_model != STARTER_MODEL:
        check_path(recipe.model.base_model, settings)
    for name in dataset_names(recipe):
        if not name.startswith(STARTER_PREFIX):
            check_path(name, settings)
            if settings.exposed:
                _check_links(name, settings)


def check_path(name: str, settings: Settings) -> None:
    """Raise Refused if `name` is a path that may not be read. What does not exist is told of later, unless exposed."""
    try:
        resolved = (settings.home / os.path.expanduser(name)).resolve()
        found = resolved.stat()
    except (OSError, ValueError, RuntimeError):
        if settings.exposed and not is_hub_name(name):
            raise Refused(_CLOSED) from None  # the same sentence, so that nobody learns what exists
        return
    if settings.exposed and not _is_open(resolved, settings):
        raise Refused(_CLOSED)
    if any(resolved.is_relative_to(folder) for folder in SYSTEM_FOLDERS):
        raise Refused("Files of the system (/proc, /sys, /dev) are not read.")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise Refused(f"{name} is no regular file or folder.")
    if found.st_uid != os.getuid() and not os.access(resolved, os.R_OK):
        raise Refused(f"{name} belongs to another user of this machine, who does not let others read it.")


def _is_open(resolved: Path, settings: Settings) -> bool:
    """Whether a path lies in one of the folders that others may name files of."""
    allowed = (settings.models, settings.uploads, settings.runs, *settings.allow_paths)
    return any(resolved.is_relative_to(folder.resolve()) for folder in allowed)


def _check_links(name: str, settings: Settings) -> None:
    """Raise Refused if `name` is a folder in which a link leads to where others may not read."""
    entries = 0
    for root, folders, files in os.walk(settings.home / os.path.expanduser(name), followlinks=True):
        entries += len(folders) + len(files)
        if entries > MOST_FILES:  # also where links lead in a circle
            raise Refused(
                f"{name} holds more than {MOST_FILES} files, and links among them could lead anywhere. "
                "Name a folder inside it, or a single file."
            )
        for path in (Path(root, entry) for entry in (*folders, *files)):
            if path.is_symlink() and not _is_open(Path(os.path.realpath(path)), settings):
                raise Refused(_CLOSED)


def from_here(recipe: Recipe, folder: Path) -> Recipe:
    """`recipe` with the paths that lie in `folder` made absolute: for a person in a terminal there."""

    def absolute(name: str) -> str:
        return str(folder / name) if os.path.exists(folder / name) else name

    changes: dict[str, Any] = {"data.dataset": absolute(recipe.data.dataset)}
    mix = recipe.data.model_dump(mode="json")["mix"]
    changes["data.mix"] = [{**source, "dataset": absolute(source["dataset"])} for source in mix]
    if recipe.model.base_model != STARTER_MODEL:
        changes["model.base_model"] = absolute(recipe.model.base_model)
    return recipe.changed(**changes)


_HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_CLOSED = (
    "This studio can be reached by others, so only its own folders, uploads and Hub names can be used. The person who "
    "started it can open a folder with --allow-path."
)
