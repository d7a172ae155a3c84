"""Many readers beside one writer, locks of other programs, and errors that become sentences."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from studio.errors import HistoryError
from studio.history import History
from studio.history import sqlite as sqlite_room
from studio.history.sessions import Sessions
from studio.history.tables import MetricRow
from studio.runs import Metric, Run

HOLD_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


@contextmanager
def locked_by_another_process(file: Path, seconds: float) -> Iterator[None]:
    """Hold the database's write lock from outside, as a backup program would."""
    command = [sys.executable, "-c", HOLD_LOCK, str(file), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield
        assert process.wait() == 0


@pytest.fixture
def sessions(url: str, history: History) -> Iterator[Sessions]:
    """Sessions on a database that has its tables."""
    with closing(Sessions(url)) as opened:
        yield opened


# -- one writer, many readers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 20_000), ("synchronous", 1)],
)
def test_every_connection_is_set_up(sessions: Sessions, pragma: str, value: object) -> None:
    with sessions.session() as first, sessions.session() as second:  # two at once are two connections
        for session in (first, second):
            assert session.execute(text(f"PRAGMA {pragma}")).scalar() == value


def test_a_metric_without_its_run_is_refused(sessions: Sessions) -> None:
    with pytest.raises(HistoryError, match="FOREIGN KEY constraint failed"):
        with sessions.session(write=True) as session:
            session.execute(insert(MetricRow).values(run_id="none", step=1, name="loss", value=1.0, kind="finite"))


def test_reading_goes_on_beside_an_open_write(history: History, sessions: Sessions, run: Run) -> None:
    history.write(run, events_offset=1, metrics_offset=1)
    with sessions.session(write=True) as session:
        session.execute(text("UPDATE runs SET name = 'half done'"))
        start = time.monotonic()
        assert history.run(run.id).name == run.name
        assert time.monotonic() - start < 1
    assert history.run(run.id).name == "half done"


def test_a_block_that_raises_is_rolled_back_and_the_error_comes_through(
    history: History, sessions: Sessions, run: Run
) -> None:
    history.write(run, events_offset=1, metrics_offset=1)

    def change_our_mind() -> None:
        with sessions.session(write=True) as session:
            session.execute(text("DELETE FROM runs"))
            raise KeyError("on second thoughts")

    with pytest.raises(KeyError, match="on second thoughts"):
        change_our_mind()
    assert history.ids() == {run.id}


def test_threads_read_while_one_writes(history: History, run: Run) -> None:
    history.write(run, events_offset=0, metrics_offset=0)

    def read_until_done(_: int) -> None:
        while history.offsets(run.id) != (100, 100):
            steps = [metric.step for metric in history.metrics(run.id)]
            assert steps == list(range(len(steps)))  # never a hole, never half a batch
            assert len(steps) % 5 == 0

    with ThreadPoolExecutor(4) as pool:
        readers = pool.map(read_until_done, range(4))
        for batch in range(20):
            metrics = [Metric(step=batch * 5 + i, name="loss", value=1.0) for i in range(5)]
            history.write(run, metrics=metrics, events_offset=batch * 5 + 5, metrics_offset=batch * 5 + 5)
        list(readers)
    assert len(history.metrics(run.id)) == 100


def test_reading_and_then_writing_never_meets_a_stale_snapshot(history: History, url: str, run: Run) -> None:
    history.write(run, events_offset=0, metrics_offset=0)

    def count_up(_: int) -> None:
        with closing(Sessions(url)) as own:  # what another process would have
            for _round in range(25):
                with own.session(write=True) as session:
                    seen = session.execute(text("SELECT events_offset FROM runs")).scalar_one()
                    session.execute(text("UPDATE runs SET events_offset = :new"), {"new": seen + 1})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(count_up, range(2)))
    assert history.offsets(run.id) == (50, 0)


# -- other programs -----------------------------------------------------------------------------------------


def test_a_lock_held_for_two_seconds_loses_no_write(history: History, file: Path, run: Run) -> None:
    with locked_by_another_process(file, seconds=2):
        start = time.monotonic()
        assert history.ids() == set()  # readers do not wait
        assert time.monotonic() - start < 1
        history.write(run, metrics=[Metric(step=1, name="loss", value=1.0)], events_offset=5, metrics_offset=6)
        assert time.monotonic() - start > 1
    assert history.ids() == {run.id}
    assert history.offsets(run.id) == (5, 6)


def test_a_lock_held_too_long_is_told_in_a_sentence(
    url: str, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_room, "BUSY_SECONDS", 1)
    with History.open(url) as history:
        with locked_by_another_process(file, seconds=3):
            with pytest.raises(HistoryError, match=r"Another program .* locked for 1 seconds\. Close it"):
                history.write(run, events_offset=0, metrics_offset=0)
        history.write(run, events_offset=0, metrics_offset=0)


def test_a_full_disk_is_told_in_a_sentence_and_loses_nothing(history: History, sessions: Sessions, run: Run) -> None:
    def write_more_than_fits() -> None:
        with sessions.session(write=True) as session:
            session.execute(text("PRAGMA max_page_count = 1"))
            session.execute(text("UPDATE runs SET cause = :long"), {"long": "x" * 100_000})

    history.write(run, events_offset=1, metrics_offset=1)
    with pytest.raises(HistoryError, match=r"The disk is full: .* Free some space"):
        write_more_than_fits()
    assert history.run(run.id) == run


# -- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not a url", "STUDIO_DATABASE_URL is not the URL of a database"),
        ("nosuchdatabase://host/name", "nosuchdatabase://host/name cannot be used"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_an_address_of_no_database_is_told_in_a_sentence(url: str, words: str) -> None:
    with pytest.raises(HistoryError, match=words):
        History.open(url)


def test_a_password_is_never_shown() -> None:
    # Whether the driver is missing or nobody answers: the sentence names the place, not the secret.
    with pytest.raises(HistoryError) as caught:
        History.open("postgresql://me:hunter2@localhost:1/studio")
    assert "localhost:1/studio" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "in the way").touch()
    with pytest.raises(HistoryError, match=r"cannot be opened.* Check that its folder exists"):
        History.open(f"sqlite:///{tmp_path / 'in the way' / 'history.sqlite'}")


def test_the_room_is_quick_to_enter_and_leaves_alembic_outside(url: str, history: History, run: Run) -> None:
    history.write(run, events_offset=0, metrics_offset=0)
    code = (
        "import sys; from studio.history import History; "
        "History.open(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
