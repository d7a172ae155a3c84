"""Where the studio keeps its things: arguments win over the environment, the environment over the default."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from studio.errors import Refused
from studio.settings import read_settings
from studio.starter_sets import SETS


def test_the_home_comes_from_the_argument_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "environment"))
    assert read_settings(tmp_path / "argument").home == tmp_path / "argument"
    assert read_settings().home == tmp_path / "environment"
    monkeypatch.delenv("STUDIO_HOME")
    assert read_settings().home == Path.home() / ".finetune-studio"


def test_the_database_lies_in_the_home_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(tmp_path).database_url == f"sqlite:///{tmp_path / 'history.sqlite'}"
    monkeypatch.setenv("STUDIO_DATABASE_URL", "postgresql://somewhere/studio")
    assert read_settings(tmp_path).database_url == "postgresql://somewhere/studio"


@pytest.mark.parametrize(
    ("ways_in", "exposed"),
    [({}, False), ({"host": "localhost"}, False), ({"host": "0.0.0.0"}, True), ({"share": True}, True)],
)
def test_exposed_means_that_others_can_reach_it(tmp_path: Path, ways_in: dict[str, object], exposed: bool) -> None:
    assert read_settings(tmp_path, **ways_in).exposed is exposed


def test_the_folders_are_private_to_this_user(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "home")
    settings.make_folders()
    for folder in (settings.home, settings.runs, settings.uploads, settings.temporary):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_every_starter_set_that_is_offered_is_there() -> None:
    for offered in SETS:
        assert (offered.folder / "train.jsonl").is_file()


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(Refused, match=r"cannot be written: Not a directory\. Choose another folder with --home"):
        read_settings(tmp_path / "file" / "home").make_folders()
