"""Reading datasets: the starter sets, files of every kind, and what is wrong with the others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from studio.errors import InvalidInput, NotFound, StudioError
from studio.messages import Example
from studio.ml.datasets import Data, hold_out, load, starter_sets
from studio.recipe import DataPart

ROWS = [{"instruction": f"What is {n} + {n}?", "output": str(2 * n)} for n in range(10)]


def read(dataset: Path | str, seed: int = 0, max_rows: int = 0, **values: Any) -> Data:
    """`dataset` as a recipe would read it."""
    return load(DataPart(dataset=str(dataset), **values), seed, max_rows=max_rows)


def refused(dataset: Path | str) -> str:
    """The sentence that `dataset` is refused with."""
    with pytest.raises(StudioError) as caught:
        read(dataset)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def jsonl(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


# -- starter sets ---------------------------------------------------------------------------------------------


def test_the_starter_set_brings_its_own_held_out_rows() -> None:
    data = read("starter:sentiment")

    assert (len(data.train), len(data.held_out)) == (340, 60)
    assert {example.answer for example in data.train + data.held_out} == {"positive", "negative"}
    assert not {e.prompt[0]["content"] for e in data.train} & {e.prompt[0]["content"] for e in data.held_out}


def test_fewer_held_out_rows_of_a_starter_set_may_be_asked_for() -> None:
    data = read("starter:sentiment", held_out_rows=8)

    assert (len(data.train), len(data.held_out)) == (340, 8)


def test_the_held_out_rows_of_the_starter_set_are_balanced() -> None:
    """An accuracy of half must mean guessing."""
    counts = Counter(example.answer for example in read("starter:sentiment").held_out)

    assert counts["positive"] == counts["negative"]


@pytest.mark.parametrize("name", [name for name in starter_sets() if name != "preferences"])
def test_every_starter_set_can_be_read(name: str) -> None:
    data = read(f"starter:{name}")

    assert len(data.train) >= 50
    assert data.held_out


def test_the_preference_pairs_are_there_to_be_refused() -> None:
    assert "preference pairs" in refused("starter:preferences")


@pytest.mark.parametrize("name", ["starter:nothing", "starter:", "starter:../datasets/sentiment", "starter:/etc"])
def test_an_unknown_starter_set_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(NotFound, match="sentiment"):
        read(name)


# -- files ----------------------------------------------------------------------------------------------------


def test_the_same_rows_are_the_same_examples_from_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(jsonl(ROWS))
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    (tmp_path / "rows.csv").write_text(
        "instruction,output\n" + "".join(f"{r['instruction']},{r['output']}\n" for r in ROWS)
    )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")

    read_back = [read(file, held_out_rows=0).train for file in sorted(tmp_path.iterdir())]

    assert len(read_back) == 4
    assert all(examples == read_back[0] for examples in read_back)
    assert read_back[0][3].answer == "6"


def test_the_endings_case_and_windows_lines_and_marks_do_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "ROWS.JSONL"
    file.write_bytes(b"\xef\xbb\xbf" + jsonl(ROWS).replace("\n", "\r\n").encode())

    assert len(read(file, held_out_rows=0).train) == 10


def test_a_csv_answer_is_always_text(tmp_path: Path) -> None:
    """pandas would read 4 as a number, NA as nothing and true as a truth value."""
    file = tmp_path / "rows.csv"
    file.write_text("prompt,completion,\na,4,0\nb,NA,1\nc,true,2\nd,1.50,3\n")

    assert [example.answer for example in read(file).train] == ["4", "NA", "true", "1.50"]


def test_a_csv_cell_may_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('\ufeffprompt,completion\n"Say ""hi"", please","line 1\nline 2"\n')

    example = read(file).train[0]

    assert example.prompt[0]["content"] == 'Say "hi", please'
    assert example.answer == "line 1\nline 2"


def test_only_the_first_rows_are_used_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(jsonl(ROWS) + '{"instruction": "broken", "output": null}\n')

    assert len(read(file, max_rows=4, held_out_rows=0).train) == 4
    assert len(load(DataPart(dataset=str(file), max_rows=5, held_out_rows=0), seed=0).train) == 5


def test_the_raw_rows_are_shown_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(jsonl(ROWS))

    assert read(file).raw == ROWS


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("empty.jsonl", b"", "is empty (0 bytes)"),
        ("blank.jsonl", b"\n\n", "has no rows"),
        ("nothing.json", b"[]", "has no rows"),
        ("header.csv", b"instruction,output\n", "has no rows"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": ', "cannot be read as json"),
        ("broken.json", b'{"text": "a"', "cannot be read as json"),
        ("words.json", b"hello", "cannot be read as json"),
        ("fake.parquet", b"hello", "cannot be read as parquet"),
        ("notes.txt", b"hello", "Bring one of .csv, .json, .jsonl, .parquet"),
        ("noending", b"hello", "files of this kind are not read"),
        ("columns.csv", b"question,reply\na,b\n", "No known format in the columns question, reply"),
        ("semicolons.csv", b"instruction;output\na;b\n", "No known format in the columns instruction;output"),
        ("latin.csv", "prompt,completion\na,b\nä,ö\n".encode("latin-1"), "is not UTF-8 text (line 3)"),
        ("latin.jsonl", '{"text": "ä"}\n'.encode("latin-1"), "is not UTF-8 text (line 1)"),
        ("utf16.csv", "text\na\n".encode("utf-16"), "is not UTF-8 text (line 1)"),
        (
            "hole.csv",
            b"prompt,completion\na,b\nc,\n",
            "Row 2 cannot be read as prompt/completion: the completion is empty",
        ),
        ("hole.jsonl", b'{"text": "a"}\n{"text": null}\n', "Row 2 cannot be read as text: text is NoneType"),
        ("mixed.jsonl", b'{"text": "a"}\n{"messages": []}\n', "Row 2 cannot be read as text"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(
    name: str, content: bytes, fragment: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    assert fragment in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "/nowhere/rows.csv", "~nobody/rows.csv", "./rows", "a/b/c"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    assert refused(name) == f"There is no file {name}. Check the path, or upload the file."


def test_a_folder_is_no_dataset(tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path)


# -- holding out ----------------------------------------------------------------------------------------------

EXAMPLES = [Example(text=f"row {number}") for number in range(100)]


def test_held_out_rows_are_drawn_with_the_seed() -> None:
    assert hold_out(EXAMPLES, 10, seed=1) == hold_out(EXAMPLES, 10, seed=1)
    assert hold_out(EXAMPLES, 10, seed=1) != hold_out(EXAMPLES, 10, seed=2)


def test_no_row_is_both_trained_and_held_out_and_none_is_lost() -> None:
    train, held = hold_out(EXAMPLES, 10, seed=1)

    assert len(held) == 10
    assert sorted(train + held, key=EXAMPLES.index) == EXAMPLES
    assert train == sorted(train, key=EXAMPLES.index)


@pytest.mark.parametrize(("rows", "asked", "held"), [(100, 60, 20), (100, 0, 0), (9, 60, 1), (4, 60, 0), (0, 60, 0)])
def test_at_most_a_fifth_is_held_out(rows: int, asked: int, held: int) -> None:
    assert [len(part) for part in hold_out(EXAMPLES[:rows], asked, seed=0)] == [rows - held, held]


# -- fingerprint ----------------------------------------------------------------------------------------------


def test_the_fingerprint_is_the_contents_not_the_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(jsonl(ROWS))
    (tmp_path / "b.jsonl").write_text(jsonl(ROWS))
    (tmp_path / "c.jsonl").write_text(jsonl(ROWS[::-1]))
    a, b, c = (read(tmp_path / name).fingerprint for name in ("a.jsonl", "b.jsonl", "c.jsonl"))

    assert a == b
    assert a != c


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(jsonl(ROWS))
    before = read(file)
    file.write_text(jsonl(ROWS[:5]))
    after = read(file)

    assert (len(before.train + before.held_out), len(after.train + after.held_out)) == (10, 5)
    assert before.fingerprint != after.fingerprint


def test_a_bad_row_is_an_error_of_the_dataset_field(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": ""}\n')

    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / "rows.jsonl")
    assert caught.value.field == "data.dataset"
