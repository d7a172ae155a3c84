"""History: every question to the database and every change of it; records go in, records come out.

One thread writes (the supervisor's), any number read at the same time; each call is one transaction of its
own. Does not know run folders: whoever calls `write` says how far it has read them, and that is stored in the
same transaction.

    with History.open(settings.database_url) as history:
        history.write(run, metrics=new, events_offset=812, metrics_offset=4096)
        history.runs(search="sentiment")

Tests: `pytest tests/history/test_history_store.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from studio.errors import NotFound
from studio.history.migrate import migrate
from studio.history.records import (
    export_columns,
    export_record,
    metric_columns,
    metric_record,
    run_columns,
    run_record,
)
from studio.history.sessions import Sessions
from studio.history.tables import ExportRow, MetricRow, RunRow
from studio.runs import Export, Metric, Run, RunStatus

_METRIC = (MetricRow.step, MetricRow.name, MetricRow.value, MetricRow.kind)


class History:
    """The runs, their metrics and their exports. Every method may raise HistoryError, a sentence to show."""

    def __init__(self, sessions: Sessions) -> None:
        """Use `History.open`: it also brings the database to the newest schema."""
        self._sessions = sessions

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database of a SQLAlchemy URL; create or migrate it first where needed.

        Raises HistoryError when it is damaged (`is_damaged`: then `set_aside` and rebuild), of a newer
        studio, or out of reach.
        """
        migrate(url)
        return cls(Sessions(url))

    def close(self) -> None:
        """Let go of the database."""
        self._sessions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- writing ------------------------------------------------------------------------------------------

    def write(
        self,
        run: Run,
        *,
        metrics: Sequence[Metric] = (),
        exports: Sequence[Export] = (),
        events_offset: int,
        metrics_offset: int,
    ) -> None:
        """Store a run, what is new of it, and how far its folder has been read: all of it or nothing.

        What is there already is replaced: the run and exports by id, metrics by step and name. `last_step`
        never goes back: it is the largest of the run's, the stored one, and the metrics'. Raises
        HistoryError.
        """
        with self._sessions.session(write=True) as session:
            known = session.get(RunRow, run.id)
            last_step = max(run.last_step, known.last_step if known else 0, *(m.step for m in metrics), 0)
            columns = {**run_columns(run), "last_step": last_step}
            session.merge(RunRow(**columns, events_offset=events_offset, metrics_offset=metrics_offset))
            for export in exports:
                session.merge(ExportRow(**export_columns(run.id, export)))
            session.flush()
            _put_metrics(session, run.id, metrics)

    def forget(self, run_id: str) -> None:
        """Remove a run with its metrics and exports; an unknown one is no error. Raises HistoryError."""
        with self._sessions.session(write=True) as session:
            session.execute(delete(RunRow).where(RunRow.id == run_id))

    # -- reading ------------------------------------------------------------------------------------------

    def offsets(self, run_id: str) -> tuple[int, int]:
        """Bytes of (events.jsonl, metrics.jsonl) that are in the database; (0, 0) for an unknown run."""
        with self._sessions.session() as session:
            wanted = select(RunRow.events_offset, RunRow.metrics_offset).where(RunRow.id == run_id)
            found = session.execute(wanted).one_or_none()
            return (found[0], found[1]) if found else (0, 0)

    def run(self, run_id: str) -> Run:
        """The run. Raises NotFound when there is none (any more)."""
        with self._sessions.session() as session:
            row = session.get(RunRow, run_id)
            if row is None:
                raise NotFound(f"There is no run {run_id} here (any more). Choose one from the list of runs.")
            return run_record(row)

    def runs(
        self, *, search: str = "", statuses: Collection[RunStatus] = (), limit: int = 200, offset: int = 0
    ) -> list[Run]:
        """Runs, newest first. `search` is looked for as it is in name, base model and dataset, in any case.

        No statuses means all of them.
        """
        newest_first = (RunRow.created_at.desc(), RunRow.id.desc())
        wanted = select(RunRow).order_by(*newest_first).limit(limit).offset(offset)
        if search:
            searched = (RunRow.name, RunRow.base_model, RunRow.dataset)
            wanted = wanted.where(or_(*(column.icontains(search, autoescape=True) for column in searched)))
        if statuses:
            wanted = wanted.where(RunRow.status.in_([status.value for status in statuses]))
        with self._sessions.session() as session:
            return [run_record(row) for row in session.scalars(wanted)]

    def ids(self) -> set[str]:
        """The ids of all runs."""
        with self._sessions.session() as session:
            return set(session.scalars(select(RunRow.id)))

    def metrics(self, run_id: str, *, names: Collection[str] = (), after_step: int = -1) -> list[Metric]:
        """Metrics of the steps after `after_step`, by step, then name. No names means all of them."""
        wanted = select(*_METRIC).where(MetricRow.run_id == run_id, MetricRow.step > after_step)
        if names:
            wanted = wanted.where(MetricRow.name.in_(names))
        wanted = wanted.order_by(MetricRow.step, MetricRow.name)
        with self._sessions.session() as session:
            return [metric_record(*row) for row in session.execute(wanted)]

    def last_metrics(self, run_id: str) -> dict[str, Metric]:
        """The newest value of each metric, by name."""
        newest = select(MetricRow.name, func.max(MetricRow.step).label("step"))
        last = newest.where(MetricRow.run_id == run_id).group_by(MetricRow.name).subquery()
        same = and_(MetricRow.name == last.c.name, MetricRow.step == last.c.step)
        wanted = select(*_METRIC).join(last, same).where(MetricRow.run_id == run_id).order_by(MetricRow.name)
        with self._sessions.session() as session:
            metrics = [metric_record(*row) for row in session.execute(wanted)]
            return {metric.name: metric for metric in metrics}

    def exports(self, run_id: str) -> list[Export]:
        """The run's exports, newest first; none for an unknown run."""
        wanted = select(ExportRow).where(ExportRow.run_id == run_id)
        with self._sessions.session() as session:
            rows = session.scalars(wanted.order_by(ExportRow.created_at.desc(), ExportRow.id.desc()))
            return [export_record(row) for row in rows]


def _put_metrics(session: Session, run_id: str, metrics: Sequence[Metric]) -> None:
    """Replace by (run, step, name), by removing and inserting: upserts differ between databases."""
    rows = list({(metric.step, metric.name): metric_columns(run_id, metric) for metric in metrics}.values())
    if not rows:
        return
    keys = [{"at_run": row["run_id"], "at_step": row["step"], "at_name": row["name"]} for row in rows]
    same = and_(
        MetricRow.run_id == bindparam("at_run"),
        MetricRow.step == bindparam("at_step"),
        MetricRow.name == bindparam("at_name"),
    )
    connection = session.connection()
    connection.execute(delete(MetricRow).where(same), keys)
    connection.execute(insert(MetricRow), rows)
