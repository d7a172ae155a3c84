"""What the audit found, as one sentence each with its rows and the change of the recipe that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["bad", "warn", "note"]

ROWS_NAMED = 50
"""Row numbers that a finding names; it counts all of them."""


@dataclass(frozen=True)
class Fix:
    """A button: what it says, and the dotted recipe fields that it changes."""

    label: str
    changes: Mapping[str, Any]


Fixes = tuple[Fix, ...]


@dataclass(frozen=True)
class Finding:
    """One thing that is worth knowing about a dataset before it is trained."""

    kind: str
    """Stable name, such as "answers_cut"; tests and scripts go by it."""
    severity: Severity
    """bad: training on this goes wrong. warn: probably not meant. note: worth knowing."""
    title: str
    """A few words: "12 answers are cut"."""
    sentence: str
    """What it means and what to do."""
    count: int = 0
    """How many rows it is about; 0 if it is about the dataset."""
    rows: tuple[int, ...] = ()
    """The first of their numbers, from 1."""
    fixes: Fixes = field(default=())
    """What can be done about it, the best first."""
