"""Brings a database to the newest schema, or refuses it in a sentence. Never creates tables by any other way.

The steps are `migrations/versions/<revision>_<what>.py`, numbered 0001, 0002, …; each is whole or not at all.
To change the schema: change `tables.py`, write the next step by hand (`alembic.op`, batch mode for SQLite),
run the tests: one prints what the steps and the tables disagree about. Does not know records.

Tests: `pytest tests/history/test_history_migrations.py`.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from studio.errors import HistoryError
from studio.history.damage import back_up, refuse_empty
from studio.history.sessions import Sessions
from studio.history.sqlite import only_opener

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """The schema's revisions, oldest first, by the file names: a start need not import Alembic for them."""
    return sorted(file.name.split("_")[0] for file in (migrations / "versions").glob("[0-9]*.py"))


def migrate(url: str, migrations: Path = MIGRATIONS) -> None:
    """Create the tables in an empty database, or bring an older one up to date after a backup (SQLite).

    Raises HistoryError, and changes nothing, when the database is damaged, of a newer studio, not the
    studio's, locked, or not writable.
    """
    known = revisions(migrations)
    with closing(Sessions(url, foreign_keys=False)) as sessions:
        with only_opener(sessions.file) if sessions.file is not None else nullcontext():
            if sessions.file is not None:
                refuse_empty(sessions.file)
            found = _revision(sessions)
            if found == known[-1]:
                return
            if found is not None and found not in known:
                raise HistoryError(
                    f"The run history {sessions.name} was written by a newer studio: its schema is {found}, "
                    f"this studio knows up to {known[-1]}. Update Finetune Studio, or start this one with "
                    "another STUDIO_HOME."
                )
            if found is not None and sessions.file is not None:
                back_up(sessions.file, found)
            _upgrade(sessions, migrations)


def _revision(sessions: Sessions) -> str | None:
    """The schema's revision; None without any tables. Raises HistoryError for somebody else's database."""
    with sessions.session() as session:
        tables = inspect(session.connection()).get_table_names()
        if not tables:
            return None
        if "alembic_version" in tables:
            revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if "runs" in tables and revision is not None:
                return str(revision)
    raise HistoryError(
        f"The database {sessions.name} is not the studio's: it holds {', '.join(sorted(tables)[:5])}. "
        "Give STUDIO_DATABASE_URL a database of its own."
    )


def _upgrade(sessions: Sessions, migrations: Path) -> None:
    # Alembic costs 0.1 s and is needed once in a database's life, not at every start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with sessions.session(write=True) as session:
        connection = session.connection()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if sessions.file is not None:
            _check_foreign_keys(connection, sessions.name)


def _check_foreign_keys(connection: Connection, name: str) -> None:
    """Raise HistoryError, and so undo the migration, if it left a metric or an export without its run."""
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise HistoryError(
            f"The run history {name} could not be migrated: rows of {broken[0]} would lose their "
            f"{broken[2]}. It is as it was; its log line belongs into a bug report."
        )
