"""What is special about SQLite: its file, its pragmas, its BEGIN, the opener's lock, what its errors mean.

Together with `damage.py` all that differs between SQLite and PostgreSQL. Does not know tables or records.

Why one writer: SQLite before 3.51.3 can damage a WAL database when two connections write and checkpoint at
the same instant. One thread writes (the supervisor's), readers never checkpoint, and `Sessions` lets one
write at a time pass.

Tests: `pytest tests/history/test_history_sessions.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from studio.errors import HistoryError

BUSY_SECONDS = 20
OPENING_SECONDS = 60
BEGIN = "studio_begin"
"""Execution option of an engine: the word that begins its transactions."""

REBUILD = "`studio reindex` rebuilds it from the run folders; no run is lost."
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def sqlite_file(url: URL) -> Path | None:
    """The database's file; None when it is no SQLite. Raises HistoryError for SQLite without a file."""
    if url.get_backend_name() != "sqlite":
        return None
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise HistoryError(
            f"The run history needs a file, but {url.render_as_string()} names none. "
            "Write sqlite:////folder/history.sqlite."
        )
    return Path(str(url.database))


def prepare(engine: Engine, *, foreign_keys: bool) -> None:
    """Make every connection of a SQLite engine wait for locks, log ahead, and begin transactions itself."""

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        # Python's own BEGIN comes late, not before SELECT or DDL, and never IMMEDIATE: `begin` does it.
        connection.isolation_level = None
        # SQLite's own lower() knows no letters beyond ASCII: GRÖSSE would not find Größe.
        connection.create_function("lower", 1, _lower, deterministic=True)
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        # A power cut may lose the newest commits, never the file: the folders still have them.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))


def _lower(value: str | float | None) -> str | float | None:
    return value.casefold() if isinstance(value, str) else value


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of Python's own layer, which carry none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def sentence(error: sqlite3.Error, file: Path) -> str:
    """What a SQLite error means for a person: what happened, and what to do."""
    code = error_code(error)
    if code in DAMAGED:
        return f"The run history {file} is damaged ({error}). {REBUILD}"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"Another program has kept the run history {file} locked for {BUSY_SECONDS} seconds. "
            "Close it and try again; training goes on meanwhile."
        )
    if code == sqlite3.SQLITE_FULL:
        return f"The disk is full: the run history {file} could not be written. Free some space, try again."
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"The run history {file} cannot be opened for writing ({error}). "
            "Check that its folder exists and belongs to you."
        )
    return f"The run history {file} could not be used: {error}."


@contextmanager
def only_opener(file: Path) -> Iterator[None]:
    """Hold the lock beside the file, so that two studios starting at once do not both create or migrate it.

    Raises HistoryError when another holds it for a minute, or when the folder cannot be written.
    """
    lock = FileLock(f"{file}.lock", timeout=OPENING_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise HistoryError(
            f"Another studio has been opening the run history {file} for {OPENING_SECONDS} seconds. "
            "Close it and try again."
        ) from error
    except OSError as error:
        raise HistoryError(
            f"The run history {file} cannot be opened: {error.strerror}. "
            "Check that its folder exists and belongs to you."
        ) from error
    try:
        yield
    finally:
        lock.release()
