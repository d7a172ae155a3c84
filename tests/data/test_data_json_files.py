"""JSON lines and JSON documents: every form that people bring, and every way in which it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.data.files import json_files, text_lines
from studio.data.files.rows import BadRow
from studio.data.store import RowStore
from studio.errors import InvalidInput

OpenFile = Callable[..., RowStore]
ROWS: list[dict[str, Any]] = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(10)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


# -- forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("rows.jsonl", LINES, "jsonl"),
        ("rows.ndjson", LINES, "jsonl"),
        ("ROWS.JSONL", LINES, "jsonl"),
        ("rows.jsonl", LINES.replace("\n", "\r\n"), "jsonl"),
        ("rows.jsonl", LINES.replace("\n", "\r"), "jsonl"),
        ("rows.jsonl", LINES.rstrip("\n"), "jsonl"),
        ("rows.jsonl", "\n\n" + LINES.replace("\n", "\n \n"), "jsonl"),
        ("rows.jsonl", "\ufeff" + LINES, "jsonl"),
        ("really-lines.json", LINES, "jsonl"),
        ("rows.jsonl", json.dumps(ROWS), "json"),
        ("rows.json", json.dumps(ROWS), "json"),
        ("rows.json", json.dumps(ROWS, indent=4), "json"),
        ("rows.json", "\ufeff  " + json.dumps(ROWS), "json"),
        (
            "rows.json",
            json.dumps({"question": [r["question"] for r in ROWS], "answer": [r["answer"] for r in ROWS]}),
            "json",
        ),
        ("rows.json", json.dumps({"version": "1.0", "data": ROWS}, indent=1), "json"),
        ("rows.json", json.dumps({"data": ROWS}), "json"),
        ("rows.json", json.dumps({"train": ROWS, "test": ROWS[:2]}), "json"),
        ("rows.json", "\n".join(json.dumps(row, indent=2) for row in ROWS), "json"),
        ("pandas.json", json.dumps({c: {str(n): r[c] for n, r in enumerate(ROWS)} for c in ROWS[0]}), "json"),
    ],
)
def test_the_same_rows_come_from_every_form(name: str, content: str, kind: str, open_file: OpenFile) -> None:
    store = open_file(name, content)

    assert store.rows(range(len(store))) == ROWS
    assert store.facts.kind == kind
    assert store.facts.columns == ("question", "answer")
    assert store.facts.bad_rows == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_unicode_files_are_recognised(encoding: str, open_file: OpenFile) -> None:
    store = open_file("rows.jsonl", ('{"text": "Grüße – 你好"}\n' * 3).encode(encoding))

    assert store.rows([0, 2]) == [{"text": "Grüße – 你好"}] * 2


def test_one_object_alone_is_one_row(open_file: OpenFile) -> None:
    assert open_file("one.json", '{\n "text": "a",\n "tags": {"n": 1}\n}').rows([0]) == [
        {"text": "a", "tags": {"n": 1}}
    ]


def test_the_split_says_which_of_several_parts_is_meant(open_file: OpenFile) -> None:
    content = json.dumps({"train": ROWS, "test": ROWS[:2]})

    assert len(open_file("rows.json", content, split="test")) == 2
    with pytest.raises(InvalidInput, match=r"holds several parts: a, b\. Say in the field split which one") as caught:
        open_file("others.json", json.dumps({"a": ROWS, "b": ROWS[:2]}))
    assert caught.value.field == "data.split"


def test_a_large_object_is_streamed(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "LARGEST_OBJECT", 100)
    content = json.dumps({"version": 1, "tags": ["a", "b"], "test": ROWS[:1], "data": ROWS, "more": {}})

    assert open_file("rows.json", content).rows(range(10)) == ROWS
    assert len(open_file("rows.json", content, split="test")) == 1


def test_columns_that_are_too_large_are_refused(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "LARGEST_OBJECT", 100)

    with pytest.raises(InvalidInput, match="Save it as JSON lines or parquet"):
        open_file("rows.json", json.dumps({"question": ["why"] * 100, "answer": ["so"] * 100}))


def test_an_array_is_read_across_the_edges_of_blocks(open_file: OpenFile) -> None:
    rows = [{"n": n, "text": "ä" * (n % 977), "value": n / 7} for n in range(5_000)]

    store = open_file("rows.json", json.dumps(rows, ensure_ascii=False))

    assert store.rows(range(5_000)) == rows


# -- values ---------------------------------------------------------------------------------------------------


def test_values_of_any_shape_stay_what_they_are(open_file: OpenFile) -> None:
    row = {"a": None, "b": [1, "x", {"c": [True, 1.5]}], "d": {}, "e": "", "f": -0.25, "ü": "\u2028\x00"}

    assert open_file("rows.jsonl", json.dumps(row) + "\n" + '{"b": "now a text"}\n').rows([0, 1]) == [
        row,
        {"b": "now a text"},
    ]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_nan_and_infinity_become_null(name: str, open_file: OpenFile) -> None:
    content = '{"a": NaN, "b": -Infinity, "c": [Infinity], "d": "NaN"}'

    store = open_file(name, content if name == "rows.jsonl" else f"[{content}]")

    assert store.rows([0]) == [{"a": None, "b": None, "c": [None], "d": "NaN"}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_number_of_any_length_can_be_read(name: str, open_file: OpenFile) -> None:
    store = open_file(name, "[" * (name == "rows.json") + '{"n": 123456789012345678901}' + "]" * (name == "rows.json"))

    assert store.rows([0]) == [{"n": 123456789012345678901.0}]


def test_a_thousand_columns_are_kept_in_their_order(open_file: OpenFile) -> None:
    row = {f"column {n}": n for n in range(1000)}

    store = open_file("wide.jsonl", json.dumps(row) + '\n{"late": 1}\n')

    assert store.facts.columns == (*row, "late")
    assert store.rows([0]) == [row]


# -- bad rows -------------------------------------------------------------------------------------------------


def only_bad(store: Any) -> BadRow:
    assert store.facts.bad_rows == 1
    return store.facts.bad[0]


def test_a_broken_line_among_many_is_named_and_the_others_are_good(open_file: OpenFile) -> None:
    lines = [f'{{"n": {n}}}' for n in range(1, 50_001)]
    lines[40_000] = '{"n": 40001'

    store = open_file("rows.jsonl", "\n".join(lines))

    assert len(store) == 49_999
    assert store.rows([39_999, 40_000]) == [{"n": 40_000}, {"n": 40_002}]
    assert only_bad(store) == BadRow(
        "rows.jsonl", 40_001, "it is no valid JSON: it breaks off at the end of the line", '{"n": 40001'
    )
    assert only_bad(store).sentence.startswith("rows.jsonl, line 40,001: it is no valid JSON")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1} and more', "it is no valid JSON: unexpected content after document (column 10)"),
        (b"{'a': 1}", "it is no valid JSON"),
        (b'{"a": "tab\there"}', "it is no valid JSON"),
        (b"[1, 2]", "it is a list, not an object with named values"),
        (b"17", "it is a number, not an object with named values"),
        (b'"hello"', "it is a text, not an object with named values"),
        (b"true", "it is true or false, not an object with named values"),
        (b"null", "it is null, not an object with named values"),
        (b'{"a": "caf\xe9"}', "byte 11 of the line is no valid UTF-8"),
        (b'{"a": "\\ud800"}', "it is no valid JSON: no low surrogate in string"),
        (b'{"a": ' + b"[" * 2000 + b"]" * 2000 + b"}", "it is nested more than 1,024 levels deep"),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "it is nested more than 254 levels deep"),
        (b'{"a": NaN,', "it is no valid JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: bytes, reason: str, open_file: OpenFile) -> None:
    store = open_file("rows.jsonl", b'{"a": "good"}\n' + line + b'\n{"a": "too"}\n')

    assert only_bad(store).reason.startswith(reason)
    assert only_bad(store).line == 2
    assert len(only_bad(store).excerpt) <= 80
    assert len(store) == 2


def test_a_line_that_is_too_long_is_bad_and_the_next_is_good(
    open_file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_LINE", 3 << 20)
    content = b'{"a": "first"}\n{"a": "' + b"x" * (9 << 20) + b'"}\n{"a": "last"}\n'

    store = open_file("rows.jsonl", content)

    assert store.rows([0, 1]) == [{"a": "first"}, {"a": "last"}]
    assert only_bad(store).reason == "the line is longer than 64 MB"
    assert only_bad(store).excerpt.startswith('{"a": "xxx')


def test_a_broken_array_keeps_the_rows_before_and_says_where(open_file: OpenFile) -> None:
    lines = json.dumps(ROWS, indent=0).splitlines()
    lines[20] = '"answer": 12 13'

    store = open_file("rows.json", "\n".join(lines))

    bad = only_bad(store)
    assert len(store) == bad.line - 1
    assert (
        bad.reason == "it is no valid JSON: expecting ',' delimiter (line 21 of the file); what follows it was not read"
    )


@pytest.mark.parametrize(
    ("end", "reason"),
    [("", "it breaks off"), (' {"n": 2}]', "a , is missing"), (", 7]", "it is a number, not an object")],
)
def test_the_end_of_an_array_may_be_missing(end: str, reason: str, open_file: OpenFile) -> None:
    store = open_file("rows.json", '[{"n": 1}' + end)

    assert store.rows([0]) == [{"n": 1}]
    assert reason in only_bad(store).reason


def test_bad_bytes_in_an_array_are_one_bad_row(open_file: OpenFile) -> None:
    store = open_file("rows.json", b'[{"a": "x"}, {"a": "caf\xe9"}, {"a": "y"}]')

    assert [row["a"] for row in store.rows([0, 1])] == ["x", "y"]
    assert only_bad(store).reason == "it holds bytes that are no valid UTF-8"
    assert only_bad(store).line == 2


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("broken.json", '{"text": "a"', "cannot be read as JSON: it is no valid JSON: expecting ',' delimiter (line 1"),
        ("words.json", "hello", "cannot be read as JSON: it is no valid JSON: it begins with neither [ nor {"),
        ("blank.json", "  \n \n", "cannot be read as JSON: it is blank"),
        ("nothing.json", "[]", "nothing.json has no rows. Check that the file is the right one."),
        (
            "numbers.json",
            "[1, 2]",
            "None of the 2 rows of numbers.json can be read. numbers.json, line 1: it is a number",
        ),
        ("deep.json", "[" * 100_000, "it is nested too deeply"),
        ("broken.jsonl", '{"text": ', "None of the 1 rows"),
        ("blank.jsonl", "\n\n  \n", "blank.jsonl has no rows"),
        ("latin.jsonl", b'{"text": "\xe4"}\n', "byte 11 of the line is no valid UTF-8"),
    ],
)
def test_a_file_without_a_single_row_is_refused(
    name: str, content: str | bytes, fragment: str, open_file: OpenFile
) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_file(name, content)
    assert fragment in str(caught.value)
    assert caught.value.field == "data.dataset"


def test_lines_in_an_older_encoding_are_recognised_from_three_on(open_file: OpenFile) -> None:
    store = open_file("rows.jsonl", '{"text": "Schöne Grüße"}\n'.encode("cp1252") * 3)

    assert store.rows([2]) == [{"text": "Schöne Grüße"}]
    assert store.facts.encoding == "cp1252"


def test_an_older_encoding_is_noticed_late_in_a_file(open_file: OpenFile) -> None:
    plain = b'{"text": "plain"}\n' * 20_000
    store = open_file("rows.jsonl", plain + '{"text": "Schöne Grüße"}\n'.encode("cp1252") * 3)

    assert store.rows([20_002]) == [{"text": "Schöne Grüße"}]
    assert (store.facts.encoding, store.facts.bad_rows, len(store)) == ("cp1252", 0, 20_003)


def test_few_broken_lines_do_not_make_a_utf8_file_older(open_file: OpenFile) -> None:
    store = open_file("rows.jsonl", '{"text": "schön"}\n'.encode() * 10 + b'{"text": "sch\xf6n"}\n' * 3)

    assert (store.facts.encoding, store.facts.bad_rows, len(store)) == ("utf-8", 3, 10)


def test_the_excerpt_is_one_line_of_eighty_characters(open_file: OpenFile, tmp_path: Path) -> None:
    store = open_file("rows.jsonl", '{"a": 1}\n{"a"\t\t: "' + "word " * 100 + "\n")

    assert len(only_bad(store).excerpt) == 80
    assert "\t" not in only_bad(store).excerpt
