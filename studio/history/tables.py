"""The newest schema as typed tables. Rows never leave this room: `records.py` turns them into frozen records.

Does not create anything: `migrate.py` does, by the steps in `migrations/`, and a test holds that both agree.
Whoever changes a table here adds the next step there. Tests: `pytest
tests/history/test_history_migrations.py`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, ForeignKey, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How a number that is none is spelled, here and in the run folder."""

_MARK = "$number"


def spell(value: float) -> str:
    """`nan`, `inf`, `-inf`, or `finite`."""
    if math.isfinite(value):
        return "finite"
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored and returned in UTC. SQLite forgets the zone, so reading puts it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raises ValueError for a time without a zone: nobody could say when that was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The same moment, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainJson(TypeDecorator[Any]):
    """JSON in which NaN and the infinities survive.

    JSON has no such numbers: Python would write a bare `NaN` that PostgreSQL and every browser refuse. They
    are stored as `{"$number": "nan"}` and come back as floats.
    """

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """`value` with a mark in place of each number that JSON does not have."""
        return _marked(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """`value` with its numbers back in place."""
        return _unmarked(value)


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_MARK: spell(value)}
    if isinstance(value, dict):
        return {key: _marked(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(part) for part in value]
    return value


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_MARK}:
            return NOT_FINITE.get(value[_MARK], value)
        return {key: _unmarked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_unmarked(part) for part in value]
    return value


class Table(DeclarativeBase):
    """Root of the tables. Constraints are named by rule, so that a migration can name the one it changes."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )


class RunRow(Table):
    """One run, and how far its folder has been read."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    cause: Mapped[str | None] = mapped_column(Text)
    total_steps: Mapped[int | None] = mapped_column(BigInteger)
    last_step: Mapped[int] = mapped_column(BigInteger)
    base_model: Mapped[str] = mapped_column(Text)
    """Copied out of the recipe, for searching; empty when the recipe names none."""
    dataset: Mapped[str] = mapped_column(Text)
    """Copied out of the recipe, for searching; empty when the recipe names none."""
    recipe: Mapped[dict[str, Any]] = mapped_column(PlainJson)
    facts: Mapped[dict[str, Any]] = mapped_column(PlainJson)
    result: Mapped[dict[str, Any]] = mapped_column(PlainJson)
    samples: Mapped[list[dict[str, Any]]] = mapped_column(PlainJson)
    events_offset: Mapped[int] = mapped_column(BigInteger)
    """Bytes of events.jsonl whose content is in this database."""
    metrics_offset: Mapped[int] = mapped_column(BigInteger)
    """Bytes of metrics.jsonl whose content is in this database."""


class MetricRow(Table):
    """One number at one step. SQLite turns NaN into NULL without a word, so `kind` says what a NULL was."""

    __tablename__ = "metrics"
    # The rows lie in the key's order: a curve is one stretch of the file, and the key is not kept twice.
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 (SQLAlchemy's own attribute)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[float | None] = mapped_column(Double)
    kind: Mapped[str] = mapped_column(Text)


class ExportRow(Table):
    """One finished export of a run."""

    __tablename__ = "exports"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    report: Mapped[dict[str, Any]] = mapped_column(PlainJson)
