"""What a recipe's dataset names, found but not read: which files, how large, and whether they may have changed.

    starter:NAME   assets/datasets/NAME/train.jsonl (and heldout.jsonl)
    a file         jsonl, json, csv, tsv, parquet, arrow, txt, md; the text ones also packed as .gz or .zst
    a folder       files of one of these kinds in the order of their names, or what `save_to_disk` of datasets wrote
    owner/name     a dataset on the Hugging Face Hub

In a folder, files whose names begin with test, heldout, validation or eval are held out, if there are others.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.data.files.byte_stream import PACKED
from studio.data.files.hub_rows import find_commit
from studio.errors import InvalidInput, NotFound, StudioError
from studio.recipe import STARTER_PREFIX, DataSource
from studio.starter_sets import FOLDER

FAMILIES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
    ".md": "text",
}
"""File ending -> which reader reads it."""
MOST_FILES = 10_000

_TABLES = {"parquet", "arrow"}
_ARCHIVES = {".zip", ".tar", ".tgz", ".rar", ".7z", ".bz2", ".xz"}
_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".npz", ".joblib"}
_SHEETS = {".xlsx", ".xls", ".ods"}
_HELD_OUT = re.compile(r"(test|held-?_?out|validation|valid|val|dev|eval)(?![a-z])")
_SLICE = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


@dataclass(frozen=True)
class Source:
    """What a DataSource names."""

    name: str
    """As in the recipe."""
    kind: Literal["starter", "file", "folder", "arrow", "hub"]
    files: tuple[Path, ...]
    """Data files in reading order; empty for the Hub."""
    size_bytes: int
    """Of all files; 0 for the Hub, which is not asked."""
    identity: str
    """Changes when the content may have changed: a hash over paths, sizes and times, or the Hub's commit."""
    held_out_files: tuple[Path, ...] = ()
    commit: str = ""
    """Of the Hub; empty without the network."""


