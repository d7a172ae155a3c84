"""Records to columns and back: the only place that knows both `runs.py` and `tables.py`.

Does not know sessions or SQL. Tests: `pytest tests/history/test_history_store.py`.
"""

from __future__ import annotations

from typing import Any

from studio.history.tables import NOT_FINITE, ExportRow, RunRow, spell
from studio.runs import Export, Metric, Run, RunStatus


def run_columns(run: Run) -> dict[str, Any]:
    """The columns of `RunRow` that a run fills: all but the offsets."""
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status.value,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "cause": run.cause,
        "total_steps": run.total_steps,
        "last_step": run.last_step,
        "base_model": _named(run.recipe, "model", "base_model"),
        "dataset": _named(run.recipe, "data", "dataset"),
        "recipe": run.recipe,
        "facts": run.facts,
        "result": run.result,
        "samples": list(run.samples),
    }


def _named(recipe: dict[str, Any], part: str, field: str) -> str:
    """A field of the recipe, or nothing: the folder of a broken run may hold a recipe without that part."""
    inner = recipe.get(part)
    return str(inner.get(field) or "") if isinstance(inner, dict) else ""


def run_record(row: RunRow) -> Run:
    """The run of a row."""
    return Run(
        id=row.id,
        name=row.name,
        status=RunStatus(row.status),
        created_at=row.created_at,
        recipe=row.recipe,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cause=row.cause,
        total_steps=row.total_steps,
        last_step=row.last_step,
        facts=row.facts,
        result=row.result,
        samples=tuple(row.samples),
    )


def metric_columns(run_id: str, metric: Metric) -> dict[str, Any]:
    """The columns of `MetricRow`."""
    kind = spell(metric.value)
    value = metric.value if kind == "finite" else None
    return {"run_id": run_id, "step": metric.step, "name": metric.name, "value": value, "kind": kind}


def metric_record(step: int, name: str, value: float | None, kind: str) -> Metric:
    """The metric of a row's columns."""
    return Metric(step=step, name=name, value=NOT_FINITE[kind] if value is None else value)


def export_columns(run_id: str, export: Export) -> dict[str, Any]:
    """The columns of `ExportRow`."""
    return {
        "id": export.id,
        "run_id": run_id,
        "kind": export.kind,
        "path": export.path,
        "size_bytes": export.size_bytes,
        "created_at": export.created_at,
        "report": export.report,
    }


def export_record(row: ExportRow) -> Export:
    """The export of a row."""
    return Export(
        id=row.id,
        kind=row.kind,
        path=row.path,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        report=row.report,
    )
