"""The datasets that a person brought: files that were uploaded, and registered datasets.

A registered dataset is a recipe's data and cleaning under a name, with what the content was then:
`datasets/registered/<slug>.json` in the studio's home. It holds no rows, so forgetting it removes no file. Knows
settings, names and the history's records; reads no row and knows no page.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, field_validator

from studio.errors import InvalidInput, NotFound, Refused
from studio.history import History
from studio.recipe import STARTER_PREFIX, Recipe
from studio.run_folder import now, write_json
from studio.runs import Run
from studio.services import names
from studio.services.paths import dataset_names, is_hub_name
from studio.settings import Settings

log = logging.getLogger("studio")

REGISTERED = "registered"
"""Folder of the registered datasets among the uploads; no upload gets this name."""
PACKED = (".gz", ".zst")
"""Endings behind which another one says what the file is: rows.jsonl.gz."""
UNREAD = (".", "_")
"""How the names of files and folders begin that are passed over in a folder: notes of file browsers and other tools."""
FILES_LOOKED_AT = 10_000
"""Of a folder, how many files are compared with what they were: the list of datasets must not take long."""


@dataclass(frozen=True, kw_only=True)
class RegisteredDataset:
    """One registered dataset. The time is UTC and aware; `data` and `cleaning` are parts of a recipe as JSON."""

    slug: str
    name: str
    licence: str
    created_at: datetime
    fingerprint: str
    """What the content was when it was registered."""
    rows: int
    data: dict[str, Any]
    cleaning: dict[str, Any]
    changed: bool
    """Whether a file has another size or time than when it was registered. Hub and starter datasets are not asked."""
    missing: bool
    """Whether a file is not there any more, or out of reach; then `changed` is true as well."""


class _Parts(BaseModel):
    """The parts of a recipe that are kept, as JSON: whoever uses them checks them as a recipe."""

    data: dict[str, Any]
    cleaning: dict[str, Any]

    @field_validator("data")
    @classmethod
    def _says_which(cls, data: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(data.get("dataset"), str):
            raise ValueError("does not say which dataset")
        return data


class _Kept(BaseModel):
    """What the file of a registered dataset says."""

    name: str
    licence: str
    created_at: AwareDatetime
    fingerprint: str = Field(min_length=1)
    rows: int = Field(ge=0)
    recipe: _Parts
    sources: dict[str, str]
    """Each local file or folder by the name that it has in the recipe -> its state then."""


# -- registered datasets --------------------------------------------------------------------------------------


def registered(settings: Settings) -> list[RegisteredDataset]:
    """All registered datasets, newest first. A file that cannot be read is left where it is, and the log says so."""
    entries = []
    for path in _folder(settings).glob("*.json"):
        try:
            if not path.is_file() or not path.stat().st_size:
                continue  # an empty one is a name taken by a save that is still writing
            kept = _Kept.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("The registered dataset %s is passed over, it cannot be read: %s", path, error)
            continue
        entries.append(_entry(path.stem, kept, settings))
    return sorted(entries, key=lambda entry: (entry.created_at, entry.slug), reverse=True)


def register(
    settings: Settings, name: str, licence: str, recipe: Recipe, fingerprint: str, rows: int
) -> RegisteredDataset:
    """Keep the data and cleaning of `recipe` under `name`. Raises StudioError before anything is written.

    An equal name is kept beside the older one, under a slug with a number.
    """
    name = names.one_line(name)
    if not name:
        raise InvalidInput("A dataset needs a name.", field="name")
    if not fingerprint:
        raise InvalidInput(
            "This dataset has not been read to its end yet, so a later change could not be noticed. "
            "Check all of its rows, then save it."
        )
    kept = _Kept(
        name=name,
        licence=names.one_line(licence),
        created_at=now(),
        fingerprint=fingerprint,
        rows=rows,
        recipe=_Parts(data=recipe.data.model_dump(mode="json"), cleaning=recipe.cleaning.model_dump(mode="json")),
        sources=_states(recipe, settings),
    )
    try:
        _folder(settings).mkdir(mode=0o700, exist_ok=True)
        path = _new_file(_folder(settings), names.slug(name), ".json")
        try:
            write_json(path, kept.model_dump(mode="json"))
        except BaseException:
            path.unlink()  # nothing is in it: the name is free again
            raise
    except OSError as error:
        raise Refused(
            f"The dataset could not be saved: {error.strerror}. Check that the disk has room and that "
            f"{_folder(settings)} can be written, then save it again."
        ) from error
    return _entry(path.stem, kept, settings)


def forget(settings: Settings, slug: str) -> None:
    """Remove a registered dataset from the list; its files and its runs stay. Raises NotFound for any other slug."""
    gone = NotFound("This dataset is not registered any more. It may have been removed in another window.")
    if slug not in {entry.slug for entry in registered(settings)}:
        raise gone
    try:
        (_folder(settings) / f"{slug}.json").unlink()
    except FileNotFoundError:
        raise gone from None


def runs_of(history: History, entry: RegisteredDataset) -> list[Run]:
    """Those of the newest 200 runs that learned from this dataset, newest first: by its name or by its content."""
    return [run for run in history.runs(limit=200) if _learned_from(run, entry)]


def _learned_from(run: Run, entry: RegisteredDataset) -> bool:
    data = run.recipe.get("data")  # a broken run's recipe may lack it
    same_name = isinstance(data, dict) and data.get("dataset") == entry.data["dataset"]
    return same_name or run.facts.get("dataset_fingerprint") == entry.fingerprint


def _folder(settings: Settings) -> Path:
    return settings.uploads / REGISTERED


def _entry(slug: str, kept: _Kept, settings: Settings) -> RegisteredDataset:
    """What a file says, compared with what is on the disk now."""
    states = {name: _state(name, settings) for name in kept.sources}
    return RegisteredDataset(
        slug=slug,
        name=names.one_line(kept.name),
        licence=names.one_line(kept.licence),
        created_at=kept.created_at.astimezone(UTC),
        fingerprint=kept.fingerprint,
        rows=kept.rows,
        data=kept.recipe.data,
        cleaning=kept.recipe.cleaning,
        changed=states != kept.sources,
        missing=None in states.values(),
    )


# -- what a file or folder was --------------------------------------------------------------------------------


def _states(recipe: Recipe, settings: Settings) -> dict[str, str]:
    """The state of each file or folder that the recipe reads. Raises InvalidInput when one is not there."""
    states = {}
    for name in dataset_names(recipe):
        if name.startswith(STARTER_PREFIX):
            continue
        state = _state(name, settings)
        if state is not None:
            states[name] = state
        elif not is_hub_name(name):
            raise InvalidInput(
                f"There is no file or folder {name} (any more). Choose where it lies now, then save the dataset.",
                field="data.dataset",
            )
    return states


def _state(name: str, settings: Settings) -> str | None:
    """A digest of names, sizes and times, the content unread; None when there is nothing, or out of reach."""
    try:
        source = settings.home / os.path.expanduser(name)  # where the processes run that read it
        is_folder = stat.S_ISDIR(source.stat().st_mode)
    except (OSError, ValueError):
        return None
    digest = hashlib.sha256()
    for file in islice(_files_under(source), FILES_LOOKED_AT) if is_folder else [source]:
        try:
            found = file.stat()
            seen = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            seen = "gone"  # deleted since the folder was listed, or a link to nothing
        digest.update(f"{os.path.relpath(file, source)}\0{seen}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files_under(folder: Path) -> Iterator[Path]:
    """The files in a folder in an order that does not change, without those that no dataset is read from."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(UNREAD))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith(UNREAD))


