"""Packed files, bombs, fingerprints and progress: what happens to the bytes before anybody sees letters."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from studio.data.files import byte_stream, text_lines
from studio.data.store import RowStore, first_rows, open_store
from studio.errors import InvalidInput
from studio.recipe import DataSource
from studio.settings import Settings

OpenFile = Callable[..., RowStore]
LINES = b"".join(json.dumps({"n": n, "text": "word " * (n % 50)}).encode() + b"\n" for n in range(20_000))


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl.gz", gzip.compress(LINES)),
        ("rows.jsonl.zst", zstd(LINES)),
        ("rows.JSONL.GZ", gzip.compress(LINES)),
        ("joined.jsonl.gz", gzip.compress(LINES[:700_000]) + gzip.compress(LINES[700_000:])),
        ("rows.json.gz", gzip.compress(b"[" + b",".join(LINES.splitlines()) + b"]")),
    ],
)
def test_packed_files_are_read(name: str, content: bytes, open_file: OpenFile) -> None:
    store = open_file(name, content)

    assert len(store) == 20_000
    assert store.rows([49, 19_999]) == [json.loads(LINES.splitlines()[n]) for n in (49, 19_999)]


def test_packed_tables_of_text_are_read(open_file: OpenFile) -> None:
    assert open_file("rows.csv.gz", gzip.compress(b"a;b\n1;2\n")).rows([0]) == [{"a": "1", "b": "2"}]
    assert open_file("page.md.zst", zstd(b"# A\n\nb")).rows([0]) == [{"text": "# A\n\nb"}]


def test_a_packed_file_that_is_cut_off_keeps_what_came_before(open_file: OpenFile) -> None:
    content = gzip.compress(LINES)

    store = open_file("rows.jsonl.gz", content[: len(content) // 2])

    assert 0 < len(store) < 20_000
    assert store.facts.bad[-1].reason.startswith("the packed file is damaged or cut off here")
    assert store.facts.bad[-1].line == len(store) + 1


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv.zst"])
def test_a_file_that_is_not_packed_at_all_is_refused(name: str, open_file: OpenFile) -> None:
    with pytest.raises(InvalidInput, match=f"{name} cannot be unpacked as (gzip|zstd)"):
        open_file(name, LINES)


def test_a_bomb_is_not_unpacked_to_its_end(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_stream, "BOMB_BYTES", 2 << 20)
    monkeypatch.setattr(byte_stream, "BOMB_RATIO", 50)
    bomb = gzip.compress(b'{"text": "boom"}\n' * 1_000_000)

    with pytest.raises(InvalidInput, match=r"bomb\.jsonl\.gz unpacks to more than .* MB and is not read further"):
        open_file("bomb.jsonl.gz", bomb)


def test_a_bomb_of_one_endless_line_is_not_kept_in_memory(open_file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_LINE", 2 << 20)
    content = b'{"text": "good"}\n{"text": "' + b"x" * (40 << 20)

    store = open_file("bomb.jsonl.gz", gzip.compress(content, 1))

    assert store.rows([0]) == [{"text": "good"}]
    assert store.facts.bad_rows == 1


# -- fingerprints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"max_rows": 3}, {"split": "train[:2]"}, {"split": "train[10%:20%]"}])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_the_fingerprint_is_one_of_all_bytes_however_much_is_used(
    name: str, values: dict[str, object], open_file: OpenFile
) -> None:
    content = LINES if name == "rows.jsonl" else gzip.compress(LINES, mtime=0)

    assert open_file(name, content, **values).facts.fingerprint == hashlib.sha256(content).hexdigest()


def test_the_fingerprint_of_a_folder_is_that_of_its_files_in_order(tmp_path: Path, settings: Settings) -> None:
    parts = {"a.jsonl": LINES[:500_000], "b.jsonl": LINES, "test.jsonl": LINES[:100_000]}
    (tmp_path / "folder").mkdir()
    for name, content in parts.items():
        (tmp_path / "folder" / name).write_bytes(content)

    for rows in (0, 5):
        store = open_store(DataSource(dataset=str(tmp_path / "folder"), max_rows=rows), settings)
        assert store.facts.fingerprint == hashlib.sha256(b"".join(parts.values())).hexdigest()


def test_the_fingerprint_of_a_parquet_is_that_of_its_bytes(tmp_path: Path, settings: Settings) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"n": list(range(5_000))}), tmp_path / "rows.parquet")

    store = open_store(DataSource(dataset=str(tmp_path / "rows.parquet"), max_rows=10), settings)

    assert store.facts.fingerprint == hashlib.sha256((tmp_path / "rows.parquet").read_bytes()).hexdigest()


# -- progress -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_progress_rises_to_the_size_of_the_file(
    name: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_stream, "SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(byte_stream, "BLOCK", 1 << 14)
    content = LINES if name == "rows.jsonl" else gzip.compress(LINES)
    (tmp_path / name).write_bytes(content)
    told: list[tuple[int, int]] = []

    open_store(DataSource(dataset=str(tmp_path / name)), settings, lambda *numbers: told.append(numbers))

    assert told == sorted(told)
    assert told[-1] == (len(content), len(content))
    assert len(told) > 5


def test_a_look_reads_the_beginning_only(tmp_path: Path) -> None:
    """The file is 8 GB of nothing after its first rows; reading it whole would take far longer than a test may."""
    file = tmp_path / "large.jsonl"
    file.write_bytes(LINES)
    with open(file, "r+b") as handle:
        handle.truncate(8 << 30)

    head = first_rows(DataSource(dataset=str(file)), 100)

    assert [row["n"] for row in head.rows] == list(range(100))
    assert head.size_bytes == 8 << 30


def test_a_look_at_one_endless_line_says_so(tmp_path: Path) -> None:
    file = tmp_path / "large.jsonl"
    file.write_bytes(b'{"text": "')
    with open(file, "r+b") as handle:
        handle.truncate(8 << 30)

    head = first_rows(DataSource(dataset=str(file)), 100)

    assert head.rows == []
    assert head.bad[0].reason == "the line is longer than 64 MB"
