"""The held-out questions, asked before and after a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from studio.errors import InvalidInput
from studio.messages import Example
from studio.ml import evaluate
from studio.ml.generate import encode


@dataclass
class Exam:
    """What is asked, and whom."""

    model: Any
    tokenizer: Any
    held_out: Sequence[Example]
    labels: list[str]

    def take(self) -> tuple[evaluate.Accuracy | None, list[str]]:
        """Accuracy (where answers are labels) and answers to read. Training changes the model in place."""
        if not self.held_out:
            return None, []
        with torch.inference_mode():
            score = evaluate.accuracy(self.model, self.tokenizer, self.held_out, self.labels) if self.labels else None
            return score, evaluate.sample_answers(self.model, self.tokenizer, self.held_out)

    def table(self, before: tuple[Any, list[str]], after: tuple[Any, list[str]] | None) -> list[dict[str, Any]]:
        """The answers side by side, for the run's page."""
        rows = evaluate.sample_rows(self.held_out)
        return [
            {
                "prompt": [dict(message) for message in row.prompt],
                "wanted": row.answer,
                "before": before[1][number],
                "after": after[1][number] if after else None,
            }
            for number, row in enumerate(rows)
        ]

    def score(self, before: tuple[Any, list[str]], after: tuple[Any, list[str]]) -> dict[str, Any]:
        """Held-out accuracy before and after, for the run's result; empty where answers are no labels."""
        if before[0] is None or after[0] is None:
            return {}
        return {
            "accuracy_before": before[0].exact,
            "accuracy_after": after[0].exact,
            "named_before": before[0].named,
            "named_after": after[0].named,
            "accuracy_rows": after[0].rows,
        }


def askable(tokenizer: Any, examples: Sequence[Example]) -> list[Example]:
    """Those whose questions can be asked: without functions to call, and written by the template."""
    return [example for example in examples if not example.messages or _can_ask(tokenizer, example)]


def _can_ask(tokenizer: Any, example: Example) -> bool:
    if example.tools or any("tool_calls" in turn for turn in example.messages):
        return False
    try:
        encode(tokenizer, example.prompt)
    except InvalidInput:  # prepare() has refused it, or counted it where the recipe skips such rows
        return False
    return True
