"""Deleted runs wait in the trash, can be taken back, and give their disk back when it is emptied."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import NotFound, Refused
from studio.recipe import Recipe
from studio.run_folder import RunFolder, now
from studio.services import trash
from studio.settings import Settings, read_settings


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    made = read_settings(tmp_path / "home")
    made.make_folders()
    return made


def make_run(home: Settings, run_id: str) -> RunFolder:
    folder = RunFolder(home.runs / run_id)
    folder.create({"id": run_id, "name": run_id, "created_at": now().isoformat()}, Recipe().to_yaml())
    (folder.path / "weights").write_bytes(b"x" * 5000)
    return folder


def test_a_run_goes_and_comes_back_whole(home: Settings) -> None:
    folder = make_run(home, "r1")
    trash.put(folder, home)
    assert not folder.path.exists()
    trash.take_back("r1", home)
    assert (folder.path / "weights").stat().st_size == 5000


def test_emptying_frees_what_it_said_and_nothing_else(home: Settings) -> None:
    kept = make_run(home, "kept")
    trash.put(make_run(home, "gone"), home)
    taken = trash.size_bytes(home)
    assert taken > 5000
    assert trash.empty(home) == taken
    assert trash.size_bytes(home) == 0
    assert kept.path.is_dir()
    with pytest.raises(NotFound, match="not in the trash any more"):
        trash.take_back("gone", home)


def test_a_run_that_is_back_is_not_overwritten(home: Settings) -> None:
    trash.put(make_run(home, "r1"), home)
    make_run(home, "r1")
    with pytest.raises(Refused, match="back already"):
        trash.take_back("r1", home)


def test_what_is_no_run_is_emptied_too_and_a_link_is_not_followed(home: Settings, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    (home.trash / ".DS_Store").write_text("")
    (home.trash / "link").symlink_to(tmp_path / "precious")
    trash.empty(home)
    assert list(home.trash.iterdir()) == []
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "mine"
