"""What we remember: runs, their metrics and their exports, in one database that pages can search.

The run folders are the truth (`run_folder.py`) and this is their index, so it may be thrown away and rebuilt
at any time. This room is the only one that imports SQLAlchemy and Alembic; frozen records of `runs.py` go in
and out.

    store.py        History: every question and every change, record in, record out
    sessions.py     the one way to the database: commit, roll back, translate errors
    migrate.py      brings a database to the newest schema, or refuses it
    migrations/     the schema's steps, run by Alembic
    tables.py       the newest schema, as typed tables
    records.py      records to columns and back
    sqlite.py       what is special about SQLite: file, pragmas, lock, errors
    damage.py       a SQLite file that cannot be trusted: backup, setting aside

Nothing here knows folders, processes or pages. Tests: `pytest tests/history`.
"""

from studio.history.damage import is_damaged, set_aside
from studio.history.store import History

__all__ = ["History", "is_damaged", "set_aside"]
