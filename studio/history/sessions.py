"""The one way to the database: every session begins, commits, rolls back and translates errors here.

Callers see records and `HistoryError`, never an error of SQLAlchemy or of a driver. Does not know tables. A
write transaction takes SQLite's write lock at its beginning: one that starts reading and then writes after
another commit fails at once, whatever the timeout. Reading goes on beside a write (WAL).

Tests: `pytest tests/history/test_history_sessions.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from studio.errors import HistoryError
from studio.history.sqlite import BEGIN, prepare, sentence, sqlite_file

_NOT_STORABLE = (OverflowError, UnicodeError)
"""What drivers raise, past SQLAlchemy, for a number of more than 64 bits or half a character."""


def read_url(url: str) -> URL:
    """The parts of a database URL. Raises HistoryError when it is none."""
    try:
        return make_url(url)
    except SQLAlchemyError as error:
        raise HistoryError(
            "STUDIO_DATABASE_URL is not the URL of a database. Write sqlite:////folder/history.sqlite or leave it out."
        ) from error


class Sessions:
    """Sessions on one database; may be used by many threads. Opens no connection before the first session."""

    def __init__(self, url: str, *, foreign_keys: bool = True) -> None:
        """`foreign_keys=False` is for migrations: rebuilding a SQLite table would cascade into the others.

        Raises HistoryError for a URL that names no database this machine can talk to.
        """
        self._url = read_url(url)
        self.file = sqlite_file(self._url)
        try:
            self._readers = create_engine(self._url)
        except (SQLAlchemyError, ImportError) as error:
            raise HistoryError(f"The database {self.name} cannot be used: {_first_line(error)}.") from error
        self._writers = self._readers.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
        self._writing = Lock()
        if self.file is not None:
            prepare(self._readers, foreign_keys=foreign_keys)

    @property
    def name(self) -> str:
        """The file, or the URL without its password: what a message calls this database."""
        return str(self.file) if self.file is not None else self._url.render_as_string()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._readers.dispose()

    @contextmanager
    def session(self, *, write: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when the block raises.

        Raises HistoryError with a sentence for whatever the database or its driver refuses.
        """
        engine = self._writers if write else self._readers
        try:
            with self._writing if write else nullcontext(), Session(engine) as session, session.begin():
                yield session
        except (SQLAlchemyError, *_NOT_STORABLE) as error:
            raise HistoryError(self._sentence(error)) from error

    def _sentence(self, error: Any) -> str:
        if isinstance(error, DBAPIError):
            if self.file is not None and isinstance(error.orig, sqlite3.Error):
                return sentence(error.orig, self.file)
            error = error.orig
        return f"The run history {self.name} could not be used: {_first_line(error)}."


def _first_line(error: Any) -> str:
    """An error's own words; SQLAlchemy adds the statement and a link on further lines."""
    return str(error).strip().split("\n", 1)[0].rstrip(".")
