"""Encodings and lines by themselves; what they do to rows stands in the tests of the files that use them."""

from __future__ import annotations

import pytest

from studio.data.files.text_lines import SAMPLE, excerpt, find_encoding


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        ("schön".encode(), "utf-8"),
        ("schön".encode("utf-8-sig"), "utf-8"),
        ("schön".encode("utf-16"), "utf-16"),
        ("plain text".encode("utf-16-le"), "utf-16-le"),
        ("plain text".encode("utf-16-be"), "utf-16-be"),
        ("schön".encode("utf-32"), "utf-32"),
        ("schön".encode("cp1252"), "cp1252"),
        ("“Zitat” – 5 €".encode("cp1252"), "cp1252"),
        ("Как дела? Хорошо, спасибо".encode("cp1251"), "cp1251"),
        ("Как дела? Хорошо, спасибо".encode("koi8_r"), "koi8_r"),
    ],
)
def test_an_encoding_is_found_in_a_few_bytes(raw: bytes, encoding: str) -> None:
    assert find_encoding(raw, least_lines=1) == encoding


def test_a_letter_cut_by_the_end_of_the_sample_is_no_older_encoding() -> None:
    raw = (b"plain\n" + "ü".encode() * SAMPLE)[:SAMPLE]

    assert find_encoding(raw, least_lines=1) == "utf-8"


def test_more_valid_than_broken_lines_are_utf8() -> None:
    assert find_encoding("ü\nü\n".encode() + b"\xfc\n", least_lines=1) == "utf-8"
    assert find_encoding("ü\n".encode() + b"\xfc\n\xfc\n", least_lines=1) == "cp1252"
    assert find_encoding(b"\xfc\n\xfc\n", least_lines=3) == "utf-8"


def test_an_excerpt_shows_broken_bytes_as_such() -> None:
    assert excerpt(b"a\t\xff\r\n b") == "a � b"
    assert len(excerpt("x" * 1000)) == 80
