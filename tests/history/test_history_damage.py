"""A database file that cannot be trusted is told, set aside, and made anew."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from studio.errors import HistoryError
from studio.history import History, is_damaged, set_aside
from studio.runs import Metric, Run


@pytest.fixture
def filled(url: str, file: Path, run: Run) -> Path:
    """A closed database with some hundred pages."""
    with History.open(url) as history:
        metrics = [Metric(step=step, name="loss", value=1.0) for step in range(5000)]
        for number in range(4):
            history.write(replace(run, id=f"run-{number}"), metrics=metrics, events_offset=0, metrics_offset=0)
    return file


def garbage(file: Path) -> None:
    file.write_bytes(b"These are not the bytes that you are looking for. " * 200)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_in_half(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [garbage, empty, cut_in_half])
def test_a_damaged_file_is_told_with_the_way_out(filled: Path, url: str, damage: Callable[[Path], None]) -> None:
    assert not is_damaged(url)
    damage(filled)
    damaged = filled.read_bytes()
    with pytest.raises(HistoryError, match=r"history\.sqlite is damaged .*`studio reindex` rebuilds it"):
        History.open(url)
    assert is_damaged(url)
    assert filled.read_bytes() == damaged  # nothing was written over what may still be rescued


def test_damage_inside_is_told_when_it_is_met(filled: Path, url: str) -> None:
    data = bytearray(filled.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8192] = b"\xff" * 8192
    filled.write_bytes(data)
    with History.open(url) as history, pytest.raises(HistoryError, match="is damaged"):
        [history.metrics(f"run-{number}") for number in range(4)]
    assert is_damaged(url)


def test_setting_aside_makes_room_for_a_new_database(filled: Path, url: str, run: Run) -> None:
    garbage(filled)
    aside = set_aside(url)
    assert aside is not None
    assert aside.name.startswith("history.sqlite.set-aside-")
    assert aside.read_bytes().startswith(b"These are not")
    with History.open(url) as history:
        assert history.ids() == set()
        history.write(run, events_offset=0, metrics_offset=0)
    assert not is_damaged(url)


def test_the_log_is_set_aside_with_its_file(url: str, file: Path, run: Run, tmp_path: Path) -> None:
    with History.open(url) as history:
        history.write(run, events_offset=0, metrics_offset=0)
        crashed = tmp_path / "crashed"  # what a power cut leaves: the newest writes are only in the log
        crashed.mkdir()
        for part in file.parent.glob("history.sqlite*"):
            shutil.copy(part, crashed)
    aside = set_aside(f"sqlite:///{crashed / 'history.sqlite'}")
    assert aside is not None
    assert not list(crashed.glob("history.sqlite-*"))
    with closing(sqlite3.connect(aside)) as rescued:
        assert rescued.execute("SELECT id FROM runs").fetchall() == [(run.id,)]


def test_each_setting_aside_is_kept(url: str, file: Path) -> None:
    for text in ("first", "second"):
        file.write_text(text)
        set_aside(url)
    assert sorted(aside.read_text() for aside in file.parent.glob("*.set-aside-*")) == ["first", "second"]


@pytest.mark.parametrize("url", ["sqlite:///{folder}/none.sqlite", "postgresql://localhost/studio"])
def test_where_there_is_no_file_there_is_nothing_to_set_aside(url: str, tmp_path: Path) -> None:
    assert set_aside(url.format(folder=tmp_path)) is None
    assert not is_damaged(url.format(folder=tmp_path))


def test_a_newer_or_foreign_database_is_not_damaged(url: str, file: Path) -> None:
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("CREATE TABLE photos (name TEXT)")
    with pytest.raises(HistoryError, match="not the studio's"):
        History.open(url)
    assert not is_damaged(url)
