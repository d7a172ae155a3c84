"""A dataset from its file to what is trained: read, cleaned in counted steps, split and mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.data import sifting
from studio.data.dataset import Data, load, refuse_bad_rows
from studio.errors import InvalidInput
from studio.recipe import Recipe
from studio.settings import Settings

Load = Callable[..., Data]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a jsonl file: `write([{"prompt": ..., "completion": ...}])`."""

    def rows_to(rows: list[Any], name: str = "rows.jsonl") -> Path:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return rows_to


@pytest.fixture
def read(settings: Settings) -> Load:
    """Load a file with recipe fields: `read(file, **{"cleaning.trim": True})`. Holds nothing out unless asked to."""

    def load_it(dataset: Path | str, **fields: Any) -> Data:
        recipe = Recipe().changed(**{"data.dataset": str(dataset), "data.held_out_rows": 0, **fields})
        return load(recipe, settings)

    return load_it


def pair(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"prompt": question, "completion": answer, **more}


def answers(data: Data) -> list[str]:
    return [example.answer for example in data.train]


def steps(data: Data) -> dict[str, tuple[int, int, int]]:
    return {step.name: (step.changed, step.dropped, step.left) for step in data.steps}


def test_without_a_step_every_row_is_trained_as_it_is(write: Any, read: Load) -> None:
    data = read(write([pair("1+1", " 2 "), pair("1+2", "3")]))
    assert answers(data) == [" 2 ", "3"]
    assert data.steps == ()


def test_each_step_is_counted_and_undone_by_leaving_it_out(write: Any, read: Load) -> None:
    file = write([pair("a", "one "), pair("b", ""), pair("c", "one"), pair("a", "one"), pair("d", "four")])
    on = {
        "cleaning.trim": True,
        "cleaning.drop_rows": [5],
        "cleaning.drop_empty": True,
        "cleaning.keep_if": 'prompt != "c"',
        "cleaning.dedupe": "exact",
    }
    data = read(file, **on)
    assert answers(data) == ["one"]
    assert steps(data) == {
        "trim": (1, 0, 5),
        "drop_rows": (0, 1, 4),
        "drop_empty": (0, 1, 3),
        "keep_if": (0, 1, 2),
        "dedupe": (0, 1, 1),
    }
    assert answers(read(file, **{**on, "cleaning.drop_empty": False})) == ["one", ""]


def test_nearly_the_same_rows_are_found(write: Any, read: Load) -> None:
    long = (
        "the quick brown fox jumps over the lazy dog while the keeper of the lighthouse sleeps until the morning bell"
    )
    file = write(
        [pair(long, "yes"), pair(long.replace("lazy", "sleepy"), "yes"), pair("something else altogether", "no")]
    )
    data = read(file, **{"cleaning.dedupe": "near", "cleaning.near_duplicate_similarity": 0.6})
    assert [int(index) for index in data.main.indices] == [0, 2]


def test_a_sample_is_the_same_for_the_same_seed(write: Any, read: Load) -> None:
    file = write([pair(str(number), str(number)) for number in range(100)])
    some = {"cleaning.shuffle": True, "cleaning.sample_rows": 10}
    first, again, other = (answers(read(file, **some, **{"training.seed": seed})) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 10
    assert answers(read(file, **{"cleaning.sample_rows": 10})) == [str(number) for number in range(10)]


def test_rows_of_one_group_stay_on_one_side(write: Any, read: Load) -> None:
    file = write([pair(f"{number}", "x", customer=number % 10) for number in range(100)])
    data = read(file, **{"data.held_out_rows": 20, "data.held_out_by": "customer"})
    train, held = ({example.prompt[0]["content"][-1] for example in part} for part in (data.train, data.held_out))
    assert held
    assert train
    assert not train & held


def test_a_column_to_group_by_has_to_exist(write: Any, read: Load) -> None:
    with pytest.raises(InvalidInput, match=r"no column client.*prompt, completion") as caught:
        read(write([pair("a", "b")] * 5), **{"data.held_out_by": "client"})
    assert caught.value.field == "data.held_out_by"


def test_a_second_dataset_is_mixed_in_as_often_as_its_weight_says(write: Any, read: Load) -> None:
    file = write([pair(str(n), "main") for n in range(10)])
    other = write([pair(str(n), f"other {n}") for n in range(8)], "other.jsonl")

    def mixed(weight: float) -> list[str]:
        return answers(read(file, **{"data.mix": [{"dataset": str(other), "weight": weight}]}))[10:]

    assert sorted(mixed(1)) == sorted(f"other {n}" for n in range(8))
    assert len(set(mixed(0.5))) == 4
    counts = [mixed(2.25).count(f"other {n}") for n in range(8)]
    assert sorted(counts) == [2] * 6 + [3] * 2


def test_the_fingerprint_covers_what_is_mixed_in(write: Any, read: Load) -> None:
    file = write([pair("a", "b")] * 3)
    other = write([pair("c", "d")], "other.jsonl")
    alone = read(file).fingerprint
    together = read(file, **{"data.mix": [{"dataset": str(other)}]}).fingerprint
    write([pair("c", "e")], "other.jsonl")
    assert len({alone, together, read(file, **{"data.mix": [{"dataset": str(other)}]}).fingerprint}) == 3


def test_rows_that_do_not_fit_are_counted_and_refused_only_where_the_recipe_stops(
    tmp_path: Path, settings: Settings
) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    alien = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "narrator", "content": "b"}]})
    file.write_text(f"{good}\n{alien}\n{good}\n{{broken\n")
    recipe = Recipe().changed(**{"data.dataset": str(file), "data.held_out_rows": 0})
    data = load(recipe, settings)
    assert (len(data.train), data.sifted.unreadable, data.store.facts.bad_rows) == (2, 1, 1)
    assert data.sifted.unreadable_rows[0].number == 2
    with pytest.raises(InvalidInput, match="line 4") as caught:
        refuse_bad_rows(data, recipe.data)
    assert caught.value.field == "data.bad_rows"
    refuse_bad_rows(data, recipe.changed(**{"data.bad_rows": "skip"}).data)


