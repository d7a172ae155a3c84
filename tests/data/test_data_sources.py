"""What a dataset's name finds: starter sets, files, folders; and why not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.data import sources
from studio.data.sources import Source, find_source, parse_split, starter_sets
from studio.errors import InvalidInput, NotFound, StudioError
from studio.recipe import DataSource


def find(dataset: Path | str, split: str = "train") -> Source:
    return find_source(DataSource(dataset=str(dataset), split=split))


def refused(dataset: Path | str, split: str = "train") -> str:
    """The sentence that `dataset` is refused with."""
    with pytest.raises(StudioError) as caught:
        find(dataset, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fill(folder: Path, *names: str) -> Path:
    """A folder with files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "a"}\n')
    return folder


def names_of(source: Source) -> tuple[list[str], list[str]]:
    return [file.name for file in source.files], [file.name for file in source.held_out_files]


# -- starter sets ---------------------------------------------------------------------------------------------


def test_a_starter_set_brings_its_held_out_rows() -> None:
    found = find("starter:sentiment")

    assert found.kind == "starter"
    assert names_of(found) == (["train.jsonl"], ["heldout.jsonl"])
    assert found.size_bytes == sum(file.stat().st_size for file in (*found.files, *found.held_out_files))


@pytest.mark.parametrize("name", ["starter:nothing", "starter:", "starter:../datasets/sentiment", "starter:/etc"])
def test_an_unknown_starter_set_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(NotFound, match="sentiment"):
        find(name)
    assert "sentiment" in starter_sets()


# -- files ----------------------------------------------------------------------------------------------------


def test_a_file_is_found_with_its_size(tmp_path: Path) -> None:
    file = fill(tmp_path, "rows.jsonl") / "rows.jsonl"

    assert (find(file).kind, find(file).files, find(file).size_bytes) == ("file", (file,), 14)


def test_a_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fill(tmp_path, "rows.jsonl")))

    assert find("~/rows.jsonl").files == (tmp_path / "rows.jsonl",)


@pytest.mark.parametrize(
    "name",
    ["nowhere.jsonl", "nowhere.csv.gz", "nowhere.zip", "/nowhere/rows.csv", "~nobody/rows.csv", "./rows", "a/b/c"],
)
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    assert refused(name) == f"There is no file {name}. Check the path, or upload the file."


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("rows.zip", "Unpack it first"),
        ("rows.tar.gz", "is an archive of files. Unpack it first"),
        ("rows.parquet.gz", "Unpack it first"),
        ("rows.gz", "Unpack it first"),
        ("rows.pkl", "can run code when it is read"),
        ("model.bin", "can run code when it is read"),
        ("rows.xlsx", "Save the sheet as csv"),
        ("rows.docx", "files of this kind are not read. Bring one of .arrow, .csv, .json, .jsonl"),
        ("noending", "files of this kind are not read"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(name: str, fragment: str, tmp_path: Path) -> None:
    assert fragment in refused(fill(tmp_path, name) / name)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()

    assert refused(tmp_path / "empty.jsonl") == "empty.jsonl is empty (0 bytes). Check that the upload was whole."


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")

    assert "There is no file" in refused(tmp_path / "pipe.jsonl")


def test_a_name_that_no_disk_knows_is_refused() -> None:
    assert "cannot be read" in refused("x" * 900 + ".jsonl")


def test_the_identity_changes_with_the_content(tmp_path: Path) -> None:
    file = fill(tmp_path, "rows.jsonl") / "rows.jsonl"
    before = find(file).identity
    assert find(file).identity == before

    os.utime(file, ns=(1, 1))

    assert find(file).identity != before


# -- folders --------------------------------------------------------------------------------------------------


def test_the_files_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    fill(tmp_path, "b.jsonl", "a.jsonl", "more/c.jsonl.gz", "README.md", ".hidden.csv", "_note.csv", "picture.png")

    assert find(tmp_path).kind == "folder"
    assert names_of(find(tmp_path)) == (["a.jsonl", "b.jsonl", "c.jsonl.gz"], [])


def test_files_called_test_or_validation_are_held_out(tmp_path: Path) -> None:
    fill(tmp_path, "train-0.parquet", "train-1.parquet", "test-0.parquet", "validation.parquet", "testimonials.parquet")

    training, held_out = names_of(find(tmp_path))

    assert training == ["testimonials.parquet", "train-0.parquet", "train-1.parquet"]
    assert held_out == ["test-0.parquet", "validation.parquet"]


def test_a_part_of_a_folder_can_be_named(tmp_path: Path) -> None:
    fill(tmp_path, "train.csv", "test.csv")

    assert names_of(find(tmp_path, "test[:10]")) == (["test.csv"], [])
    assert "has no part called dev, only test, train." in refused(tmp_path, "dev")


def test_a_folder_of_test_files_only_is_read(tmp_path: Path) -> None:
    assert names_of(find(fill(tmp_path, "test-a.csv", "test-b.csv"))) == (["test-a.csv", "test-b.csv"], [])


@pytest.mark.parametrize(
    ("names", "fragment"),
    [
        (("a.csv", "b.jsonl"), "holds files of several kinds: csv, jsonl. Name one file"),
        ((), "holds no data files. Bring one of"),
        (("a.zip",), "holds no data files. a.zip is an archive of files. Unpack it first"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused(names: tuple[str, ...], fragment: str, tmp_path: Path) -> None:
    assert fragment in refused(fill(tmp_path, *names))


def test_a_folder_of_everything_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_FILES", 3)

    assert "holds more than 3 files" in refused(fill(tmp_path, "a.csv", "b.csv", "c.csv", "d.csv"))


def test_a_saved_dataset_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))

    assert "data-00000-of-00001.arrow is missing" in refused(tmp_path)


def test_a_saved_dataset_with_a_broken_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")

    assert "cannot be read" in refused(tmp_path)


# -- slices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("train", (0, 200)),
        ("train[:10]", (0, 10)),
        ("train[10:]", (10, 200)),
        ("train[10:20]", (10, 20)),
        ("train[10%:20%]", (20, 40)),
        ("train[-10:]", (190, 200)),
        ("train[:50%]", (0, 100)),
        ("train[20:10]", (20, 20)),
        ("train[:9999]", (0, 200)),
    ],
)
def test_a_slice_names_rows(split: str, rows: tuple[int, int]) -> None:
    assert parse_split(split).name == "train"
    assert parse_split(split).bounds(200) == rows


@pytest.mark.parametrize("split", ["train[", "train[1]", "train[a:b]", "train[1:2:3]", "[:10]", "train]"])
def test_what_is_no_slice_is_refused(split: str) -> None:
    with pytest.raises(InvalidInput, match=r"is no split: write train, train\[:1000\]") as caught:
        parse_split(split)
    assert caught.value.field == "data.split"
