"""csv and tsv: every cell is text, and a row that does not fit is told, never shifted."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from studio.data.files import csv_files
from studio.data.store import RowStore
from studio.errors import InvalidInput

OpenFile = Callable[..., RowStore]


def everything(store: RowStore) -> list[dict[str, Any]]:
    return store.rows(range(len(store)))


def reasons(store: RowStore) -> list[tuple[int, str]]:
    return [(bad.line, bad.reason) for bad in store.facts.bad]


# -- cells ----------------------------------------------------------------------------------------------------


def test_a_cell_is_always_text(open_file: OpenFile) -> None:
    """pandas would read 4 as a number, NA as nothing and true as a truth value."""
    store = open_file("rows.csv", "prompt,completion\na,4\nb,NA\nc,true\nd,1.50\ne,\n")

    assert [row["completion"] for row in everything(store)] == ["4", "NA", "true", "1.50", ""]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_cell_may_hold_commas_quotes_and_lines(newline: str, open_file: OpenFile) -> None:
    content = '\ufeffprompt,completion\n"Say ""hi"", please","line 1\n\nline 2"\nb,c'

    store = open_file("rows.csv", content.replace("\n", newline))

    assert everything(store) == [
        {"prompt": 'Say "hi", please', "completion": "line 1\n\nline 2"},
        {"prompt": "b", "completion": "c"},
    ]


def test_a_cell_may_be_ten_megabytes_long(open_file: OpenFile) -> None:
    long = "long text\n" * 1_000_000

    store = open_file("rows.csv", f'prompt,completion\nshort,"{long}"\n')

    assert store.rows([0]) == [{"prompt": "short", "completion": long}]


def test_what_the_csv_module_writes_comes_back(open_file: OpenFile) -> None:
    rows = [{"a": f'{n} "x", y\n{"z" * (n % 100)}', "b": f"ü{n}"} for n in range(20_000)]
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, ["a", "b"])
    writer.writeheader()
    writer.writerows(rows)

    assert everything(open_file("rows.csv", written.getvalue())) == rows


# -- delimiters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "delimiter", "asked"),
    [
        ("rows.csv", ",", "auto"),
        ("rows.csv", ";", "auto"),
        ("rows.csv", "\t", "auto"),
        ("rows.tsv", "\t", "auto"),
        ("rows.csv", "|", "auto"),
        ("rows.csv", "^", "^"),
        ("rows.tsv", "\t", "tab"),
    ],
)
def test_the_delimiter_is_found_out_or_told(name: str, delimiter: str, asked: str, open_file: OpenFile) -> None:
    rows = [["question", "answer"], ["Who, when; where?", "He | she, maybe; today"], ["Why?", "So, so"]]
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter).writerows(rows)

    store = open_file(name, written.getvalue(), delimiter=asked)

    assert [list(row.values()) for row in everything(store)] == rows[1:]
    assert store.facts.delimiter == delimiter


def test_one_column_is_a_table_too(open_file: OpenFile) -> None:
    store = open_file("rows.csv", "text\nHello there; friend\n\nNothing, else\n", delimiter="tab")

    assert everything(store) == [{"text": "Hello there; friend"}, {"text": "Nothing, else"}]


def test_quotes_in_a_tab_separated_file_may_mean_nothing(open_file: OpenFile) -> None:
    store = open_file("rows.tsv", 'said\tby\n"Hello" she said\tAnn\n5" wide\tBob\n')

    assert everything(store) == [{"said": '"Hello" she said', "by": "Ann"}, {"said": '5" wide', "by": "Bob"}]


def test_the_hint_that_excel_reads_is_no_header(open_file: OpenFile) -> None:
    store = open_file("rows.csv", "sep=;\r\na;b\r\n1,5;2\r\n")

    assert everything(store) == [{"a": "1,5", "b": "2"}]


def test_a_delimiter_of_two_letters_is_refused(open_file: OpenFile) -> None:
    with pytest.raises(InvalidInput, match="A delimiter is one character") as caught:
        open_file("rows.csv", "a||b\n1||2\n", delimiter="||")
    assert caught.value.field == "data.delimiter"


# -- encodings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "words", "told"),
    [
        ("cp1252", "Wie heißt – „schön“ auf Französisch?;C'est très beau…", "cp1252"),
        ("latin-1", "Frage;schön", "cp1252"),
        ("cp1251", "Как дела?;Хорошо, спасибо", "cp1251"),
        ("cp1250", "Zażółć gęślą jaźń;tak", "cp1250"),
        ("shift_jis", "これは何ですか;りんごです", "cp932"),
        ("utf-16", "Grüße;你好", "utf-16"),
        ("utf-8", "Grüße;你好", "utf-8"),
    ],
)
def test_the_encoding_is_found_out_and_told(encoding: str, words: str, told: str, open_file: OpenFile) -> None:
    store = open_file("rows.csv", f"prompt;completion\r\nplain;text\r\n{words}\r\n".encode(encoding))

    assert list(store.rows([1])[0].values()) == words.split(";")
    assert store.facts.encoding == told


def test_an_encoding_can_be_told(open_file: OpenFile) -> None:
    store = open_file("rows.csv", "prompt,completion\na,šum\n".encode("iso8859-2"), encoding="iso8859-2")

    assert store.rows([0])[0]["completion"] == "šum"


@pytest.mark.parametrize("encoding", ["klingon", "hex", "zip"])
def test_an_encoding_that_is_none_is_refused(encoding: str, open_file: OpenFile) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_file("rows.csv", "a,b\n1,2\n", encoding=encoding)
    assert caught.value.field == "data.encoding"


def test_an_accent_late_in_the_file_is_found_too(open_file: OpenFile) -> None:
    store = open_file("rows.csv", b"a,b\n" + b"plain,text\n" * 40_000 + "schön,grün\n".encode("cp1252"))

    assert store.rows([40_000]) == [{"a": "schön", "b": "grün"}]
    assert store.facts.encoding == "cp1252"


def test_bytes_that_do_not_fit_the_told_encoding_are_a_bad_row(open_file: OpenFile) -> None:
    store = open_file("rows.csv", b"a,b\n1,\xff\n2,x\n", encoding="utf-8")

    assert reasons(store) == [(2, "it holds bytes that are no valid utf-8")]
    assert everything(store) == [{"a": "2", "b": "x"}]


def test_half_a_character_of_utf16_is_a_bad_row(open_file: OpenFile) -> None:
    content = "a,b\n1,x\n".encode("utf-16-le") + b"2\x00,\x00\x00\xd8\n\x00" + "3,y\n".encode("utf-16-le")

    store = open_file("rows.csv", content, encoding="utf-16-le")

    assert reasons(store) == [(3, "it holds bytes that are no valid utf-16-le")]
    assert [row["a"] for row in everything(store)] == ["1", "3"]


# -- headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("a,b,", ["a", "b", "column_3"]),
        (" a , b,c", ["a", "b", "c"]),
        ("a,a,a", ["a", "a_2", "a_3"]),
        ("a,,column_2", ["a", "column_2_2", "column_2"]),
    ],
)
def test_every_column_has_a_name_of_its_own(header: str, names: list[str], open_file: OpenFile) -> None:
    store = open_file("rows.csv", f"{header}\n1,2,3\n")

    assert store.rows([0]) == [dict(zip(names, "123", strict=True))]


def test_a_thousand_columns_are_read(open_file: OpenFile) -> None:
    store = open_file("wide.csv", ",".join(f"c{n}" for n in range(1000)) + "\n" + ",".join("x" * 1000) + "\n")

    assert len(store.rows([0])[0]) == 1000


def test_a_header_alone_is_no_dataset(open_file: OpenFile) -> None:
    with pytest.raises(InvalidInput, match=r"header.csv has no rows"):
        open_file("header.csv", "instruction,output\n")


# -- bad rows -------------------------------------------------------------------------------------------------


def test_a_ragged_row_is_told_with_both_numbers(open_file: OpenFile) -> None:
    store = open_file("rows.csv", "a,b,c\n1,2,3\n1,2\n1,2,3,4\n1,2,3,,\n")

    assert reasons(store) == [(3, "it has 2 cells instead of 3"), (4, "it has 4 cells instead of 3")]
    assert everything(store) == [{"a": "1", "b": "2", "c": "3"}] * 2, "empty cells at the end are none"
    assert store.facts.bad[0].excerpt == "1,2"


def test_lines_are_those_of_the_file_also_after_cells_with_line_ends(open_file: OpenFile) -> None:
    store = open_file("rows.csv", 'a,b\n"1\n2\n3",x\n\nonly\ny,z\n')

    assert reasons(store) == [(6, "it has 1 cell instead of 2")]


def test_a_quote_that_is_never_closed_costs_one_row(open_file: OpenFile) -> None:
    lines = [f"question {n},answer {n}" for n in range(2, 5_000)]
    lines[10] = '"never closed,answer'

    store = open_file("rows.csv", "a,b\n" + "\n".join(lines))

    assert reasons(store) == [(12, "a quote that is opened in it is never closed")]
    assert store.facts.bad[0].excerpt == '"never closed,answer'
    assert len(store) == len(lines) - 1
    assert store.rows([10]) == [{"a": "question 13", "b": "answer 13"}]


def test_a_quote_that_is_closed_too_late_is_told_as_such(open_file: OpenFile) -> None:
    store = open_file("rows.csv", 'a,b\n1,2\n"open,3\n4,5\n6,"7"\n8,9\n')

    assert everything(store)[0] == {"a": "1", "b": "2"}
    assert "quote" in store.facts.bad[0].reason
    assert store.facts.bad[0].line == 3
    assert {"a": "8", "b": "9"} in everything(store)


def test_an_undoubled_quote_is_told(open_file: OpenFile) -> None:
    store = open_file("rows.csv", 'a,b\n"say "hi" to",x\n1,2\n')

    assert reasons(store) == [(2, "after a closing quote comes more text; a quote within a cell must be doubled")]
    assert everything(store) == [{"a": "1", "b": "2"}]


def test_a_row_that_is_too_long_is_bad(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "LONGEST_RECORD", 10_000)
    content = "a,b\n1,2\n" + "x" * 20_000 + ",y\n3,4\n" + '"' + "z,z\n" * 5_000 + "5,6\n"

    store = open_file("rows.csv", content)

    assert [line for line, _ in reasons(store)] == [3, 5]
    assert all("a quote in it may never be closed" in reason for _, reason in reasons(store))
    assert [row["a"] for row in everything(store) if row["a"] != "z"] == ["1", "3", "5"]


def test_a_header_that_cannot_be_read_is_refused(open_file: OpenFile) -> None:
    with pytest.raises(InvalidInput, match="the first row, which should name the columns, cannot be read: a quote"):
        open_file("rows.csv", '"a,b\n1,2\n')
