"""What the model server answers about a small set of reviews, and a studio that answers with it: no model, no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.recipe import Recipe
from studio.settings import Settings
from studio.ui.data import layout as data_layout
from studio.ui.data.choices import Page
from studio.ui.shared import Shared

ROWS = 20
FORM = {
    "name": "classification",
    "sureness": "likely",
    "reason": "“review” holds texts and “label” has 2 values",
    "columns": ["review", "label", "id"],
    "mapping": {"text": "review", "label": "label"},
    "template": None,
    "label_names": ["negative", "positive"],
}


def row(number: int = 1, **values: Any) -> dict[str, Any]:
    """A row as the server describes it."""
    return {
        "number": number,
        "raw": {"review": "Fine", "label": 1},
        "messages": [{"role": "user", "content": "Fine"}, {"role": "assistant", "content": "positive"}],
        "text": None,
        "tools": [],
        "rejected": [],
        "desirable": None,
        "held_out": False,
        "dropped_by": None,
        "problem": None,
        "tokens": [["<|im_start|>", "context"], ["Fine", "context"], ["positive", "trained"]],
        "trained": 1,
        "total": 3,
        **values,
    }


def lengths(max_length: int = 512, **values: Any) -> dict[str, Any]:
    """What max_length does to the reviews."""
    return {
        "max_length": max_length,
        "longest": 700,
        "bins": [[0, 100, 15], [100, 200, 3], [600, 700, 2]],
        "rows": ROWS,
        "rows_cut": 2 if max_length < 700 else 0,
        "answers_cut": 1 if max_length < 700 else 0,
        "rows_dropped": 0,
        "padding_share": 0.12,
        "trained_tokens": 40,
        "total_tokens": 2000,
        "steps_per_epoch": 3,
        "mean_tokens": 100.0,
        "p50": 80,
        "p95": 650,
        "p99": 700,
        **values,
    }


def finding(severity: str = "warn", **values: Any) -> dict[str, Any]:
    """Something to fix: three rows that are there twice."""
    return {
        "kind": "duplicates",
        "severity": severity,
        "title": "3 duplicates",
        "sentence": "The model learns them by heart.",
        "count": 3,
        "rows": [4, 5, 9],
        "fixes": [{"label": "Keep the first of each", "changes": {"cleaning.dedupe": "exact"}}],
        **values,
    }


def scan(**values: Any) -> dict[str, Any]:
    """A finished scan."""
    return {
        "state": "done",
        "rows": ROWS,
        "bad_rows": 0,
        "bad": [],
        "unreadable": 0,
        "unreadable_rows": [],
        "train_rows": 16,
        "held_out_rows": 4,
        "steps": [],
        "fingerprint": "content-1",
        "changed_since": False,
        "findings": [finding()],
        "lengths": lengths(),
        "charts": {
            "turns": [[2, 20]],
            "answer_words": [[0, 1, 20]],
            "first_words": [["positive", 11], ["negative", 9]],
            "labels": [["positive", 11], ["negative", 9]],
        },
        **values,
    }


def look(**values: Any) -> dict[str, Any]:
    """A look at the beginning."""
    return {
        "kind": "csv",
        "encoding": "cp1252",
        "delimiter": ";",
        "size_bytes": 1234,
        "columns": ["review", "label", "id"],
        "format": FORM,
        "candidates": [{**FORM, "name": "text"}],
        "problem": None,
        "model_problem": None,
        "template": {"name": "chatml", "source": "tokenizer", "sentence": "The model's own template is used."},
        "bad": [],
        "rows": [row(number) for number in range(1, 7)],
        **values,
    }


@dataclass
class FakeServer:
    """A model server that answers at once. What is in `answers` replaces its answers; an error is raised."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Recipe, dict[str, str]]] = field(default_factory=list)

    def ask(self, what: str, recipe: Recipe, **query: str) -> dict[str, Any]:
        self.asked.append((what, recipe, query))
        answer = self.answers.get(what)
        if isinstance(answer, StudioError):
            raise answer
        if answer is not None:
            return dict(answer)
        if what == "rows":
            return {"rows": [row(int(number)) for number in query["numbers"].split(",")]}
        if what == "model":
            return {"methods": {"LoRA": {"total_parameters": 135_000_000}}}
        made = {"look": look, "scan": scan, "lengths": lambda: lengths(recipe.training.max_length)}
        return made[what]()

    def device(self) -> dict[str, Any]:
        return {"device": "CPU, 2 cores", "detail": {"kind": "cpu", "cores": 2}}


@dataclass
class FakeStudio:
    """A studio with saved datasets in memory."""

    settings: Settings
    server: FakeServer = field(default_factory=FakeServer)
    saved: list[Any] = field(default_factory=list)
    history: Any = field(default_factory=lambda: SimpleNamespace(runs=lambda **_: []))

    def datasets(self) -> list[Any]:
        return list(self.saved)

    def runs_of_dataset(self, record: Any) -> list[Any]:
        return [object()] if record.slug == "reviews" else []

    def save_dataset(self, name: str, licence: str, recipe: Recipe, fingerprint: str, rows: int) -> Any:
        tree = recipe.model_dump(mode="json")
        self.saved.append(record(name, licence=licence, fingerprint=fingerprint, rows=rows, **tree))
        return self.saved[-1]

    def forget_dataset(self, slug: str) -> None:
        self.saved = [kept for kept in self.saved if kept.slug != slug]

    def uploads(self) -> list[Path]:
        return []

    def take_upload(self, source: Path, original_name: str) -> Path:
        return self.settings.uploads / original_name


def record(name: str, **values: Any) -> Any:
    """A saved dataset."""
    known = {"licence": "MIT", "fingerprint": "content-1", "rows": ROWS, "data": {}, "cleaning": {}, "changed": False}
    kept = {key: value for key, value in values.items() if key in known}
    return SimpleNamespace(name=name, slug=name.lower(), created_at=datetime.now(UTC), **{**known, **kept})


def make_page(studio: FakeStudio) -> Page:
    """The Data page's components, without an app around them."""
    with gr.Blocks():
        states = [gr.State(None) for _ in range(5)]
        tab = data_layout.build()
        sketch = gr.State(None)
        max_length = gr.Number(512)
    shared = Shared(studio, *states)  # type: ignore[arg-type]
    return Page(shared, tab, sketch, {"training.max_length": max_length})
