"""A job's folder is written and read as in a real run, and survives what a crash or a full disk leaves behind."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.errors import InvalidInput
from studio.recipe import Recipe
from studio.run_folder import RunFolder, apply_events, fold_status, now, write_json
from studio.runs import Run, RunStatus


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A queued run."""
    made = RunFolder(tmp_path / "20261122-101500-tidy-otter")
    made.create({"id": made.id, "name": "First try", "created_at": now().isoformat()}, Recipe().to_yaml())
    return made


def kinds(folder: RunFolder) -> list[str]:
    """The kinds of the events so far."""
    return [event["event"] for event in folder.events()[0]]


def strictly(line: str) -> Any:
    """The JSON value of `line`, NaN and Infinity not accepted (no browser and no `jq` reads them)."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line, parse_constant=refuse)


# -- making ---------------------------------------------------------------------------------------------------


def test_a_new_folder_is_a_queued_run(folder: RunFolder) -> None:
    run = folder.read_run()

    assert (run.id, run.name, run.status) == ("20261122-101500-tidy-otter", "First try", RunStatus.QUEUED)
    assert run.recipe == Recipe().model_dump(mode="json")
    assert run.created_at.tzinfo is not None


def test_an_id_is_given_once(folder: RunFolder) -> None:
    folder.add_event("note", text="mine")

    with pytest.raises(FileExistsError):
        folder.create({"id": folder.id, "name": "Second", "created_at": now().isoformat()}, "")

    assert folder.identity()["name"] == "First try"
    assert kinds(folder) == ["status", "note"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "broken")

    with pytest.raises(TypeError):  # the identity cannot be written, halfway through
        folder.create({"id": object()}, "")

    assert not folder.path.exists()


def test_what_a_broken_start_left_behind_does_not_block_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "again")
    with pytest.raises(TypeError):
        folder.create({"id": object()}, "")

    folder.create({"id": "again", "name": "Again", "created_at": now().isoformat()}, "")

    assert folder.status() is RunStatus.QUEUED
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("damage", ["{", "", "[]", "{}"])
def test_a_folder_without_a_readable_identity_is_no_run(folder: RunFolder, damage: str) -> None:
    (folder.path / "run.json").write_text(damage)

    with pytest.raises((OSError, ValueError)):
        folder.read_run()


def test_a_folder_without_a_recipe_is_refused_in_a_sentence(folder: RunFolder) -> None:
    folder.recipe_file.unlink()

    with pytest.raises(InvalidInput, match=r"recipe\.yaml cannot be read"):
        folder.read_run()


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "state.json", {"step": 1})

    with pytest.raises(TypeError):
        write_json(tmp_path / "state.json", {"step": object()})

    assert json.loads((tmp_path / "state.json").read_text()) == {"step": 1}


# -- appending and reading ------------------------------------------------------------------------------------


def test_metrics_come_back_as_one_record_a_number(folder: RunFolder) -> None:
    folder.add_metrics(1, {"loss": 2.5, "learning_rate": 1e-3})
    folder.add_metrics(2, {"loss": 2.25})

    metrics, _ = folder.metrics()

    assert [(m.step, m.name, m.value) for m in metrics] == [
        (1, "loss", 2.5),
        (1, "learning_rate", 1e-3),
        (2, "loss", 2.25),
    ]


def test_nan_and_infinities_survive_in_valid_json(folder: RunFolder) -> None:
    folder.add_metrics(3, {"loss": math.nan, "grad_norm": math.inf, "eval_loss": -math.inf})

    strictly((folder.path / "metrics.jsonl").read_text())
    values = {m.name: m.value for m in folder.metrics()[0]}
    assert math.isnan(values["loss"])
    assert values["grad_norm"] == math.inf
    assert values["eval_loss"] == -math.inf


def test_an_event_may_hold_a_number_that_is_none(folder: RunFolder) -> None:
    """A held-out loss that became NaN must not turn the end of a run into an error of its own."""
    folder.add_event("result", eval_loss_last=math.nan, losses=[1.0, math.inf], nested={"worst": -math.inf})

    last = strictly((folder.path / "events.jsonl").read_text().splitlines()[-1])
    assert last["eval_loss_last"] is None
    assert last["losses"] == [1.0, None]
    assert last["nested"] == {"worst": None}


def test_reading_goes_on_where_it_ended(folder: RunFolder) -> None:
    _, offset = folder.events()
    assert folder.events(offset) == ([], offset)

    folder.add_event("note", text="one — ünd 🎈")
    folder.add_event("note", text="two")
    first, offset = folder.events(offset)
    folder.add_event("note", text="three")
    second, _ = folder.events(offset)

    assert [event["text"] for event in first] == ["one — ünd 🎈", "two"]
    assert [event["text"] for event in second] == ["three"]


def test_a_text_of_several_lines_is_one_event(folder: RunFolder) -> None:
    folder.add_event("note", text="a\nb\r\nc\u2028d\x85e")

    assert folder.events()[0][-1]["text"] == "a\nb\r\nc\u2028d\x85e"


def test_nothing_written_yet_is_nothing_to_read(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "nowhere").metrics(0) == ([], 0)


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(folder: RunFolder) -> None:
    folder.add_metrics(1, {"loss": 2.0})
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "loss"')
        file.flush()
        first, offset = folder.metrics()
        file.write(": 1.0}\n")
    second, _ = folder.metrics(offset)

    assert [m.step for m in first] == [1]
    assert [(m.step, m.value) for m in second] == [(2, 1.0)]


@pytest.mark.parametrize("torn", ['{"at": "2026', '{"at": "2026", "event": "note"}', "\x00\x00\x00", "{"])
def test_a_torn_line_never_swallows_the_next(folder: RunFolder, torn: str) -> None:
    """After a crash the file may end in half a line, and the next writer appends to it."""
    with open(folder.path / "events.jsonl", "a") as file:
        file.write(torn)

    folder.add_event("status", status=RunStatus.INTERRUPTED)
    folder.add_event("note", text="still here")

    assert kinds(folder)[-2:] == ["status", "note"]
    assert folder.status() is RunStatus.INTERRUPTED


def test_a_line_that_is_json_but_no_object_is_passed_over(folder: RunFolder) -> None:
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('5\nnull\n["step"]\n{"loss": 1.0}\n{"step": "two", "loss": 1.0}\n')
    folder.add_metrics(3, {"loss": 1.5})

    assert [(m.step, m.value) for m in folder.metrics()[0]] == [(3, 1.5)]


APPEND_500 = """
import sys
from pathlib import Path
from studio.run_folder import RunFolder
folder, who = RunFolder(Path(sys.argv[1])), sys.argv[2]
for number in range(500):
    folder.add_event("note", who=who, number=number, text=who * (number * 7 % 900))
