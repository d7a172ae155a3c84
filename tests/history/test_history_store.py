"""What goes into the history comes out of it, whole: the questions that pages and the supervisor ask."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from studio.errors import HistoryError, NotFound
from studio.history import History
from studio.runs import Export, Metric, Run, RunStatus


def store(history: History, *runs: Run) -> None:
    """Write runs that have nothing but themselves."""
    for run in runs:
        history.write(run, events_offset=0, metrics_offset=0)


def loss(step: int, value: float = 1.0) -> Metric:
    return Metric(step=step, name="loss", value=value)


@pytest.fixture
def export() -> Export:
    return Export(
        id="export-1",
        kind="gguf",
        path="exports/model-q8_0.gguf",
        size_bytes=5_000_000_000,
        created_at=datetime(2026, 11, 22, 11, 0, tzinfo=UTC),
        report={"loads": True, "answer": "Paris"},
    )


# -- round trips --------------------------------------------------------------------------------------------


def test_every_field_of_a_run_survives(history: History, run: Run) -> None:
    store(history, run)
    assert history.run(run.id) == run


def test_a_run_that_has_only_been_queued_survives(history: History) -> None:
    queued = Run(id="q", name="Q", status=RunStatus.QUEUED, created_at=datetime(2026, 1, 1, tzinfo=UTC), recipe={})
    store(history, queued)
    assert history.run("q") == queued


def test_a_run_is_still_there_after_closing(url: str, run: Run) -> None:
    with History.open(url) as first:
        store(first, run)
    with History.open(url) as second:
        assert second.runs() == [run]


def test_times_come_back_in_utc(history: History, run: Run) -> None:
    in_berlin = datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    store(history, replace(run, created_at=in_berlin))
    read = history.run(run.id).created_at
    assert read == in_berlin
    assert (read.day, read.hour, read.utcoffset()) == (30, 22, timedelta(0))


def test_a_time_without_a_zone_is_refused(history: History, run: Run) -> None:
    with pytest.raises(HistoryError, match="has no time zone"):
        store(history, replace(run, created_at=datetime(2026, 7, 1)))


def test_numbers_that_json_does_not_have_survive_in_dicts(history: History, run: Run, file: Path) -> None:
    odd = {"final": math.nan, "worst": [math.inf, -math.inf, 1.5], "deep": {"down": (math.nan,)}}
    store(history, replace(run, result=odd))
    result = history.run(run.id).result
    assert math.isnan(result["final"])
    assert result["worst"] == [math.inf, -math.inf, 1.5]
    assert math.isnan(result["deep"]["down"][0])
    with closing(sqlite3.connect(file)) as raw:  # what is on the disk is JSON that every other program reads
        assert raw.execute("SELECT json_valid(result) FROM runs").fetchone() == (1,)


@pytest.mark.parametrize("recipe", [{}, {"model": None, "data": "?"}, {"model": {"base_model": None}}])
def test_a_broken_recipe_is_kept_as_it_is(history: History, run: Run, recipe: dict[str, object]) -> None:
    store(history, replace(run, recipe=recipe))
    assert history.run(run.id).recipe == recipe


@pytest.mark.parametrize("name", ["half \ud83d", "x"])
def test_what_cannot_be_stored_is_a_history_error(history: History, run: Run, name: str) -> None:
    too_large = replace(run, name=name, total_steps=2**70 if name == "x" else 1)
    with pytest.raises(HistoryError, match="could not be used"):
        store(history, too_large)
    assert history.ids() == set()


def test_an_unknown_run_is_told_in_a_sentence(history: History) -> None:
    with pytest.raises(NotFound, match=r"There is no run nowhere here .* Choose one from the list of runs\."):
        history.run("nowhere")


# -- metrics ------------------------------------------------------------------------------------------------


def test_metrics_come_by_step_and_then_by_name(history: History, run: Run) -> None:
    grad = Metric(step=1, name="grad_norm", value=2.5)
    history.write(run, metrics=[loss(2), loss(1), grad], events_offset=0, metrics_offset=0)
    assert history.metrics(run.id) == [grad, loss(1), loss(2)]
    assert history.metrics(run.id, names=["loss"]) == [loss(1), loss(2)]
    assert history.metrics(run.id, after_step=1) == [loss(2)]
    assert history.metrics("another") == []


def test_nan_and_infinity_are_told_as_such(history: History, run: Run, file: Path) -> None:
    odd = [loss(1, math.nan), loss(2, math.inf), loss(3, -math.inf), loss(4, 0.0)]
    history.write(run, metrics=odd, events_offset=0, metrics_offset=0)
    first, *others = history.metrics(run.id)
    assert math.isnan(first.value)
    assert others == odd[1:]
    with closing(sqlite3.connect(file)) as raw:
        stored = raw.execute("SELECT value, kind FROM metrics ORDER BY step").fetchall()
    assert stored == [(None, "nan"), (None, "inf"), (None, "-inf"), (0.0, "finite")]


def test_the_same_step_again_replaces_what_was_there(history: History, run: Run) -> None:
    history.write(run, metrics=[loss(1, 3.0), loss(2, math.nan)], events_offset=0, metrics_offset=0)
    history.write(run, metrics=[loss(2, 2.0), loss(3, 1.0)], events_offset=0, metrics_offset=0)
    assert history.metrics(run.id) == [loss(1, 3.0), loss(2, 2.0), loss(3, 1.0)]


def test_the_last_of_the_same_step_in_one_batch_wins(history: History, run: Run) -> None:
    history.write(run, metrics=[loss(1, 3.0), loss(1, 2.0)], events_offset=0, metrics_offset=0)
    assert history.metrics(run.id) == [loss(1, 2.0)]


def test_last_metrics_are_the_newest_of_each_name(history: History, run: Run) -> None:
    eval_loss = Metric(step=20, name="eval_loss", value=math.inf)
    history.write(run, metrics=[loss(20), loss(21), eval_loss], events_offset=0, metrics_offset=0)
    history.write(replace(run, id="other"), metrics=[loss(99)], events_offset=0, metrics_offset=0)
    assert history.last_metrics(run.id) == {"eval_loss": eval_loss, "loss": loss(21)}
    assert history.last_metrics("nowhere") == {}


def test_the_last_step_follows_the_metrics_and_never_goes_back(history: History, run: Run) -> None:
    from_folder = replace(run, last_step=0)  # a folder is read without its metrics
    history.write(from_folder, metrics=[loss(7)], events_offset=0, metrics_offset=0)
    assert history.run(run.id).last_step == 7
    history.write(from_folder, metrics=[loss(3)], events_offset=0, metrics_offset=0)
    assert history.run(run.id).last_step == 7
    store(history, replace(run, last_step=9))
    assert history.run(run.id).last_step == 9


# -- exports ------------------------------------------------------------------------------------------------


def test_exports_survive_newest_first(history: History, run: Run, export: Export) -> None:
    newer = replace(export, id="export-2", created_at=export.created_at + timedelta(seconds=1), report={})
    history.write(run, exports=[export, newer], events_offset=0, metrics_offset=0)
    assert history.exports(run.id) == [newer, export]
    assert history.exports("another") == []


def test_an_export_is_replaced_by_its_id(history: History, run: Run, export: Export) -> None:
    history.write(run, exports=[export], events_offset=0, metrics_offset=0)
    history.write(run, exports=[replace(export, size_bytes=1)], events_offset=0, metrics_offset=0)
    assert history.exports(run.id) == [replace(export, size_bytes=1)]


# -- one transaction ----------------------------------------------------------------------------------------


def test_offsets_are_those_of_the_last_write(history: History, run: Run) -> None:
    assert history.offsets(run.id) == (0, 0)
    history.write(run, events_offset=812, metrics_offset=5_000_000_000)
    assert history.offsets(run.id) == (812, 5_000_000_000)


def test_a_failing_write_leaves_neither_rows_nor_offsets(history: History, run: Run, export: Export) -> None:
    with pytest.raises(HistoryError):
        history.write(run, metrics=[loss(1), loss(2**70)], exports=[export], events_offset=9, metrics_offset=9)
    assert (history.ids(), history.exports(run.id), history.offsets(run.id)) == (set(), [], (0, 0))


def test_a_failing_update_leaves_what_was_there(history: History, run: Run) -> None:
    history.write(run, metrics=[loss(1, 1.0)], events_offset=1, metrics_offset=1)
    failed = replace(run, status=RunStatus.FAILED)
    with pytest.raises(HistoryError):
        history.write(failed, metrics=[loss(1, 5.0), loss(2**70)], events_offset=9, metrics_offset=9)
    assert history.run(run.id) == run
    assert history.metrics(run.id) == [loss(1, 1.0)]
    assert history.offsets(run.id) == (1, 1)


def test_forgetting_a_run_takes_its_metrics_and_exports_along(
    history: History, run: Run, export: Export, file: Path
) -> None:
    other = replace(run, id="other")
    history.write(run, metrics=[loss(1)], exports=[export], events_offset=1, metrics_offset=1)
    history.write(other, metrics=[loss(1)], events_offset=1, metrics_offset=1)
    history.forget(run.id)
    history.forget("never was")
    assert history.runs() == [replace(other, last_step=100)]
    assert history.offsets(run.id) == (0, 0)
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT run_id FROM metrics").fetchall() == [("other",)]
        assert raw.execute("SELECT count(*) FROM exports").fetchone() == (0,)


# -- lists --------------------------------------------------------------------------------------------------


def test_runs_come_newest_first_in_pages(history: History, run: Run) -> None:
    days = [replace(run, id=f"day-{day}", created_at=run.created_at + timedelta(days=day)) for day in range(5)]
    store(history, days[2], days[0], days[4], days[1], days[3])
    assert history.runs() == days[::-1]
    assert history.runs(limit=2, offset=1) == [days[3], days[2]]
    assert history.ids() == {f"day-{day}" for day in range(5)}


def test_runs_of_the_same_moment_keep_an_order(history: History, run: Run) -> None:
    store(history, *(replace(run, id=name) for name in "bca"))
    assert [found.id for found in history.runs()] == ["c", "b", "a"]


def test_runs_can_be_asked_for_by_status(history: History, run: Run) -> None:
    store(history, *(replace(run, id=status, status=status) for status in RunStatus))
    live = history.runs(statuses=[status for status in RunStatus if status.is_live])
    assert {found.id for found in live} == {"starting", "running", "stopping"}
    assert all(isinstance(found.status, RunStatus) for found in live)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("FIRST", {"plain"}),
        ("größe", {"letters"}),
        ("GRÖSSE", {"letters"}),
        ("smollm2", {"plain"}),
        ("Reviews.jsonl", {"plain"}),
        ("100%", {"percent"}),
        ("0% of", {"percent"}),
        ("a_b", {"underscore"}),
        ("a/b", {"slash"}),
        ("a\\b", {"backslash"}),
        ("%", {"percent"}),
        ("", {"plain", "letters", "percent", "underscore", "slash", "backslash"}),
        ("nothing of the kind", set()),
    ],
)
def test_searching_takes_every_character_as_it_is(history: History, run: Run, search: str, found: set[str]) -> None:
    bare = replace(run, recipe={})
    recipe = {
        "model": {"base_model": "HuggingFaceTB/SmolLM2-135M"},
        "data": {"dataset": "/data/reviews.jsonl"},
    }
    store(
        history,
        replace(run, id="plain", name="my first run", recipe=recipe),
        replace(bare, id="letters", name="Größe L"),
        replace(bare, id="percent", name="100% of it"),
        replace(bare, id="underscore", name="a_b"),
        replace(bare, id="slash", name="a/b"),
        replace(bare, id="backslash", name="a\\b axb"),
    )
    assert {run.id for run in history.runs(search=search)} == found
