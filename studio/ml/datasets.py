"""Read a dataset, recognise its format and turn it into examples; split off the held-out rows.

    starter:NAME   assets/datasets/NAME/train.jsonl (and heldout.jsonl)
    a file         jsonl, json, csv, parquet
    owner/name     a dataset on the Hugging Face Hub (data files only, loading scripts are refused by `datasets`)

Training, preview and evaluation all read through here, so that they see the same rows.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow

from studio.errors import InvalidInput, NotFound
from studio.messages import Example, Format, read_row, recognise
from studio.ml.hub import check_dataset
from studio.recipe import STARTER_PREFIX, DataPart
from studio.starter_sets import FOLDER

BUILDERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
"""File ending -> the `datasets` builder that reads it."""
LARGEST_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Data:
    """A dataset, read: examples to train on, examples held out, and what they are."""

    train: list[Example]
    held_out: list[Example]
    form: Format
    fingerprint: str
    """SHA-256 of the files, or the Hub's own fingerprint: the same content has the same one."""
    raw: list[dict[str, Any]]
    """The first training rows as they are in the file."""


def starter_sets() -> list[str]:
    """Names of the starter datasets, for `starter:NAME`."""
    return sorted(folder.name for folder in FOLDER.iterdir() if (folder / "train.jsonl").is_file())


def load(part: DataPart, seed: int, *, max_rows: int = 0) -> Data:
    """Read what `part` names and hold out its rows.

    `max_rows` reads no more than the first rows (for a preview); 0 leaves it to the recipe. Raises StudioError naming
    the row or the file that is wrong.
    """
    limit = max_rows or part.max_rows
    table, held_table, fingerprint = _tables(part)
    if len(table) == 0:
        raise InvalidInput(f"{part.dataset} has no rows. Check that the file is the right one.", field="data.dataset")
    form = recognise(table[0])
    rows = table.select(range(min(limit, len(table)))) if limit else table
    examples = [read_row(row, form, number) for number, row in enumerate(rows, start=1)]
    raw = list(rows.select(range(min(20, len(rows)))))
    if held_table is not None:
        held_form = recognise(held_table[0])
        held = [read_row(row, held_form, number) for number, row in enumerate(held_table, start=1)]
        return Data(examples, held[: part.held_out_rows], form, fingerprint, raw)
    train, held = hold_out(examples, part.held_out_rows, seed)
    return Data(train, held, form, fingerprint, raw)


def hold_out(examples: Sequence[Example], rows: int, seed: int) -> tuple[list[Example], list[Example]]:
    """(train, held out): `rows` rows drawn with `seed`, at most a fifth of all; the order of the rest is kept."""
    import random

    count = min(rows, int(len(examples) * LARGEST_HELD_OUT_SHARE))
    chosen = set(random.Random(seed).sample(range(len(examples)), count))
    train = [example for number, example in enumerate(examples) if number not in chosen]
    return train, [examples[number] for number in sorted(chosen)]


def _tables(part: DataPart) -> tuple[datasets.Dataset, datasets.Dataset | None, str]:
    """(training rows, held-out rows if the set brings them, fingerprint)."""
    name = part.dataset
    if name.startswith(STARTER_PREFIX):
        folder = FOLDER / name.removeprefix(STARTER_PREFIX)
        if folder.parent != FOLDER or not (folder / "train.jsonl").is_file():
            raise NotFound(f"There is no starter dataset {name}. There are: {', '.join(starter_sets())}.")
        files = [file for file in (folder / "train.jsonl", folder / "heldout.jsonl") if file.is_file()]
        held = _read_file(files[1]) if len(files) > 1 else None
        return _read_file(files[0]), held, _fingerprint(files)
    path = Path(os.path.expanduser(name))
    if path.is_file():
        return _read_file(path), None, _fingerprint([path])
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.suffix in BUILDERS:
        raise InvalidInput(f"There is no file {name}. Check the path, or upload the file.", field="data.dataset")
    try:
        table = datasets.load_dataset(name, split=part.split, revision=part.revision)
    except ValueError as error:  # an unknown split, say
        raise InvalidInput(f"{name}: {_first_line(error)}.", field="data.dataset") from error
    except (OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        check_dataset(name, part.revision)  # tells apart what `datasets` lumps together: gated, misspelt, offline
        raise InvalidInput(f"{name} cannot be read: {_first_line(error)}.", field="data.dataset") from error
    return table, None, str(table._fingerprint)


def _read_file(path: Path) -> datasets.Dataset:
    """The rows of one file. The copy that `datasets` keeps lies in its own cache, keyed by path, size and time."""
    builder = BUILDERS.get(path.suffix.lower())
    if builder is None:
        raise InvalidInput(
            f"{path.name}: files of this kind are not read. Bring one of {', '.join(sorted(BUILDERS))}.",
            field="data.dataset",
        )
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path.name} is empty (0 bytes). Check that the upload was whole.", field="data.dataset")
    if builder != "parquet":
        _check_utf8(path)
    options = _csv_options(path) if builder == "csv" else {}
    try:
        return datasets.load_dataset(builder, data_files=str(path), split="train", **options)
    except (
        datasets.exceptions.DatasetGenerationError,
        pyarrow.ArrowException,
        ValueError,
        StopIteration,
    ) as error:
        if "corresponds to no data" in str(error):
            raise InvalidInput(
                f"{path.name} has no rows. Check that the file is the right one.", field="data.dataset"
            ) from error
        raise InvalidInput(
            f"{path.name} cannot be read as {builder}: {_first_line(error)}. Open it in an editor and look there.",
            field="data.dataset",
        ) from error


def _first_line(error: BaseException) -> str:
    """What was wrong in the first place, in one line without its full stop."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _check_utf8(path: Path) -> None:
    """Raise InvalidInput naming the line that is not UTF-8, which the readers would notice late or not at all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    try:
        with open(path, "rb") as handle:
            for row in handle:
                decoder.decode(row)
                line += 1
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path.name} is not UTF-8 text (line {line}). Save it again as UTF-8.", field="data.dataset"
        ) from error


def _csv_options(path: Path) -> dict[str, Any]:
    """Read every named column as text: pandas would turn an answer 4 into a number and an answer NA into nothing."""
    with open(path, encoding="utf-8-sig", newline="") as handle:
        header = next((row for row in csv.reader(handle) if row), [])
    columns = {name: datasets.Value("string") for name in header if name}
    return {"features": datasets.Features(columns), "keep_default_na": False}


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