"""


def test_two_processes_appending_never_mix_their_lines(folder: RunFolder) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", APPEND_500, folder.path, who]) for who in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]

    notes = [strictly(line) for line in (folder.path / "events.jsonl").read_text().splitlines() if line][1:]
    for who in "ab":
        mine = [note for note in notes if note["who"] == who]
        assert [note["number"] for note in mine] == list(range(500))
        assert all(note["text"] == who * (note["number"] * 7 % 900) for note in mine)


# -- what events mean -----------------------------------------------------------------------------------------


@pytest.fixture
def queued(folder: RunFolder) -> Run:
    """The run before anything happened."""
    return folder.read_run()


def at(second: int) -> str:
    """A time of the day of the test."""
    return f"2026-11-22T10:15:{second:02}+00:00"


def test_a_life_adds_up_to_its_status_times_and_cause(queued: Run) -> None:
    run = apply_events(
        queued,
        [
            {"event": "status", "at": at(1), "status": "starting"},
            {"event": "status", "at": at(2), "status": "running"},
            {"event": "status", "at": at(9), "status": "failed", "cause": "The disk is full."},
        ],
    )

    assert (run.status, run.cause) == (RunStatus.FAILED, "The disk is full.")
    assert run.started_at is not None
    assert run.ended_at is not None
    assert (run.started_at.second, run.ended_at.second) == (1, 9)


def test_a_run_that_starts_again_has_neither_its_old_end_nor_its_old_cause(queued: Run) -> None:
    run = apply_events(
        queued,
        [
            {"event": "status", "at": at(1), "status": "starting"},
            {"event": "status", "at": at(2), "status": "interrupted", "cause": "The machine went off."},
            {"event": "status", "at": at(3), "status": "starting"},
        ],
    )

    assert (run.status, run.ended_at, run.cause) == (RunStatus.STARTING, None, None)


def test_facts_and_results_add_up(queued: Run) -> None:
    run = apply_events(
        queued,
        [
            {"event": "facts", "at": at(1), "device": "CPU", "train_rows": 24},
            {"event": "facts", "at": at(2), "total_steps": 4},
            {"event": "result", "at": at(3), "steps": 4},
            {"event": "result", "at": at(3), "eval_loss_last": 0.5},
        ],
    )

    assert run.facts == {"device": "CPU", "train_rows": 24, "total_steps": 4}
    assert run.total_steps == 4
    assert run.result == {"steps": 4, "eval_loss_last": 0.5}


def test_later_samples_replace_earlier_ones(queued: Run) -> None:
    run = apply_events(
        queued,
        [
            {"event": "samples", "at": at(1), "samples": [{"before": "x", "after": None}]},
            {"event": "samples", "at": at(2), "samples": [{"before": "x", "after": "y"}]},
        ],
    )

    assert run.samples == ({"before": "x", "after": "y"},)


def test_a_rename_changes_the_name_alone(queued: Run) -> None:
    run = apply_events(queued, [{"event": "renamed", "at": at(1), "name": "Better name"}])

    assert run.name == "Better name"
    assert run.status is RunStatus.QUEUED


def test_events_of_other_kinds_change_nothing(queued: Run) -> None:
    events = [{"event": "checkpoint", "step": 2}, {"event": "export", "id": "x"}, {"event": "from the future"}, {}]

    assert apply_events(queued, events) == queued


def test_the_last_status_wins() -> None:
    events = [{"event": "status", "status": "running"}, {"event": "status", "status": "stopping"}, {"event": "facts"}]

    assert fold_status(events) is RunStatus.STOPPING
    assert fold_status([]) is RunStatus.QUEUED


# -- the worker's process -------------------------------------------------------------------------------------


def test_a_request_to_stop_is_seen(folder: RunFolder) -> None:
    assert not folder.stop_asked()

    folder.ask_to_stop()
    folder.ask_to_stop()

    assert folder.stop_asked()


def test_a_heartbeat_promises_the_next(folder: RunFolder) -> None:
    folder.beat(30.0)

    assert json.loads((folder.path / "heartbeat.json").read_text())["next_within_seconds"] == 30.0


def test_the_end_of_the_log_is_shown_even_if_it_begins_within_a_letter(folder: RunFolder) -> None:
    folder.log_file.write_text("ä" * 50 + "the end\n", encoding="utf-8")

    assert folder.log_tail(max_bytes=11) == "\N{REPLACEMENT CHARACTER}äthe end\n"
    assert RunFolder(folder.path / "none").log_tail() == ""
