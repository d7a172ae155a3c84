"""What the Data page is told of a dataset: at once from its beginning, whole once it was read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.errors import InvalidInput
from studio.ml.looking import dataset_view, scan
from studio.recipe import Recipe
from studio.settings import Settings

Make = Callable[..., Recipe]


@pytest.fixture
def make(toy_model: Path, tmp_path: Path) -> Make:
    """A recipe on a file of these rows: `make(rows, **fields)`."""

    def recipe_of(rows: list[Any], **fields: Any) -> Recipe:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Recipe().changed(
            **{"model.base_model": str(toy_model), "data.dataset": str(file), "data.held_out_rows": 0, **fields}
        )

    return recipe_of


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def trained(row: dict[str, Any]) -> str:
    return "".join(piece for piece, kind in row["tokens"] if kind == "trained")


def test_a_look_tells_the_format_and_colours_the_first_rows(make: Make, settings: Settings) -> None:
    told = dataset_view.look(make([pair("1+1", "2"), pair("1+2", "3")]), settings)
    assert (told["kind"], told["format"]["name"], told["format"]["sureness"]) == (
        "jsonl",
        "prompt/completion",
        "certain",
    )
    assert told["columns"] == ["prompt", "completion"]
    assert [row["number"] for row in told["rows"]] == [1, 2]
    assert trained(told["rows"][0]).startswith("2")
    assert told["rows"][0]["trained"] < told["rows"][0]["total"]
    assert told["template"]["source"] == "tokenizer"


def test_columns_that_say_nothing_ask_for_a_mapping_and_still_show_the_rows(make: Make, settings: Settings) -> None:
    rows = [{"a": 1, "b": 2.5}] * 3
    told = dataset_view.look(make(rows), settings)
    assert told["format"] is None
    assert "a, b" in told["problem"]
    assert told["rows"][0]["raw"] == {"a": 1, "b": 2.5}
    mapped = dataset_view.look(make(rows, **{"data.mapping": {"prompt": "{a}", "completion": "is {b}"}}), settings)
    assert mapped["rows"][0]["messages"][1]["content"] == "is 2.5"


def test_without_its_model_the_rows_can_still_be_read(make: Make, settings: Settings) -> None:
    told = dataset_view.look(make([pair("1+1", "2")], **{"model.base_model": "/nowhere/model"}), settings)
    assert told["rows"][0]["messages"][1]["content"] == "2"
    assert told["rows"][0]["tokens"] == []
    assert "no folder" in told["model_problem"]


def test_what_max_length_cuts_is_told_token_by_token(make: Make, settings: Settings) -> None:
    row = dataset_view.look(make([pair("Why?", "x" * 200)], **{"training.max_length": 64}), settings)["rows"][0]
    kinds = [kind for _, kind in row["tokens"]]
    assert len(kinds) == row["total"]
    assert kinds[64:] == ["cut"] * (row["total"] - 64)
    assert "cut" not in kinds[:64]


def test_a_row_tells_where_it_ended_up(make: Make, settings: Settings) -> None:
    rows = [pair(str(number), "same" if number in (4, 5) else f"answer {number}") for number in range(10)]
    rows[5]["prompt"] = rows[4]["prompt"]
    rows.append(pair("empty", ""))
    recipe = make(rows, **{"cleaning.dedupe": "exact", "cleaning.drop_empty": True, "data.held_out_rows": 2})
    told = dataset_view.rows(recipe, settings, range(1, 14))["rows"]
    assert len(told) == 11  # there is no row 12
    dropped = {row["number"]: row["dropped_by"] for row in told if row["dropped_by"]}
    assert dropped == {6: "dedupe", 11: "drop_empty"}
    assert sum(row["held_out"] for row in told) == 1  # a fifth of nine


def test_long_values_and_many_columns_stay_small_on_the_way_to_the_page(make: Make, settings: Settings) -> None:
    row = {"text": "word " * 100_000, **{f"column {number}": number for number in range(1000)}}
    told = dataset_view.look(make([row], **{"data.format": "text"}), settings)
    assert len(json.dumps(told)) < 150_000
    assert "(500,000 characters)" in told["rows"][0]["text"]
    assert told["rows"][0]["raw"]["…"] == "961 more columns"


def ask_until_done(scans: scan.Scans, recipe: Recipe) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (answer := scans.ask(recipe))["state"] == "running":
        assert time.monotonic() < deadline
    return answer


def test_a_scan_is_asked_until_it_is_done_and_kept_then(make: Make, settings: Settings) -> None:
    scans = scan.Scans(settings)
    recipe = make([pair(str(number), str(number)) for number in range(50)])
    answer = ask_until_done(scans, recipe)
    assert (answer["rows"], answer["train_rows"]) == (50, 50)
    assert scans.ask(recipe) is answer
    json.dumps(answer)


def test_a_scan_that_fails_says_why_and_is_tried_again(make: Make, settings: Settings) -> None:
    scans = scan.Scans(settings)
    recipe = make([pair("a", "b")], **{"cleaning.keep_if": "nothing > 1"})
    for _ in range(2):
        with pytest.raises(InvalidInput, match="nothing") as caught:
            ask_until_done(scans, recipe)
        assert caught.value.field == "cleaning.keep_if"


def test_a_large_source_is_scanned_in_a_process_of_its_own(
    make: Make, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "OWN_PROCESS_FROM_BYTES", 1)
    recipe = make([pair(str(number), str(number)) for number in range(50)])
    seen: list[str] = []
    scans = scan.Scans(settings)
    deadline = time.monotonic() + 120
    while (answer := scans.ask(recipe))["state"] == "running" and time.monotonic() < deadline:
        seen.append(answer["doing"])
    assert answer["train_rows"] == 50
    assert list((settings.data_cache / "surveys").iterdir())
    assert not list(settings.temporary.glob("scan-*"))
    assert seen


def test_the_kept_lengths_answer_within_the_time_of_a_slider(make: Make, settings: Settings) -> None:
    rows = [pair(f"Question number {number}?", "word " * (number % 50)) for number in range(5000)]
    recipe = make(rows)
    dataset_view.lengths_at(recipe, settings)
    began = time.monotonic()
    for limit in (64, 128, 256, 512, 1024):
        told = dataset_view.lengths_at(recipe.changed(**{"training.max_length": limit}), settings)
        assert told["max_length"] == limit
    assert (time.monotonic() - began) / 5 < 0.2
