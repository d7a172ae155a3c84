"""The command `studio` as people type it: every command in a process of its own, on a toy home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_home import make_home, put_run, quick, statuses_of, write_sums

from studio.cli import follow
from studio.recipe import PRESETS, Recipe, recipe_from_dict
from studio.runs import RunStatus
from studio.services.studio import Studio
from studio.settings import Settings

Ended = subprocess.CompletedProcess[str]


def studio(home: Path, *arguments: str, folder: Path | None = None) -> Ended:
    """Run `studio --home HOME ...` in `folder` and wait for it."""
    command = [sys.executable, "-m", "studio", "--home", str(home), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def assert_one_sentence(ended: Ended, fragment: str) -> None:
    """It was refused: exit code 1, one line on stderr that says why, nothing that only programmers read."""
    assert ended.returncode == 1, ended.stdout
    assert fragment in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    return make_home(tmp_path_factory.mktemp("cli") / "home", toy_model)


@pytest.fixture(scope="module")
def trained(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """`studio train recipe.yaml --name otter`, where the recipe names its dataset beside itself."""
    folder = tmp_path_factory.mktemp("project")
    write_sums(folder, rows=40)
    recipe = quick(steps=10).changed(**{"data.dataset": "sums.jsonl"})
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    return studio(home.home, "train", "recipe.yaml", "--name", "otter", folder=folder)


# -- recipes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_printed_recipe_can_be_read_back(tmp_path: Path, preset: str) -> None:
    ended = studio(tmp_path, "recipe", "--preset", preset)
    assert ended.returncode == 0, ended.stderr
    assert recipe_from_dict(yaml.safe_load(ended.stdout)) == Recipe().changed(**PRESETS[preset][1])


def test_an_unknown_preset_is_told_with_those_there_are(tmp_path: Path) -> None:
    assert_one_sentence(studio(tmp_path, "recipe", "--preset", "Sloppy"), "Quick look, Balanced, Thorough")


def test_printing_a_recipe_makes_no_home(tmp_path: Path) -> None:
    studio(tmp_path / "home", "recipe")
    assert not (tmp_path / "home").exists()


# -- training -------------------------------------------------------------------------------------------------


def test_training_shows_its_progress_and_its_result(trained: Ended) -> None:
    assert trained.returncode == 0, trained.stdout + trained.stderr
    lines = trained.stdout.splitlines()
    assert lines[0].startswith("otter")
    assert any("of 10  eval_loss" in line for line in lines)
    assert any("step    10 of 10  loss" in line for line in lines)
    assert "finished" in lines
    assert any(line.strip().startswith("tokens_per_second:") for line in lines)
    assert "Traceback" not in trained.stderr


def test_a_dataset_beside_the_recipe_is_found(home: Settings, trained: Ended) -> None:
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (run,) = (path for path in home.runs.iterdir() if "otter" in path.name)
    dataset = yaml.safe_load((run / "recipe.yaml").read_text())["data"]["dataset"]
    assert Path(dataset).is_absolute()
    assert dataset.endswith("sums.jsonl")


BROKEN = {
    "model: [": "not valid YAML",
    "training:\n  learning_rate: fast\n": "training.learning_rate must be a number",
    "training:\n  speed: 1\n": "no field training.speed",
    "- 1\n": "must be a mapping",
    "data:\n  dataset: /proc/self/environ\n": "system",
}


@pytest.mark.parametrize(("content", "fragment"), BROKEN.items(), ids=BROKEN.values())
def test_a_broken_recipe_is_one_sentence(home: Settings, tmp_path: Path, content: str, fragment: str) -> None:
    (tmp_path / "broken.yaml").write_text(content)
    assert_one_sentence(studio(home.home, "train", str(tmp_path / "broken.yaml")), fragment)


def test_a_recipe_that_is_not_there_is_one_sentence(home: Settings, tmp_path: Path) -> None:
    assert_one_sentence(studio(home.home, "train", str(tmp_path / "nowhere.yaml")), "cannot be read")


def test_a_run_that_failed_is_followed_to_exit_code_1_and_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_bare_home(tmp_path)
    put_run(settings, "doomed").add_event("status", status=RunStatus.FAILED, cause="The disk is full.")
    opened = Studio.open(settings, start_runs=False)
    try:
        assert follow(opened, "doomed") == 1
    finally:
        opened.close()
    assert "failed: The disk is full." in capsys.readouterr().out


# -- what was trained -----------------------------------------------------------------------------------------


def test_runs_are_listed(home: Settings, trained: Ended) -> None:
    ended = studio(home.home, "runs", "--search", "otter")
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    assert "otter" in line
    assert "finished" in line
    assert "step 10" in line


def test_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    ended = studio(tmp_path / "new", "runs")
    assert ended.returncode == 0
    assert "No runs yet" in ended.stdout


def test_an_export_prints_where_it_lies(home: Settings, trained: Ended) -> None:
    ended = studio(home.home, "export", "otter")
    assert ended.returncode == 0, ended.stderr
    path = Path(ended.stdout.strip())
    assert path.is_file()
    assert path.suffix == ".zip"


def test_a_chat_asks_base_and_run_the_same(home: Settings, trained: Ended) -> None:
    ended = studio(home.home, "chat", "otter", "--prompt", "3+1", "--max-tokens", "8")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("base: ")
    assert "\notter: " in ended.stdout


@pytest.mark.parametrize("command", [["stop"], ["export"], ["chat", "--prompt", "x"]], ids=lambda c: c[0])
def test_an_unknown_run_is_one_sentence(home: Settings, command: list[str]) -> None:
    assert_one_sentence(studio(home.home, command[0], "nobody", *command[1:]), "There is no run nobody")


def test_a_run_without_an_adapter_cannot_be_exported(home: Settings) -> None:
    put_run(home, "bare")
    assert_one_sentence(studio(home.home, "export", "bare"), "no adapter yet")


def test_an_unknown_kind_of_export_is_one_sentence(home: Settings) -> None:
    put_run(home, "kindly")
    assert_one_sentence(studio(home.home, "export", "kindly", "--kind", "exe"), "adapter, merged")


def test_stopping_a_queued_run_does_not_start_it(tmp_path: Path) -> None:
    settings = make_bare_home(tmp_path)
    folder = put_run(settings, "waiting", RunStatus.QUEUED)
    assert studio(settings.home, "runs").returncode == 0
    assert statuses_of(folder) == ["queued"]
    ended = studio(settings.home, "stop", "waiting")
    assert ended.returncode == 0, ended.stderr
    assert statuses_of(folder) == ["queued", "stopped"]


def make_bare_home(folder: Path) -> Settings:
    settings = Settings(home=folder / "bare", database_url=f"sqlite:///{folder / 'bare' / 'history.sqlite'}")
    settings.make_folders()
    return settings


# -- the database ---------------------------------------------------------------------------------------------


def test_reindexing_finds_every_run_again(tmp_path: Path) -> None:
    settings = make_bare_home(tmp_path)
    put_run(settings, "one")
    put_run(settings, "two", RunStatus.FAILED)
    before = studio(settings.home, "runs").stdout
    (settings.home / "history.sqlite").write_bytes(b"damaged" * 1000)
    ended = studio(settings.home, "reindex")
    assert ended.returncode == 0, ended.stderr
    assert "2 runs are in the new database" in ended.stdout
    assert "set-aside" in ended.stdout
    assert studio(settings.home, "runs").stdout == before


def test_a_database_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    settings = make_bare_home(tmp_path)
    (settings.home / "history.sqlite").mkdir()
    assert_one_sentence(studio(settings.home, "runs"), "history.sqlite")