@dataclass(frozen=True)
class Slice:
    """Which rows of a part: train[10%:20%]. Counts good rows; negative numbers count from the end."""

    name: str
    start: str = ""
    stop: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all rows are meant."""
        return not self.start and not self.stop

    @property
    def needs_total(self) -> bool:
        """Whether one must know how many rows there are to know which are meant."""
        return any(mark.startswith("-") or mark.endswith("%") for mark in (self.start, self.stop))

    def bounds(self, total: int) -> tuple[int, int]:
        """(first row, row after the last) of `total` rows."""
        start, stop, _ = slice(_row(self.start, total), _row(self.stop, total)).indices(total)
        return start, max(start, stop)


def _row(mark: str, total: int) -> int | None:
    if not mark:
        return None
    return round(total * int(mark[:-1]) / 100) if mark.endswith("%") else int(mark)


def parse_split(split: str) -> Slice:
    """The name and the slice in `split`. Raises InvalidInput."""
    found = _SLICE.fullmatch(split.strip())
    if found is None:
        raise InvalidInput(f"{split} is no split: write train, train[:1000] or train[10%:20%].", field="data.split")
    return Slice(found["name"], found["start"] or "", found["stop"] or "")


def family_of(path: Path) -> str:
    """Which reader reads a file. Raises InvalidInput for what is not read, with what to do instead."""
    endings = [suffix.lower() for suffix in path.suffixes]
    packed = bool(endings) and endings[-1] in PACKED
    ending = endings[-2] if packed and len(endings) > 1 else (endings[-1] if endings else "")
    family = FAMILIES.get(ending)
    if family is None or (packed and family in _TABLES):
        raise InvalidInput(_not_read(path, ending, packed), field="data.dataset")
    return family


def _not_read(path: Path, ending: str, packed: bool) -> str:
    if ending in _ARCHIVES:
        return f"{path.name} is an archive of files. Unpack it first and name the file or folder in it."
    if packed:
        return f"{path.name} holds no text that is read packed. Unpack it first."
    if ending in _PICKLES:
        return (
            f"{path.name} may be a pickle, which can run code when it is read, so the studio does not open it. Save "
            "the data as jsonl or parquet."
        )
    if ending in _SHEETS:
        return f"{path.name} is a spreadsheet. Save the sheet as csv and name that file."
    return f"{path.name}: files of this kind are not read. Bring one of {', '.join(sorted(FAMILIES))}."


def starter_sets() -> list[str]:
    """Names of the starter datasets, for `starter:NAME`."""
    return sorted(folder.name for folder in FOLDER.iterdir() if (folder / "train.jsonl").is_file())


def find_source(part: DataSource) -> Source:
    """Find what `part` names. Raises StudioError in a sentence."""
    name = part.dataset
    split = parse_split(part.split).name if "+" not in part.split else part.split
    try:
        if name.startswith(STARTER_PREFIX):
            return _starter(name)
        path = Path(os.path.expanduser(name))
        if path.is_file():
            family_of(path)
            return _of_files(name, "file", [path])
        if path.is_dir():
            return _folder(name, path, split)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(f"{name} cannot be read: {reason}.", field="data.dataset") from error
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or _looks_like_a_file(path):
        raise InvalidInput(f"There is no file {name}. Check the path, or upload the file.", field="data.dataset")
    commit = find_commit(name, part.revision)
    identity = _hash([name, part.config, commit or part.revision, part.split])
    return Source(name, "hub", (), 0, identity, commit=commit)


def _looks_like_a_file(path: Path) -> bool:
    return path.suffix.lower() in {*FAMILIES, *PACKED, *_ARCHIVES, *_PICKLES, *_SHEETS}


def _starter(name: str) -> Source:
    folder = FOLDER / name.removeprefix(STARTER_PREFIX)
    if folder.parent != FOLDER or not (folder / "train.jsonl").is_file():
        raise NotFound(f"There is no starter dataset {name}. There are: {', '.join(starter_sets())}.")
    held_out = [file for file in [folder / "heldout.jsonl"] if file.is_file()]
    return _of_files(name, "starter", [folder / "train.jsonl"], held_out)


def _of_files(
    name: str,
    kind: Literal["starter", "file", "folder", "arrow"],
    files: list[Path],
    held_out: Iterable[Path] = (),
) -> Source:
    held_out = tuple(held_out)
    sizes = [(os.fspath(file.absolute()), file.stat()) for file in (*files, *held_out)]
    size = sum(stat.st_size for _, stat in sizes)
    if size == 0:
        shown = files[0].name if len(files) == 1 else name
        raise InvalidInput(f"{shown} is empty (0 bytes). Check that the upload was whole.", field="data.dataset")
    identity = _hash([kind, len(held_out), *((path, stat.st_size, stat.st_mtime_ns) for path, stat in sizes)])
    return Source(name, kind, tuple(files), size, identity, held_out)


def _hash(values: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()


# -- folders --------------------------------------------------------------------------------------------------


def _folder(name: str, folder: Path, split: str) -> Source:
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _saved_to_disk(name, folder, split)
    files = _data_files(name, folder)
    parts: dict[str, list[Path]] = {}
    for file in files:
        found = _HELD_OUT.match(file.relative_to(folder).as_posix().lower())
        parts.setdefault(found[1] if found else "train", []).append(file)
    if split in parts and split != "train":
        return _of_files(name, "folder", parts[split])
    if split not in ("train", *parts):
        raise InvalidInput(
            f"{name} has no part called {split}, only {', '.join(sorted(parts))}.",
            field="data.split",
        )
    if "train" not in parts:
        return _of_files(name, "folder", files)
    held_out = [file for part, some in parts.items() if part != "train" for file in some]
    return _of_files(name, "folder", parts["train"], held_out)


def _data_files(name: str, folder: Path) -> list[Path]:
    """The files of a folder's one kind, by name. Notes in txt and md do not count beside data."""
    by_family: dict[str, list[Path]] = {}
    unread: list[StudioError] = []
    found = list(itertools.islice((path for path in folder.rglob("*") if path.is_file()), MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise InvalidInput(
            f"{name} holds more than {MOST_FILES:,} files. Join them into fewer, or name a folder within it.",
            field="data.dataset",
        )
    for file in sorted(found):
        if any(part.startswith((".", "_")) for part in file.relative_to(folder).parts):
            continue
        try:
            by_family.setdefault(family_of(file), []).append(file)
        except InvalidInput as error:
            unread.append(error)
    if len(by_family) > 1:
        by_family.pop("text", None)
    if len(by_family) > 1:
        raise InvalidInput(
            f"{name} holds files of several kinds: {', '.join(sorted(by_family))}. Name one file, or a folder with "
            "files of one kind.",
            field="data.dataset",
        )
    if not by_family:
        reason = f" {unread[0]}" if len(unread) == 1 else f" Bring one of {', '.join(sorted(FAMILIES))}."
        raise InvalidInput(f"{name} holds no data files.{reason}", field="data.dataset")
    return next(iter(by_family.values()))


def _saved_to_disk(name: str, folder: Path, split: str) -> Source:
    """What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote: state.json lists the files of a part."""
    if not (folder / "dataset_dict.json").is_file():
        return _of_files(name, "arrow", _arrow_files(folder))
    splits = [str(part) for part in json.loads((folder / "dataset_dict.json").read_text())["splits"]]
    if split not in splits:
        raise InvalidInput(f"{name} has no part called {split}. There are: {', '.join(splits)}.", field="data.split")
    held_out = [part for part in splits if part != split and _HELD_OUT.match(part.lower())] if split == "train" else []
    files = [file for part in held_out for file in _arrow_files(folder / part)]
    return _of_files(name, "arrow", _arrow_files(folder / split), files)


def _arrow_files(folder: Path) -> list[Path]:
    listed = json.loads((folder / "state.json").read_text())["_data_files"]
    files = [folder / Path(str(file["filename"])).name for file in listed]
    for file in files:
        if not file.is_file():
            raise InvalidInput(f"{file.name} is missing in {folder.name}. Copy the whole folder.", field="data.dataset")
    return files
