"""Lengths measured once: the same numbers as preparing the rows for training gives, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.data.dataset import load
from studio.ml import models
from studio.ml.looking import lengths
from studio.ml.prepare import prepare
from studio.recipe import ModelPart, Recipe
from studio.settings import Settings


@pytest.fixture
def recipe(toy_model: Path, tmp_path: Path) -> Recipe:
    """Conversations with answers of 1 to 200 letters, two of them with two answers, and one without a word."""
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "x" * (1 + 5 * number)}]}
        for number in range(40)
    ]
    rows[3]["messages"] *= 2
    rows[20]["messages"] *= 2
    rows[7]["messages"][0]["content"] = "y" * 300
    rows[9]["messages"][1]["content"] = ""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Recipe().changed(**{"model.base_model": str(toy_model), "data.dataset": str(file), "data.held_out_rows": 0})


@pytest.fixture
def tokenizer(recipe: Recipe) -> Any:
    return models.load_tokenizer(Path(recipe.model.base_model), ModelPart())


@pytest.mark.parametrize("limit", [48, 96, 128, 1024])
@pytest.mark.parametrize("loss", [{}, {"training.assistant_only_loss": False}, {"training.completion_only_loss": True}])
def test_the_slider_says_what_preparing_for_training_does(
    recipe: Recipe, tokenizer: Any, settings: Settings, tmp_path: Path, limit: int, loss: dict[str, Any]
) -> None:
    asked = recipe.changed(**{"training.max_length": limit, **loss})
    data = load(asked, settings)
    told = lengths.at_max_length(lengths.measured(data, tokenizer, asked, settings), asked)
    prepared = prepare(tokenizer, data.train.parts, asked, tmp_path / "train.arrow")
    assert told["rows_trained"] == len(prepared.rows)
    assert told["rows_cut"] == prepared.cut
    assert told["rows_dropped"] == prepared.untrained
    assert told["total_tokens"] == sum(len(ids) for ids in prepared.rows["input_ids"])


def test_dropping_long_rows_is_told_as_training_does_it(
    recipe: Recipe, tokenizer: Any, settings: Settings, tmp_path: Path
) -> None:
    asked = recipe.changed(**{"training.max_length": 96, "cleaning.drop_over_long": True})
    data = load(asked, settings)
    told = lengths.at_max_length(lengths.measured(data, tokenizer, asked, settings), asked)
    prepared = prepare(tokenizer, data.train.parts, asked, tmp_path / "train.arrow")
    assert prepared.over_long > 0
    assert (told["rows_trained"], told["rows_cut"]) == (len(prepared.rows), 0)


def test_rows_are_tokenized_once_whatever_is_left_out_of_them(
    recipe: Recipe, tokenizer: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths.measured(load(recipe, settings), tokenizer, recipe, settings)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("rows were tokenized again")

    monkeypatch.setattr(lengths, "tokenize_many", fail)
    fewer = recipe.changed(**{"cleaning.drop_empty": True, "cleaning.drop_rows": [1, 2], "training.max_length": 64})
    kept = lengths.measured(load(fewer, settings), tokenizer, fewer, settings)
    assert len(kept.total) == 37
    other = recipe.changed(**{"training.assistant_only_loss": False})
    with pytest.raises(AssertionError, match="again"):
        lengths.measured(load(other, settings), tokenizer, other, settings)


def test_padding_is_what_the_layout_of_batches_leaves_empty(recipe: Recipe) -> None:
    rows = np.bincount([10, 20, 30, 40])
    ordered = recipe.changed(**{"training.per_device_train_batch_size": 2})
    assert lengths.padding_share(rows, ordered) == pytest.approx(1 - 100 / (2 * 20 + 2 * 40))
    single = recipe.changed(**{"training.per_device_train_batch_size": 1})
    assert lengths.padding_share(rows, single) == 0
    assert lengths.padding_share(rows, recipe.changed(**{"training.packing": True})) == 0


def test_steps_per_epoch_count_batches_and_packed_sequences(recipe: Recipe) -> None:
    rows = np.bincount(np.full(100, 64))
    batches = {"training.per_device_train_batch_size": 4, "training.gradient_accumulation_steps": 2}
    assert lengths.steps_per_epoch(rows, recipe.changed(**batches)) == 13
    packed = recipe.changed(**batches, **{"training.packing": True, "training.max_length": 128})
    assert lengths.steps_per_epoch(rows, packed) == 7


def test_the_histogram_counts_every_row_once() -> None:
    bins = lengths._bins(np.bincount([0, 1, 79, 80, 500]))
    assert sum(count for _, _, count in bins) == 5
    assert all(low < high for low, high, _ in bins)
    assert len(bins) <= lengths.BINS


def test_another_template_or_tokenizer_has_another_fingerprint(toy_model: Path) -> None:
    own, chatml, llama = (
        lengths.fingerprint(models.load_tokenizer(toy_model, ModelPart(chat_template=name)))
        for name in ("own", "alpaca", "llama-3")
    )
    again = lengths.fingerprint(models.load_tokenizer(toy_model, ModelPart()))
    assert len({own, chatml, llama}) == 3
    assert again == own
