"""From any database to the newest schema, or a refusal that changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from studio.errors import HistoryError
from studio.history import History
from studio.history.migrate import MIGRATIONS, migrate, revisions
from studio.history.sessions import Sessions
from studio.history.sqlite import only_opener
from studio.history.tables import Table
from studio.runs import Export, Metric, Run

ADD_NOTE = '''
"""A step of the future: rebuilds the runs table, which others point to."""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    with op.batch_alter_table("runs", recreate="always") as runs:
        runs.add_column(sa.Column("note", sa.Text()))
'''


@pytest.fixture
def future(tmp_path: Path) -> Path:
    """The migrations of a studio that is one step newer than this one."""
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    (migrations / "versions" / "0002_note.py").write_text(ADD_NOTE)
    return migrations


def schema(file: Path) -> list[str]:
    """What the database is made of, in SQLite's words."""
    with closing(sqlite3.connect(file)) as raw:
        return [sql for (sql,) in raw.execute("SELECT sql FROM sqlite_master ORDER BY name")]


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as raw:
        found: str = raw.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        return found


# -- the steps and the tables -------------------------------------------------------------------------------


def test_the_steps_lead_to_exactly_the_tables(url: str, history: History) -> None:
    with closing(Sessions(url)) as sessions, sessions.session() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []


def test_file_names_tell_the_same_revisions_as_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    steps = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [step.revision for step in reversed(steps)] == revisions()


# -- opening ------------------------------------------------------------------------------------------------


def test_a_new_file_gets_the_newest_schema(url: str, file: Path) -> None:
    History.open(url).close()
    assert revision(file) == revisions()[-1]
    assert not list(file.parent.glob("*.backup-*"))


def test_a_file_with_a_header_but_no_tables_is_new(url: str, file: Path) -> None:
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
    with History.open(url) as history:
        assert history.ids() == set()


def test_opening_again_changes_nothing(url: str, file: Path, run: Run) -> None:
    with History.open(url) as history:
        history.write(run, events_offset=0, metrics_offset=0)
    before = file.read_bytes()
    History.open(url).close()
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.backup-*"))


def test_four_may_open_a_new_file_at_once(url: str) -> None:
    start = Barrier(4)

    def open_and_look(_: int) -> set[str]:
        start.wait()
        with History.open(url) as history:
            return history.ids()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_and_look, range(4))) == [set()] * 4


def test_opening_waits_for_another_who_is_opening(url: str, file: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with only_opener(file):
            opened = pool.submit(History.open, url)
            with pytest.raises(TimeoutError):
                opened.result(timeout=0.2)
            assert not file.exists()
        opened.result().close()


# -- older, newer, somebody else's --------------------------------------------------------------------------


def test_an_older_database_is_backed_up_and_brought_up_to_date(url: str, file: Path, run: Run, future: Path) -> None:
    export = Export(id="e", kind="adapter", path="adapter", size_bytes=1, created_at=run.created_at)
    with History.open(url) as history:
        loss = Metric(step=100, name="loss", value=1.0)
        history.write(run, metrics=[loss], exports=[export], events_offset=3, metrics_offset=4)
    migrate(url, future)
    assert revision(file) == "0002"
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT id, note FROM runs").fetchall() == [(run.id, None)]

    # Rebuilding `runs` did not take along what points to it.
    with closing(Sessions(url)) as sessions:
        newer = History(sessions)
        assert newer.run(run.id) == run
        assert newer.metrics(run.id) == [loss]
        assert newer.exports(run.id) == [export]

    backup = file.with_name("history.sqlite.backup-0001")
    with History.open(f"sqlite:///{backup}") as old:
        assert old.runs() == [run]
        assert old.offsets(run.id) == (3, 4)


def test_a_second_try_replaces_the_backup_of_the_first(
    url: str, file: Path, history: History, run: Run, future: Path
) -> None:
    backup = file.with_name("history.sqlite.backup-0001")
    backup.write_bytes(b"of a migration that failed last week")
    history.write(run, events_offset=0, metrics_offset=0)
    migrate(url, future)
    with History.open(f"sqlite:///{backup}") as old:
        assert old.ids() == {run.id}


@pytest.mark.parametrize("mistake", ["op.execute('SELECT * FROM nowhere')", 'op.execute("DELETE FROM runs")'])
def test_a_step_that_fails_leaves_everything_as_it_was(
    url: str, file: Path, run: Run, future: Path, mistake: str
) -> None:
    with History.open(url) as history:
        history.write(run, metrics=[Metric(step=1, name="loss", value=1.0)], events_offset=0, metrics_offset=0)
    before = schema(file)
    (future / "versions" / "0002_note.py").write_text(f"{ADD_NOTE}    {mistake}\n")
    with pytest.raises(HistoryError, match=r"history\.sqlite could not be"):
        migrate(url, future)
    assert (schema(file), revision(file)) == (before, "0001")
    with History.open(url) as history:
        assert history.runs() == [run]


def test_a_database_of_a_newer_studio_is_refused_and_left_alone(url: str, file: Path, future: Path) -> None:
    migrate(url, future)
    before = file.read_bytes()
    with pytest.raises(HistoryError, match=r"newer studio: its schema is 0002, .* up to 0001\. Update"):
        History.open(url)
    assert file.read_bytes() == before


@pytest.mark.parametrize("table", ["photos", "runs", "alembic_version"])
def test_somebody_elses_database_is_refused_and_left_alone(url: str, file: Path, table: str) -> None:
    with closing(sqlite3.connect(file)) as raw:
        raw.execute(f"CREATE TABLE {table} (version_num TEXT)")
    with pytest.raises(HistoryError, match=rf"is not the studio's: it holds {table}\. Give"):
        History.open(url)
    assert schema(file) == [f"CREATE TABLE {table} (version_num TEXT)"]
