"""A SQLite file that cannot be trusted: telling so, a copy before a migration, setting it aside.

Does not rebuild: the run folders are not known here (`studio reindex` reads them). Does not know tables or
records. Tests: `pytest tests/history/test_history_damage.py`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from studio.errors import HistoryError
from studio.history.sessions import read_url
from studio.history.sqlite import (
    BUSY_SECONDS,
    DAMAGED,
    REBUILD,
    error_code,
    only_opener,
    sentence,
    sqlite_file,
)


def refuse_empty(file: Path) -> None:
    """Raise HistoryError for an existing file of no bytes.

    SQLite would take it for a new database, and the loss of everything would look like a first start. The
    studio leaves none behind, unless it dies in the instant between creating the file (under the opener's
    lock) and its first pragma, which writes a header. Rebuilding is then quick: there are no runs yet.
    """
    if file.exists() and file.stat().st_size == 0:
        raise HistoryError(f"The run history {file} is damaged (it is empty). {REBUILD}")


def back_up(file: Path, revision: str) -> Path:
    """Copy the database, whole, to `<file>.backup-<revision>` and return that path. Raises HistoryError."""
    target = file.with_name(f"{file.name}.backup-{revision}")
    beside = target.with_name(f"{target.name}.tmp")
    try:
        beside.unlink(missing_ok=True)
        with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
            connection.execute("VACUUM INTO ?", (str(beside),))
        os.replace(beside, target)
    except sqlite3.Error as error:
        raise HistoryError(f"No backup could be made before migrating. {sentence(error, file)}") from error
    except OSError as error:
        raise HistoryError(f"No backup {target} could be made: {error.strerror}.") from error
    return target


def is_damaged(url: str) -> bool:
    """Whether the file is empty, cut off, torn inside or no database: then `set_aside` it and rebuild.

    Reads the whole file. False for what rebuilding would not cure: no file, a lock, missing rights, no
    SQLite.
    """
    file = sqlite_file(read_url(url))
    if file is None or not file.is_file():
        return False
    if file.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.Error as error:
        return error_code(error) in DAMAGED


def set_aside(url: str) -> Path | None:
    """Rename a SQLite file, with its -wal and -shm, to `<file>.set-aside-<utc time>`, to make room.

    Returns the new path; None when there is no file or no SQLite. Close every `History` of it first.
    Raises HistoryError when it cannot be renamed.
    """
    file = sqlite_file(read_url(url))
    if file is None or not file.exists():
        return None
    target = file.with_name(f"{file.name}.set-aside-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    with only_opener(file):
        try:
            # The file goes last: a log that stayed behind alone would be taken for the new database's.
            for ending in ("-wal", "-shm", ""):
                part = Path(f"{file}{ending}")
                if part.exists():
                    os.replace(part, f"{target}{ending}")
        except OSError as error:
            raise HistoryError(f"The run history {file} cannot be set aside: {error.strerror}.") from error
    return target
