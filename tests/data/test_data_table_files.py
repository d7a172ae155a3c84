"""Parquet and Arrow: values that JSON lacks, label names, what `datasets` saves, and files that are something else."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from studio.data.store import RowStore, first_rows, open_store
from studio.errors import InvalidInput
from studio.recipe import DataSource
from studio.settings import Settings

OpenFile = Callable[..., RowStore]
ROWS = [{"text": f"row {n}", "n": n} for n in range(2_500)]


def write_arrow(path: Path, table: Any, new: Any = pyarrow.ipc.new_file) -> None:
    """Write an Arrow file in the file or the stream format."""
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=700)


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_the_same_rows_come_from_every_table(kind: str, tmp_path: Path, settings: Settings) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    path = tmp_path / ("rows.parquet" if kind == "parquet" else "rows.arrow")
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=900)
    else:
        write_arrow(path, table, pyarrow.ipc.new_file if kind == "arrow file" else pyarrow.ipc.new_stream)

    store = open_store(DataSource(dataset=str(path)), settings)

    assert store.rows(range(len(store))) == ROWS
    assert store.facts.columns == ("text", "n")
    assert first_rows(DataSource(dataset=str(path)), 7).rows == ROWS[:7]


def test_values_that_json_lacks_become_text_and_numbers(tmp_path: Path, settings: Settings) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8, 9)
    row = {
        "day": day.date(),
        "moment": day,
        "price": decimal.Decimal("1.10"),
        "blob": b"x" * 1234,
        "image": {"bytes": b"\x89PNG", "path": "a.png"},
        "lasting": datetime.timedelta(seconds=90),
        "nan": float("nan"),
        "nothing": None,
        "numbers": [1, 2],
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "rows.parquet")

    assert open_store(DataSource(dataset=str(tmp_path / "rows.parquet")), settings).rows([0]) == [
        {
            "day": "2024-05-06",
            "moment": "2024-05-06T07:08:09",
            "price": "1.10",
            "blob": "(1,234 bytes)",
            "image": {"bytes": "(4 bytes)", "path": "a.png"},
            "lasting": "0:01:30",
            "nan": None,
            "nothing": None,
            "numbers": [1, 2],
        }
    ]


def test_a_value_that_python_cannot_hold_is_one_bad_row(tmp_path: Path, settings: Settings) -> None:
    days = pyarrow.array([0, 10**15, 0], pyarrow.timestamp("s"))
    pyarrow.parquet.write_table(pyarrow.table({"day": days}), tmp_path / "rows.parquet")

    store = open_store(DataSource(dataset=str(tmp_path / "rows.parquet")), settings)

    assert (len(store), store.facts.bad_rows, store.facts.bad[0].line) == (2, 1, 2)
    assert "a value in it cannot be shown" in store.facts.bad[0].reason


@pytest.mark.parametrize("name", ["fake.parquet", "fake.arrow"])
@pytest.mark.parametrize("content", [b"hello", b"PAR1" + b"\0" * 100, b"ARROW1\0\0" + b"\0" * 100])
def test_a_file_that_only_has_the_ending_is_refused(name: str, content: bytes, open_file: OpenFile) -> None:
    with pytest.raises(
        InvalidInput, match=f"{name} cannot be read as (parquet|arrow): .*Check that the upload was whole"
    ):
        open_file(name, content)


def test_a_parquet_that_is_cut_off_is_refused(tmp_path: Path, open_file: OpenFile) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "whole.parquet")

    with pytest.raises(InvalidInput, match=r"cut\.parquet cannot be read as parquet"):
        open_file("cut.parquet", (tmp_path / "whole.parquet").read_bytes()[:-100])


def test_a_table_without_rows_is_refused(tmp_path: Path, settings: Settings) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "none.parquet")

    with pytest.raises(InvalidInput, match=r"none\.parquet has no rows"):
        open_store(DataSource(dataset=str(tmp_path / "none.parquet")), settings)


def test_a_damaged_arrow_file_does_not_end_the_process(tmp_path: Path, settings: Settings) -> None:
    """Its second text ends before it begins; pyarrow follows such places unless it is told to look first."""
    file = tmp_path / "rows.arrow"
    write_arrow(file, pyarrow.table({"text": ["a", "b", "c"]}), pyarrow.ipc.new_stream)
    whole, damaged = (numpy.array(places, "<i4").tobytes() for places in ([0, 1, 2, 3], [0, 1, -9_999, 3]))
    assert whole in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(whole, damaged))

    store = open_store(DataSource(dataset=str(file)), settings)

    assert store.rows(range(len(store))) == [{"text": "a"}]
    assert [bad.line for bad in store.facts.bad] == [2, 3]


# -- what `datasets` saves ------------------------------------------------------------------------------------


@pytest.fixture
def labelled() -> Any:
    """A dataset with label names, as the `datasets` library makes it."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))
    return datasets.Dataset.from_list([{"text": f"row {n}", "label": n % 2} for n in range(20)], features=features)


def test_label_names_are_found_in_every_kind_of_table(labelled: Any, tmp_path: Path, settings: Settings) -> None:
    labelled.to_parquet(tmp_path / "rows.parquet")
    labelled.save_to_disk(tmp_path / "saved")

    for path in (tmp_path / "rows.parquet", tmp_path / "saved", next((tmp_path / "saved").glob("*.arrow"))):
        assert first_rows(DataSource(dataset=str(path))).label_names == {"label": ("bad", "good")}
        store = open_store(DataSource(dataset=str(path)), settings)
        assert store.facts.label_names == {"label": ("bad", "good")}
        assert store.rows([3]) == [{"text": "row 3", "label": 1}]


def test_a_saved_dataset_is_read_in_the_order_of_its_shards(labelled: Any, tmp_path: Path, settings: Settings) -> None:
    labelled.select(range(19, -1, -1)).save_to_disk(tmp_path / "saved", num_shards=3)

    store = open_store(DataSource(dataset=str(tmp_path / "saved")), settings)

    assert [row["text"] for row in store.rows(range(20))] == [f"row {n}" for n in range(19, -1, -1)]
    assert store.facts.kind == "arrow"


def test_a_saved_dict_brings_its_splits(labelled: Any, tmp_path: Path, settings: Settings) -> None:
    import datasets

    parts = {"train": labelled, "test": labelled.select(range(5)), "extra": labelled.select(range(3))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")

    train = open_store(DataSource(dataset=str(tmp_path / "saved")), settings)
    extra = open_store(DataSource(dataset=str(tmp_path / "saved"), split="extra[1:]"), settings)

    assert (len(train), len(train.held_out or [])) == (20, 5)
    assert (extra.rows([0])[0]["text"], extra.held_out) == ("row 1", None)
    with pytest.raises(InvalidInput, match=r"has no part called dev\. There are: train, test, extra"):
        open_store(DataSource(dataset=str(tmp_path / "saved"), split="dev"), settings)


def test_the_key_of_another_program_is_no_label(tmp_path: Path) -> None:
    table = pyarrow.table({"a": [1]}).replace_schema_metadata({"huggingface": "no JSON"})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")

    assert first_rows(DataSource(dataset=str(tmp_path / "rows.parquet"))).label_names == {}
