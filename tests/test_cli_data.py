"""`studio data inspect` as scripts use it: the audit on the terminal, and an exit code that says whether to go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_home import make_home

from studio.cli_data import NOT_READABLE, NOTHING_TO_FIX, TO_FIX
from studio.settings import Settings

Ended = subprocess.CompletedProcess[str]
CLEAN = [{"prompt": f"What is {n} + {n}?", "completion": f"That is {2 * n}, of course."} for n in range(20)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    return make_home(tmp_path_factory.mktemp("cli-data") / "home", toy_model)


def inspect(home: Settings, *arguments: str | Path, folder: Path | None = None) -> Ended:
    command = [sys.executable, "-m", "studio", "--home", str(home.home), "data", "inspect", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder, timeout=120, check=False
    )


def rows_file(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def with_row(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The clean rows with one more as row 11, which the seed does not hold out."""
    return [*CLEAN[:10], row, *CLEAN[10:]]


def test_a_clean_file_ends_with_nothing_to_fix(home: Settings, tmp_path: Path) -> None:
    rows_file(tmp_path, CLEAN)
    ended = inspect(home, "rows.jsonl", folder=tmp_path)
    assert ended.returncode == NOTHING_TO_FIX, ended.stderr
    assert "Read as prompt/completion (certain)" in ended.stdout
    assert "20 rows: 16 to train on, 4 held out." in ended.stdout
    assert "Nothing to fix." in ended.stdout
    assert ended.stderr == ""


def test_what_is_worth_fixing_is_told_with_its_rows_and_the_field_that_mends_it(home: Settings, tmp_path: Path) -> None:
    file = rows_file(tmp_path, with_row({"prompt": "Tell me all.", "completion": "all " * 300}))
    ended = inspect(home, file, "--max-length", "256")
    assert ended.returncode == TO_FIX
    assert "1 answer cut" in ended.stdout
    assert "rows 11" in ended.stdout
    assert "cleaning.drop_over_long: True" in ended.stdout


def test_columns_with_other_names_are_mapped_on_the_command_line(home: Settings, tmp_path: Path) -> None:
    file = rows_file(tmp_path, [{"a1": row["prompt"], "b1": row["completion"], "n": 1} for row in CLEAN])
    guessed = inspect(home, file)
    assert guessed.returncode == TO_FIX
    assert "only a guess" in guessed.stdout
    mapped = inspect(home, file, "--map", "prompt={a1}", "--map", "completion={b1}")
    assert mapped.returncode == NOTHING_TO_FIX, mapped.stderr


def test_a_recipe_brings_its_cleaning_steps(home: Settings, tmp_path: Path) -> None:
    file = rows_file(tmp_path, with_row(CLEAN[4]))
    (tmp_path / "recipe.yaml").write_text("cleaning: {dedupe: exact}\n")
    assert inspect(home, file).returncode == TO_FIX
    ended = inspect(home, file, "--recipe", tmp_path / "recipe.yaml")
    assert ended.returncode == NOTHING_TO_FIX
    assert "dedupe: 1 left out, 20 left" in ended.stdout


def test_json_holds_everything_for_scripts(home: Settings, tmp_path: Path) -> None:
    ended = inspect(home, rows_file(tmp_path, CLEAN), "--json")
    answer = json.loads(ended.stdout)
    assert (answer["rows"], answer["findings"]) == (20, [])
    assert answer["lengths"]["rows"] == 16


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("missing.jsonl", None, "There is no file"),
        ("fake.parquet", "hello", "fake.parquet"),
        ("empty.jsonl", "", "empty"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_exit_code_2(
    home: Settings, tmp_path: Path, name: str, content: str | None, fragment: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    ended = inspect(home, tmp_path / name)
    assert ended.returncode == NOT_READABLE
    assert fragment in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
