"""Rows into tokens for the trainer: written to disk a batch at a time, cut at max_length, and counted.

Uses the same `tokenize_many` as preview, lengths and audit; knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.dataset import Rows
from studio.data.token_table import TokenTable
from studio.errors import InvalidInput
from studio.ml.text.tokens import Tokens, tokenize_many
from studio.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """Tokenized rows for the trainer, and what became of the others."""

    rows: Any
    """datasets.Dataset with the columns input_ids and labels, on disk."""
    cut: int
    """Rows longer than max_length: their ends are not seen."""
    untrained: int
    """Rows without a single trained token after the cut; they are left out."""
    over_long: int
    """Rows longer than max_length that are left out because the recipe says drop_over_long."""
    not_rendered: int
    """Rows that cannot be written in the template; they are left out where the recipe says to skip bad rows."""


def prepare(tokenizer: Any, parts: Sequence[Rows], recipe: Recipe, file: Path) -> Prepared:
    """Tokenize the rows into `file`, cut them at max_length, leave out those that would teach nothing, and count.

    Raises InvalidInput naming the first row that cannot be written in the template, unless the recipe skips those.
    """
    limit, training = recipe.training.max_length, recipe.training
    cut = untrained = over_long = not_rendered = 0
    with TokenTable(file) as table:
        for numbers, examples in (batch for part in parts for batch in part.batches()):
            many = tokenize_many(
                tokenizer,
                examples,
                assistant_only_loss=training.assistant_only_loss,
                completion_only_loss=training.completion_only_loss,
            )
            for number, whole in zip(numbers, many, strict=True):
                if not isinstance(whole, Tokens):
                    _refuse_unless_skipped(int(number) + 1, whole, recipe)
                    not_rendered += 1
                    continue
                seen = whole.cut_at(limit)
                if len(whole.input_ids) > limit and recipe.cleaning.drop_over_long:
                    over_long += 1
                elif not seen.trained:
                    untrained += 1
                else:
                    cut += len(whole.input_ids) > limit
                    table.add(seen.input_ids, seen.labels)
    return Prepared(table.as_dataset(), cut, untrained, over_long, not_rendered)


def _refuse_unless_skipped(number: int, problem: InvalidInput, recipe: Recipe) -> None:
    """A row that cannot be written is never trained as something else: skipped if the recipe says so, else refused."""
    if recipe.data.bad_rows == "stop":
        raise InvalidInput(f"Row {number:,}: {problem}", field=problem.field) from problem
