"""Registered datasets: what was prepared is kept under a name, and says so when its files have changed since.

The studio is real, on an empty home; no row is read and nothing is trained.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from studio.errors import InvalidInput, NotFound, Refused
from studio.recipe import Recipe, recipe_from_dict
from studio.run_folder import RunFolder, now
from studio.services import datasets as datasets_module
from studio.services.datasets import RegisteredDataset
from studio.services.studio import Studio
from studio.settings import Settings, read_settings

OpenStudio = Callable[..., Studio]
FINGERPRINT = "f" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home without a model: nothing here needs one."""
    made = read_settings(tmp_path / "home")
    made.make_folders()
    return made


@pytest.fixture
def studio(open_studio: OpenStudio) -> Studio:
    return open_studio()


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """A dataset of the user's own, outside the studio's home."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "one"}\n')
    return file


def recipe_of(source: Path | str, **changes: Any) -> Recipe:
    return Recipe().changed(**{"data.dataset": str(source), **changes})


def save(studio: Studio, source: Path | str, name: str = "My rows", **changes: Any) -> RegisteredDataset:
    return studio.save_dataset(name, "CC0", recipe_of(source, **changes), FINGERPRINT, 1)


def make_later(path: Path) -> None:
    """Give a file the time of a later change, however coarse the disk's clock is."""
    later = path.stat().st_mtime_ns + 5_000_000_000
    os.utime(path, ns=(later, later))


def files_in(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.uploads / "registered").iterdir())


# -- saving and listing ---------------------------------------------------------------------------------------


def test_a_home_without_registered_datasets_lists_none(studio: Studio) -> None:
    assert studio.datasets() == []


def test_what_is_saved_is_listed_in_another_studio(
    studio: Studio, open_studio: OpenStudio, settings: Settings, rows_file: Path
) -> None:
    recipe = recipe_of(rows_file, **{"cleaning.dedupe": "exact", "data.mapping": {"text": "{text}"}})
    saved = studio.save_dataset("  Größe,\nfirst ", "CC BY 4.0", recipe, FINGERPRINT, 340)
    assert (saved.slug, saved.name, saved.licence) == ("gr-e-first", "Größe, first", "CC BY 4.0")
    assert (saved.fingerprint, saved.rows, saved.changed, saved.missing) == (FINGERPRINT, 340, False, False)
    assert saved.created_at.tzinfo is UTC
    assert abs(now() - saved.created_at) < timedelta(minutes=1)
    studio.close()
    assert open_studio().datasets() == [saved]
    assert files_in(settings) == ["gr-e-first.json"]


def test_data_and_cleaning_make_the_same_recipe_again(studio: Studio, rows_file: Path) -> None:
    mix = [{"dataset": "starter:lighthouse", "weight": 0.5}]
    recipe = recipe_of(rows_file, **{"data.mix": mix, "cleaning.drop_rows": [3, 1], "cleaning.keep_if": 'lang == "en"'})
    studio.save_dataset("Mixed", "", recipe, FINGERPRINT, 3)
    (listed,) = studio.datasets()
    assert recipe_from_dict({"data": listed.data, "cleaning": listed.cleaning}) == recipe


def test_the_newest_comes_first(studio: Studio, rows_file: Path) -> None:
    for name in ("b", "c", "a"):
        save(studio, rows_file, name)
    assert [entry.name for entry in studio.datasets()] == ["a", "c", "b"]


def test_a_dataset_needs_a_name(studio: Studio, rows_file: Path) -> None:
    with pytest.raises(InvalidInput, match="needs a name") as caught:
        save(studio, rows_file, " \u202e\n")
    assert caught.value.field == "name"
    assert studio.datasets() == []


def test_a_dataset_that_was_not_read_to_its_end_is_not_saved(studio: Studio, rows_file: Path) -> None:
    with pytest.raises(InvalidInput, match="Check all of its rows"):
        studio.save_dataset("Early", "", recipe_of(rows_file), "", 0)
    assert studio.datasets() == []


def test_a_path_that_may_not_be_read_is_not_saved(studio: Studio) -> None:
    with pytest.raises(Refused, match="system"):
        save(studio, "/proc/self/environ")
    with pytest.raises(Refused, match="system"):
        save(studio, "starter:sentiment", "Mixed", **{"data.mix": [{"dataset": "/dev/zero"}]})
    assert studio.datasets() == []


