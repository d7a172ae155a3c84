"""The studio's verbs on real runs of the toy model: start, stop, kill, find again, delete, export, rebuild.

Trainings take seconds, most of them for importing the libraries, so the finished runs are shared (conftest.py).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_home import long, make_home, put_run, quick, statuses_of, steps_of, write_sums
from waiting import wait_until

from studio.errors import HistoryError, InvalidInput, NotFound, Refused
from studio.history import History
from studio.recipe import Recipe
from studio.runs import RunStatus
from studio.services import studio as studio_module
from studio.services.studio import Studio
from studio.services.supervisor import checkpoints_of
from studio.services.workers import read_identity
from studio.settings import Settings

OpenStudio = Callable[..., Studio]
TRAINING_SECONDS = 90
"""Deadline for a toy run; it takes about eight seconds on two free cores."""


def over(studio: Studio, run_id: str) -> bool:
    return studio.history.run(run_id).status.is_over


def recorded(history: History) -> dict[str, Any]:
    """Everything that a database says."""
    runs = {run.id: run for run in history.runs(limit=1000)}
    return {
        "runs": runs,
        "metrics": {run_id: history.metrics(run_id) for run_id in runs},
        "exports": {run_id: history.exports(run_id) for run_id in runs},
    }


@pytest.fixture(scope="module")
def finished(studio: Studio, home: Settings) -> tuple[str, str]:
    """Two runs queued at once, the second by another studio on the same home; both have finished."""
    first = studio.start_run(quick(), "First try")
    other = Studio.open(home)
    try:
        assert other.supervisor is None
        second = other.start_run(quick(steps=2))
    finally:
        other.close()
    wait_until(lambda: over(studio, first), TRAINING_SECONDS, "the end of the first run")
    wait_until(lambda: over(studio, second), TRAINING_SECONDS, "the end of the second run")
    return first, second


# -- a run from its start to its end --------------------------------------------------------------------------


def test_a_run_finishes_with_everything_a_page_shows(studio: Studio, finished: tuple[str, str]) -> None:
    run = studio.history.run(finished[0])
    assert (run.status, run.cause, run.name) == (RunStatus.FINISHED, None, "First try")
    assert (run.last_step, run.total_steps) == (4, 4)
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.created_at <= run.started_at < run.ended_at
    assert run.result["steps"] == 4
    assert "accuracy_after" in run.result
    assert studio.versions(run)["torch"]
    assert all(sample["after"] is not None for sample in run.samples)
    assert studio.recipe_of(run.id) == quick()


def test_the_history_holds_the_folders_metrics(studio: Studio, finished: tuple[str, str]) -> None:
    for run_id in finished:
        told, _ = studio.folder(run_id).metrics()
        known = studio.history.metrics(run_id)
        assert {(m.step, m.name): m.value for m in known} == {(m.step, m.name): m.value for m in told}
        assert steps_of(studio.folder(run_id)) == list(range(1, studio.history.run(run_id).last_step + 1))


def test_curves_are_in_step_order(studio: Studio, finished: tuple[str, str]) -> None:
    curves = studio.curves(finished[0], ["loss", "eval_loss", "nothing"])
    assert [metric.step for metric in curves["loss"]] == [1, 2, 3, 4]
    assert [metric.step for metric in curves["eval_loss"]] == [0, 2, 4]
    assert curves["nothing"] == []


def test_two_queued_runs_run_one_after_another(studio: Studio, finished: tuple[str, str]) -> None:
    first, second = (studio.history.run(run_id) for run_id in finished)
    assert first.ended_at is not None
    assert second.started_at is not None
    assert first.ended_at <= second.started_at


def test_checkpoints_are_kept_and_listed(studio: Studio, finished: tuple[str, str]) -> None:
    assert [checkpoint.step for checkpoint in checkpoints_of(studio.folder(finished[0]))] == [2, 4]


# -- exports --------------------------------------------------------------------------------------------------


def test_an_adapter_is_exported_as_a_zip_that_peft_reads(studio: Studio, finished: tuple[str, str]) -> None:
    made = studio.export(finished[0], "adapter")
    path = studio.export_path(finished[0], made)
    assert path.name.startswith("first-try-adapter-")
    assert path.stat().st_size == made.size_bytes
    names = zipfile.ZipFile(path).namelist()
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= set(names)
    assert "training_args.bin" not in names
    assert made in studio.history.exports(finished[0])


def test_a_merged_model_is_exported_as_a_folder(studio: Studio, finished: tuple[str, str]) -> None:
    made = studio.export(finished[0], "merged")
    folder = studio.export_path(finished[0], made)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    assert json.loads((folder / "config.json").read_text())["dtype"] == made.report["dtype"]
    assert made.kind == "merged"
    assert made in studio.history.exports(finished[0])


def test_an_export_needs_an_adapter(open_studio: OpenStudio, settings: Settings) -> None:
    put_run(settings, "bare")
    with pytest.raises(Refused, match="no adapter yet"):
        open_studio().export("bare", "adapter")


def test_an_export_of_an_unknown_kind_says_which_there_are(studio: Studio, finished: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput, match="adapter, merged") as caught:
        studio.export(finished[0], "exe")
    assert caught.value.field == "kind"


# -- the list of runs -----------------------------------------------------------------------------------------


def test_a_rename_is_seen_at_once_and_cleaned(studio: Studio, finished: tuple[str, str]) -> None:
    studio.rename_run(finished[1], "  Second\x1b try\u202e ")
    assert studio.history.run(finished[1]).name == "Second try"
    with pytest.raises(InvalidInput, match="needs a name"):
        studio.rename_run(finished[1], " \n ")
    assert studio.history.run(finished[1]).name == "Second try"


def test_a_deleted_run_can_be_brought_back_as_it_was(studio: Studio, finished: tuple[str, str]) -> None:
    before = recorded(studio.history)
    studio.delete_run(finished[1])
    assert finished[1] not in studio.history.ids()
    with pytest.raises(NotFound):
        studio.folder(finished[1])
    studio.undo_delete(finished[1])
    assert recorded(studio.history) == before


def test_rebuilding_gives_the_same_database(
    studio: Studio, finished: tuple[str, str], tmp_path: Path, toy_model: Path
) -> None:
    elsewhere = make_home(tmp_path / "copy", toy_model)
    shutil.copytree(studio.settings.runs, elsewhere.runs, dirs_exist_ok=True)
    rebuilt = Studio.open(elsewhere, start_runs=False)
    try:
        rebuilt.sync()
        assert recorded(rebuilt.history) == recorded(studio.history)
        assert len(rebuilt.history.exports(finished[0])) == len(list(rebuilt.folder(finished[0]).exports.iterdir()))
    finally:
        rebuilt.close()


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../runs", "/etc", "nowhere", "a\0b", "x" * 5000, "*", "\ud800"], ids=ascii
)
@pytest.mark.parametrize("verb", ["stop_run", "delete_run", "undo_delete", "folder"])
def test_an_id_that_is_none_is_a_sentence_for_every_verb(studio: Studio, verb: str, run_id: str) -> None:
    with pytest.raises(NotFound, match=r"not exist any more|not in the trash"):
        getattr(studio, verb)(run_id)


def test_undoing_a_delete_brings_nothing_in_from_outside(open_studio: OpenStudio, settings: Settings) -> None:
    (settings.home / "secret.txt").write_text("mine")
    studio = open_studio()
    with pytest.raises(NotFound):
        studio.undo_delete("../secret")
    assert (settings.home / "secret.txt").read_text() == "mine"


@pytest.mark.parametrize("part", ["", "*", "?ack", "bac", "back.2"])
def test_undoing_a_delete_takes_the_whole_id(open_studio: OpenStudio, settings: Settings, part: str) -> None:
    put_run(settings, "back")
    studio = open_studio()
    studio.delete_run("back")
    with pytest.raises(NotFound, match="not in the trash"):
        studio.undo_delete(part)
    assert list(settings.runs.iterdir()) == []


def test_undoing_twice_changes_nothing(open_studio: OpenStudio, settings: Settings) -> None:
    folder = put_run(settings, "back")
    studio = open_studio()
    studio.delete_run("back")
    studio.undo_delete("back")
    with pytest.raises(NotFound):
        studio.undo_delete("back")
    studio.delete_run("back")
    put_run(settings, "back")  # a copy that somebody put in its place meanwhile
    with pytest.raises(Refused, match="back already"):
        studio.undo_delete("back")
    assert not (folder.path / "back").exists()


# -- stopping and dying ---------------------------------------------------------------------------------------


def test_a_killed_run_is_interrupted_and_the_rest_of_the_queue_goes_on(studio: Studio, tmp_path: Path) -> None:
    recipe = long(write_sums(tmp_path))
    killed, stopped = studio.start_run(recipe, "to be killed"), studio.start_run(recipe, "to be stopped")
    never_begun = studio.start_run(recipe, "never begun")

    wait_until(lambda: studio.history.run(killed).last_step > 3, TRAINING_SECONDS, "a few steps")
    with pytest.raises(Refused, match="Stop it first"):
        studio.delete_run(killed)
    identity = read_identity(studio.folder(killed))
    assert identity is not None
    os.killpg(identity.pid, signal.SIGKILL)
    wait_until(lambda: over(studio, killed), 5, "the notice of the worker's death")
    run = studio.history.run(killed)
    assert run.status is RunStatus.INTERRUPTED
    assert "SIGKILL" in (run.cause or "")
    assert steps_of(studio.folder(killed)) == list(range(1, run.last_step + 1))

    studio.stop_run(never_begun)
    assert studio.history.run(never_begun).status is RunStatus.STOPPED

    wait_until(lambda: studio.history.run(stopped).last_step > 3, TRAINING_SECONDS, "the next run's first steps")
    studio.stop_run(stopped)
    wait_until(lambda: over(studio, stopped), 30, "the stop")
    run, folder = studio.history.run(stopped), studio.folder(stopped)
    assert statuses_of(folder)[-2:] == ["stopping", "stopped"]
    assert [checkpoint.step for checkpoint in checkpoints_of(folder)] == [run.last_step]
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    assert statuses_of(studio.folder(never_begun)) == ["queued", "stopped"]


# -- refused before anything is written -----------------------------------------------------------------------


def test_a_full_disk_is_told_with_both_numbers(
    open_studio: OpenStudio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = open_studio()
    monkeypatch.setattr(studio_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=120_000_000))
    with pytest.raises(Refused, match=r"0\.1 GB free, a run needs about 0\.5 GB"):
        studio.start_run(quick())
    assert list(settings.runs.iterdir()) == []


def test_a_dataset_of_the_system_is_refused(open_studio: OpenStudio, settings: Settings) -> None:
    with pytest.raises(Refused, match="system"):
        open_studio().start_run(Recipe().changed(**{"data.dataset": "/proc/self/environ"}))
    assert list(settings.runs.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../x", "a\0b", "x" * 300, "<img src=x onerror=alert(1)>", "\ud800", "שלום"], ids=ascii
)
def test_a_run_may_have_any_name(open_studio: OpenStudio, settings: Settings, name: str) -> None:
    studio = open_studio(start_runs=False)
    run_id = studio.start_run(quick(), name)
    assert studio.history.run(run_id).name.strip()
    assert [path.name for path in settings.runs.iterdir()] == [run_id]
    json.loads((settings.runs / run_id / "run.json").read_text(encoding="utf-8"))


# -- uploads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("My Data.JSONL", "my-data.jsonl"),
        ("../../x.jsonl", "x.jsonl"),
        ("/etc/passwd", "passwd"),
        ("C:\\temp\\a.csv", "c-temp-a.csv"),
        ("a\0b.json", "a-b.json"),
        ("x" * 300 + ".csv", "x" * 40 + ".csv"),
        ("rows.<img onerror=x>", "rows"),
        ("rows." + "x" * 300, "rows"),
        ("🎬.parquet", "run.parquet"),
        ("CON.csv", "con-1.csv"),
        ("", "run"),
    ],
    ids=ascii,
)
def test_an_upload_gets_a_harmless_name(
    open_studio: OpenStudio, settings: Settings, tmp_path: Path, name: str, kept: str
) -> None:
    source = tmp_path / "blob"
    source.write_text("content")
    assert open_studio().take_upload(source, name) == settings.uploads / kept
    assert (settings.uploads / kept).read_text() == "content"


def test_uploads_of_one_name_never_overwrite_each_other(
    open_studio: OpenStudio, settings: Settings, tmp_path: Path
) -> None:
    studio = open_studio()
    for number in range(12):
        (tmp_path / str(number)).write_text(str(number))
    with ThreadPoolExecutor(12) as pool:
        kept = list(pool.map(lambda n: studio.take_upload(tmp_path / str(n), "rows.csv"), range(12)))
    assert [path.read_text() for path in kept] == [str(number) for number in range(12)]
    assert sorted(studio.uploads()) == sorted(kept)
    assert settings.uploads / "rows.csv" in kept
    assert settings.uploads / "rows-12.csv" in kept


def test_an_upload_that_breaks_off_leaves_nothing(open_studio: OpenStudio, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_studio().take_upload(tmp_path / "gone", "rows.csv")
    assert list(settings.uploads.iterdir()) == []


# -- a database that cannot be trusted ------------------------------------------------------------------------


def test_a_damaged_database_is_set_aside_and_rebuilt(open_studio: OpenStudio, settings: Settings) -> None:
    put_run(settings, "one")
    put_run(settings, "two", RunStatus.FAILED)
    studio = open_studio()
    before = recorded(studio.history)
    studio.close()
    (settings.home / "history.sqlite").write_bytes(b"not a database at all" * 400)

    again = open_studio()
    assert "damaged" in (again.notice or "")
    assert recorded(again.history) == before
    aside = list(settings.home.glob("history.sqlite.set-aside-*"))
    assert len(aside) == 1
    assert str(aside[0]) in (again.notice or "")


def test_a_lost_database_is_rebuilt_without_a_word(open_studio: OpenStudio, settings: Settings) -> None:
    put_run(settings, "one")
    studio = open_studio()
    before = recorded(studio.history)
    studio.close()
    for file in settings.home.glob("history.sqlite*"):
        file.unlink()
    again = open_studio()
    assert again.notice is None
    assert recorded(again.history) == before


def test_a_damaged_database_is_not_set_aside_under_an_open_studio(open_studio: OpenStudio, settings: Settings) -> None:
    open_studio()
    (settings.home / "history.sqlite").write_bytes(b"not a database at all" * 400)
    with pytest.raises(HistoryError, match="damaged"):
        Studio.open(settings)
    assert list(settings.home.glob("*.set-aside-*")) == []


def test_a_database_that_cannot_be_opened_leaves_the_home_unlocked(open_studio: OpenStudio, settings: Settings) -> None:
    (settings.home / "history.sqlite").mkdir()
    with pytest.raises(HistoryError):
        Studio.open(settings)
    (settings.home / "history.sqlite").rmdir()
    assert open_studio().supervisor is not None