def test_content_that_changed_since_it_was_chosen_is_refused(write: Any, settings: Settings) -> None:
    file = write([pair("a", "b")])
    recipe = Recipe().changed(**{"data.dataset": str(file)})
    chosen = recipe.changed(**{"data.fingerprint": load(recipe, settings).fingerprint})
    refuse_bad_rows(load(chosen, settings), chosen.data)
    write([pair("a", "c")])
    with pytest.raises(InvalidInput, match="has changed since it was chosen"):
        refuse_bad_rows(load(chosen, settings), chosen.data)


def test_a_pass_over_many_rows_is_kept(write: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sifting, "CACHED_FROM_ROWS", 2)
    recipe = Recipe().changed(
        **{"data.dataset": str(write([pair("a", "b"), pair("a", "b"), pair("", "")])), "cleaning.drop_empty": True}
    )
    first = load(recipe, settings)

    def fail(*_: Any) -> None:
        raise AssertionError("a row was read again")

    monkeypatch.setattr(sifting, "read_row", fail)
    again = load(recipe, settings)
    assert again.steps == first.steps
    assert np.array_equal(again.sifted.digests, first.sifted.digests)


def test_a_set_that_brings_held_out_rows_keeps_them(read: Load) -> None:
    data = read("starter:sentiment", **{"data.held_out_rows": 7})
    assert len(data.held_out) == 7
    assert data.held_out.store is not data.store
    assert not np.isin(data.digests[1], data.digests[0]).any()


def test_a_row_that_is_held_out_as_well_counts_as_a_duplicate(write: Any, read: Load, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [pair(str(number), "x") for number in range(10)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    kept = {"data.held_out_rows": 60}
    assert len(read(folder, **kept).train) == 10
    data = read(folder, **kept, **{"cleaning.dedupe": "exact"})
    assert (len(data.train), len(data.held_out)) == (7, 3)
    assert steps(data)["dedupe"] == (0, 3, 7)


def test_a_guess_is_trained_only_once_somebody_confirmed_it(write: Any, read: Load) -> None:
    file = write(
        [{"a1": f"What is {n}?", "b1": f"It is the number {n}, as everybody knows.", "n": 1} for n in range(9)]
    )
    data = read(file)
    assert data.form.sureness == "guess"
    with pytest.raises(InvalidInput, match="only a guess") as caught:
        refuse_bad_rows(data, Recipe().changed(**{"data.dataset": str(file)}).data)
    assert caught.value.field == "data.mapping"
    confirmed = {"data.format": data.form.name, "data.mapping": dict(data.form.mapping)}
    again = read(file, **confirmed)
    assert again.form.sureness == "certain"
    assert answers(again) == answers(data)


def test_rows_that_are_trained_and_held_out_are_known(read: Load, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [pair(str(number), "x") for number in range(10)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[:2], pair("new", "y")]))
    trained, held = read(folder, **{"data.held_out_rows": 60, "cleaning.drop_rows": [1]}).digests
    assert (len(trained), len(held)) == (1, 3)
    assert trained[0] in held