def test_a_file_that_is_gone_already_is_not_saved(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file or folder .*gone\.jsonl") as caught:
        save(studio, tmp_path / "gone.jsonl")
    assert caught.value.field == "data.dataset"
    assert studio.datasets() == []


# -- names that are tricks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("../../x", "x"),
        ("/etc/passwd", "etc-passwd"),
        ("a\0b", "ab"),
        ("x" * 300, "x" * 40),
        ("🎬🎬", "run"),
        ("שלום", "run"),
        ("\u202egnp.exe", "gnp-exe"),
        ("CON", "con-1"),
        (".json", "json"),
    ],
    ids=ascii,
)
def test_no_name_leads_out_of_the_folder(
    studio: Studio, settings: Settings, rows_file: Path, name: str, slug: str
) -> None:
    assert save(studio, rows_file, name).slug == slug
    assert files_in(settings) == [f"{slug}.json"]
    assert [path.name for path in settings.uploads.iterdir()] == ["registered"]
    (listed,) = studio.datasets()
    assert len(listed.name) <= 80
    assert not any(character < " " or character == "\u202e" for character in listed.name)


@pytest.mark.parametrize(
    "slug",
    ["", ".", "..", "../kept", "../../home/x", "/etc/passwd", "kept.json", "a\0b", "x" * 5000, "\ud800", "KEPT/"],
)
def test_only_what_is_listed_can_be_forgotten(studio: Studio, rows_file: Path, settings: Settings, slug: str) -> None:
    save(studio, rows_file, "Kept")
    (settings.uploads / "kept.json").write_text("[]")  # an upload, one folder up
    with pytest.raises(NotFound, match="not registered any more"):
        studio.forget_dataset(slug)
    assert [entry.slug for entry in studio.datasets()] == ["kept"]
    assert (settings.uploads / "kept.json").is_file()


# -- several at once ------------------------------------------------------------------------------------------


def test_equal_names_saved_at_once_are_all_kept(studio: Studio, rows_file: Path) -> None:
    def save_number(number: int) -> RegisteredDataset:
        return studio.save_dataset("Same", "", recipe_of(rows_file), f"content {number}", number)

    with ThreadPoolExecutor(12) as pool:
        saved = list(pool.map(save_number, range(12)))
    assert {entry.slug for entry in saved} == {"same", *(f"same-{number}" for number in range(2, 13))}
    assert {entry.fingerprint for entry in studio.datasets()} == {f"content {number}" for number in range(12)}