# -- uploads --------------------------------------------------------------------------------------------------


def take_upload(settings: Settings, source: Path, original_name: str) -> Path:
    """Keep an uploaded file among the studio's datasets under a harmless name; an equal name gets a number."""
    target = _new_file(settings.uploads, *_stem_and_ending(original_name))
    try:
        shutil.copyfile(source, target)
    except BaseException:
        target.unlink()  # half a file would look like a whole one
        raise
    return target


def uploads(settings: Settings) -> list[Path]:
    """The files that were uploaded, newest first."""
    files = [path for path in settings.uploads.iterdir() if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)


def _stem_and_ending(original_name: str) -> tuple[str, str]:
    """A file's name as a harmless one, in two parts; a packed file keeps both endings: ("rows", ".jsonl.gz")."""
    name = Path(original_name)
    stem, ending = name.stem, names.suffix(name.suffix)
    inner = Path(stem)
    if ending in PACKED and names.suffix(inner.suffix):
        stem, ending = inner.stem, names.suffix(inner.suffix) + ending
    slug = names.slug(stem)
    return f"{slug}-1" if slug + ending == REGISTERED else slug, ending


def _new_file(folder: Path, stem: str, suffix: str) -> Path:
    """Create an empty file under a name that is free: two files made at once never get the same one."""
    number = 1
    while True:
        target = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            target.touch(exist_ok=False)
            return target
        except FileExistsError:
            number += 1
