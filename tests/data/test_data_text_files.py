"""Plain text: paragraphs of a txt, the whole of a md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studio.data.files import text_files
from studio.data.store import RowStore

OpenFile = Callable[..., RowStore]


def texts(store: RowStore) -> list[Any]:
    return [row["text"] for row in store.rows(range(len(store)))]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_txt_is_a_row_a_paragraph(newline: str, open_file: OpenFile) -> None:
    content = "\n\nFirst line,\nsecond line.\n\n \n  Indented\n\n\nLast".replace("\n", newline)

    store = open_file("book.txt", content)

    assert texts(store) == ["First line,\nsecond line.", "  Indented", "Last"]
    assert store.facts.kind == "text"


def test_a_txt_without_blank_lines_is_a_row_a_line(open_file: OpenFile) -> None:
    assert texts(open_file("lines.txt", "one\ntwo\nthree\n")) == ["one", "two", "three"]


def test_a_md_is_one_row(open_file: OpenFile) -> None:
    assert texts(open_file("page.md", "# Title\n\nText\n\n    code\n")) == ["# Title\n\nText\n\n    code"]


def test_an_older_encoding_is_found_out(open_file: OpenFile) -> None:
    store = open_file("book.txt", "Es war einmal\n\nein schöner Prinz\n".encode("cp1252"))

    assert texts(store)[1] == "ein schöner Prinz"
    assert store.facts.encoding == "cp1252"


def test_a_paragraph_with_broken_bytes_is_bad(open_file: OpenFile) -> None:
    store = open_file("book.txt", "schön\n\nschön\n\n".encode() + b"sch\xf6n\n\nEnd\n")

    assert texts(store) == ["schön", "schön", "End"]
    assert [(bad.line, bad.reason) for bad in store.facts.bad] == [(5, "it holds bytes that are no valid utf-8")]


def test_a_paragraph_that_is_too_long_is_bad(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 1000)

    store = open_file("book.txt", "short\n\n" + "many words\n" * 200 + "\nshort\n")

    assert texts(store) == ["short", "short"]
    assert [(bad.line, bad.excerpt) for bad in store.facts.bad] == [(3, "many words")]