def test_whoever_lists_while_another_saves_sees_whole_ones_only(
    studio: Studio, rows_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(2) as pool:
        saving = pool.submit(lambda: [save(studio, rows_file, f"Set {number}") for number in range(30)])
        while not saving.done():
            studio.datasets()
    assert len(studio.datasets()) == 30
    assert caplog.records == []


def test_a_save_that_fails_leaves_nothing_and_says_why(
    studio: Studio, settings: Settings, rows_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(datasets_module, "write_json", full_disk)
    with pytest.raises(Refused, match="No space left"):
        save(studio, rows_file)
    assert files_in(settings) == []


# -- damaged files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"{half",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "only"}',
        b'{"name": 3, "licence": "", "created_at": "2026-11-22T10:00:00Z", "fingerprint": "f", "rows": 1,'
        b' "recipe": {"data": {"dataset": "x"}, "cleaning": {}}, "sources": {}}',
        b'{"name": "x", "licence": "", "created_at": "2026-11-22T10:00:00Z", "fingerprint": "f", "rows": 1,'
        b' "recipe": {"data": {}, "cleaning": {}}, "sources": {}}',
        b'{"name": "x", "licence": "", "created_at": "2026-11-22T10:00:00", "fingerprint": "f", "rows": 1,'
        b' "recipe": {"data": {"dataset": "x"}, "cleaning": {}}, "sources": {}}',
    ],
    ids=["cut off", "list", "null", "no text", "deep", "fields missing", "no name", "no dataset", "no time zone"],
)
def test_a_damaged_file_is_left_aside_and_told_of_in_the_log(
    studio: Studio, settings: Settings, rows_file: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    save(studio, rows_file, "Whole")
    damaged = settings.uploads / "registered" / "damaged.json"
    damaged.write_bytes(content)
    with caplog.at_level(logging.WARNING, "studio"):
        assert [entry.slug for entry in studio.datasets()] == ["whole"]
    assert str(damaged) in caplog.text
    assert damaged.read_bytes() == content
    with pytest.raises(NotFound):
        studio.forget_dataset("damaged")
    assert save(studio, rows_file, "Damaged").slug == "damaged-2"


def test_what_is_no_file_is_not_opened(
    studio: Studio, settings: Settings, rows_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(studio, rows_file, "Whole")
    os.mkfifo(settings.uploads / "registered" / "pipe.json")  # reading it would never end
    (settings.uploads / "registered" / "folder.json").mkdir()
    assert [entry.slug for entry in studio.datasets()] == ["whole"]
    assert caplog.records == []


# -- changed since, and missing -------------------------------------------------------------------------------


def state(studio: Studio) -> tuple[bool, bool]:
    (entry,) = studio.datasets()
    return entry.changed, entry.missing


def test_a_file_of_another_size_has_changed(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file)
    assert state(studio) == (False, False)
    found = rows_file.stat()
    rows_file.write_text('{"text": "one"}\n{"text": "two"}\n')
    os.utime(rows_file, ns=(found.st_mtime_ns, found.st_mtime_ns))
    assert state(studio) == (True, False)


def test_a_file_of_another_time_has_changed(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file)
    make_later(rows_file)
    assert state(studio) == (True, False)


def test_a_file_that_is_gone_is_missing_until_it_is_back(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file)
    rows_file.rename(rows_file.with_suffix(".aside"))
    assert state(studio) == (True, True)
    rows_file.with_suffix(".aside").rename(rows_file)
    assert state(studio) == (False, False)


@pytest.mark.parametrize("source", ["starter:sentiment", "owner/name"])
def test_starters_and_hub_datasets_are_never_called_changed(studio: Studio, source: str) -> None:
    save(studio, source)
    assert state(studio) == (False, False)


def test_a_relative_path_counts_from_the_home(studio: Studio, settings: Settings) -> None:
    file = settings.uploads / "mine.jsonl"
    file.write_text("{}\n")
    save(studio, "datasets/mine.jsonl")
    make_later(file)
    assert state(studio) == (True, False)


def test_a_mixed_in_file_counts_too(studio: Studio, rows_file: Path) -> None:
    save(studio, "starter:sentiment", "Mixed", **{"data.mix": [{"dataset": "owner/name"}, {"dataset": str(rows_file)}]})
    assert state(studio) == (False, False)
    make_later(rows_file)
    assert state(studio) == (True, False)
    rows_file.unlink()
    assert state(studio) == (True, True)


@pytest.fixture
def rows_folder(tmp_path: Path) -> Path:
    """A dataset of several files of one size and time, some of them deeper."""
    folder = tmp_path / "many"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl", "deeper/c.jsonl"):
        (folder / name).write_text("{}\n")
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: make_later(folder / "b.jsonl"),
        lambda folder: make_later(folder / "deeper/c.jsonl"),
        lambda folder: (folder / "d.jsonl").write_text(""),
        lambda folder: (folder / "a.jsonl").unlink(),
        lambda folder: (folder / "a.jsonl").rename(folder / "z.jsonl"),
    ],
    ids=["file", "deeper file", "one more", "one less", "renamed"],
)
def test_a_folder_has_changed_when_any_of_its_files_has(
    studio: Studio, rows_folder: Path, change: Callable[[Path], object]
) -> None:
    save(studio, rows_folder)
    assert state(studio) == (False, False)
    change(rows_folder)
    assert state(studio) == (True, False)


def test_hidden_files_and_links_to_nothing_do_not_matter_to_a_folder(studio: Studio, rows_folder: Path) -> None:
    (rows_folder / "link.jsonl").symlink_to(rows_folder / "nowhere")
    save(studio, rows_folder)
    (rows_folder / ".DS_Store").write_text("notes of a file browser")
    (rows_folder / "_SUCCESS").touch()
    (rows_folder / ".cache").mkdir()
    (rows_folder / ".cache" / "x.jsonl").write_text("{}")
    assert state(studio) == (False, False)


def test_of_a_huge_folder_the_first_files_are_looked_at(
    studio: Studio, rows_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets_module, "FILES_LOOKED_AT", 2)
    save(studio, rows_folder)
    make_later(rows_folder / "deeper" / "c.jsonl")
    assert state(studio) == (False, False)
    make_later(rows_folder / "b.jsonl")
    assert state(studio) == (True, False)


# -- forgetting -----------------------------------------------------------------------------------------------


def test_forgetting_keeps_the_users_file(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file, "One")
    save(studio, rows_file, "Two")
    studio.forget_dataset("one")
    assert [entry.slug for entry in studio.datasets()] == ["two"]
    assert rows_file.is_file()


