"""The starter datasets: whole, balanced, recognised without a doubt, and refused by name when there is none."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from studio.data.dataset import Data, load, refuse_bad_rows
from studio.data.sources import starter_sets
from studio.errors import NotFound
from studio.recipe import Recipe
from studio.settings import Settings


@pytest.fixture
def read(settings: Settings) -> Any:
    """`read("sentiment", **fields)`."""

    def starter(name: str, **fields: Any) -> Data:
        recipe = Recipe().changed(**{"data.dataset": f"starter:{name}", **fields})
        data = load(recipe, settings)
        refuse_bad_rows(data, recipe.data)
        return data

    return starter


def test_the_starter_set_brings_its_own_held_out_rows(read: Any) -> None:
    data = read("sentiment")

    assert (len(data.train), len(data.held_out)) == (340, 60)
    assert {example.answer for part in (data.train, data.held_out) for example in part} == {"positive", "negative"}
    assert not {e.prompt[0]["content"] for e in data.train} & {e.prompt[0]["content"] for e in data.held_out}


def test_fewer_held_out_rows_of_a_starter_set_may_be_asked_for(read: Any) -> None:
    data = read("sentiment", **{"data.held_out_rows": 8})

    assert (len(data.train), len(data.held_out)) == (340, 8)


def test_the_held_out_rows_of_the_starter_set_are_balanced(read: Any) -> None:
    """An accuracy of half must mean guessing."""
    counts = Counter(example.answer for example in read("sentiment").held_out)

    assert counts["positive"] == counts["negative"]


@pytest.mark.parametrize("name", starter_sets())
def test_every_starter_set_is_recognised_for_certain(name: str, read: Any) -> None:
    data = read(name)

    assert data.form.sureness == "certain"
    assert len(data.train) >= 48
    assert len(data.held_out)


def test_a_preference_pair_trains_the_better_answer(read: Any) -> None:
    data = read("preferences")

    assert data.form.name == "preference"
    assert all(example.rejected and example.answer != example.rejected[-1]["content"] for example in data.train)


@pytest.mark.parametrize("name", ["nothing", "", "../datasets/sentiment", "/etc"])
def test_an_unknown_starter_set_is_refused_with_those_there_are(name: str, read: Any) -> None:
    with pytest.raises(NotFound, match="sentiment"):
        read(name)