def test_forgetting_keeps_an_upload(studio: Studio, rows_file: Path) -> None:
    kept = studio.take_upload(rows_file, "rows.jsonl")
    save(studio, kept, "Rows")
    studio.forget_dataset("rows")
    assert studio.uploads() == [kept]


def test_forgetting_twice_says_that_it_is_gone(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file, "One")
    studio.forget_dataset("one")
    with pytest.raises(NotFound, match="another window"):
        studio.forget_dataset("one")


def test_a_forgotten_name_is_free_again(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file, "One")
    studio.forget_dataset("one")
    assert save(studio, rows_file, "One").slug == "one"


# -- its runs -------------------------------------------------------------------------------------------------


def put_run(settings: Settings, run_id: str, source: str, fingerprint: str | None = None) -> None:
    """A run as it lies in its folder once the worker has read its rows."""
    folder = RunFolder(settings.runs / run_id)
    identity = {"id": run_id, "name": run_id, "created_at": now().isoformat()}
    folder.create(identity, recipe_of(source).to_yaml())
    folder.add_event("status", status="failed")
    if fingerprint:
        folder.add_event("facts", dataset_fingerprint=fingerprint)


def test_its_runs_are_those_of_its_name_or_its_content(studio: Studio, settings: Settings, rows_file: Path) -> None:
    saved = save(studio, rows_file)
    put_run(settings, "same-name", str(rows_file))
    put_run(settings, "other", "starter:sentiment", "e" * 64)
    put_run(settings, "same-content", "/elsewhere/copy.jsonl", FINGERPRINT)
    put_run(settings, "longer-name", f"{rows_file}.gz")
    studio.sync()
    assert [run.id for run in studio.runs_of_dataset(saved)] == ["same-content", "same-name"]


def test_a_run_with_a_broken_recipe_is_no_run_of_it(studio: Studio, settings: Settings, rows_file: Path) -> None:
    saved = save(studio, rows_file)
    put_run(settings, "broken", "starter:sentiment")
    (settings.runs / "broken" / "recipe.yaml").write_text("data: none\n")
    studio.sync()
    assert [run.id for run in studio.history.runs()] == ["broken"]
    assert studio.runs_of_dataset(saved) == []


# -- uploads --------------------------------------------------------------------------------------------------


def test_registered_datasets_are_no_uploads(studio: Studio, rows_file: Path) -> None:
    save(studio, rows_file)
    assert studio.uploads() == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("rows.jsonl.gz", "rows.jsonl.gz"),
        ("Data.CSV.ZST", "data.csv.zst"),
        ("../../x.jsonl.gz", "x.jsonl.gz"),
        ("my.data.v2.jsonl.gz", "my-data-v2.jsonl.gz"),
        ("rows.<b>.gz", "rows-b.gz"),
        ("rows.gz", "rows.gz"),
        ("rows.2024.csv", "rows-2024.csv"),
        (".jsonl.gz", "jsonl.gz"),
        ("x" * 300 + ".csv.gz", "x" * 40 + ".csv.gz"),
    ],
    ids=ascii,
)
def test_a_packed_upload_keeps_both_endings(
    studio: Studio, settings: Settings, rows_file: Path, name: str, kept: str
) -> None:
    assert studio.take_upload(rows_file, name) == settings.uploads / kept


def test_two_packed_uploads_of_one_name_are_both_kept(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number).write_text(number)
        studio.take_upload(tmp_path / number, "rows.jsonl.gz")
    assert (settings.uploads / "rows.jsonl.gz").read_text() == "1"
    assert (settings.uploads / "rows-2.jsonl.gz").read_text() == "2"


def test_an_upload_never_takes_the_place_of_the_registered_datasets(
    studio: Studio, settings: Settings, rows_file: Path
) -> None:
    assert studio.take_upload(rows_file, "registered") == settings.uploads / "registered-1"
    save(studio, rows_file)
    assert len(studio.datasets()) == 1


def test_the_file_says_in_plain_json_what_was_kept(studio: Studio, settings: Settings, rows_file: Path) -> None:
    save(studio, rows_file, "Größe")
    written = json.loads((settings.uploads / "registered" / "gr-e.json").read_text(encoding="utf-8"))
    assert (written["name"], written["licence"], written["rows"]) == ("Größe", "CC0", 1)
    assert written["recipe"]["data"]["dataset"] == str(rows_file)
    assert written["recipe"]["cleaning"]["dedupe"] == "no"
