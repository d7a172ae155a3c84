"""Measure a model on held-out examples by really asking it: accuracy where answers are labels, samples to read.

Knows a model, a tokenizer and examples; not runs or training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.messages import Example
from studio.ml.generate import answer_all

MAX_LABELS = 20
MAX_LABEL_WORDS = 5
SAMPLE_ROWS = 5
SAMPLE_TOKENS = 48


@dataclass(frozen=True)
class Accuracy:
    """How many held-out answers were right."""

    exact: float
    """Share of answers that are the label and nothing else (case and punctuation at the ends aside)."""
    named: float
    """Share of answers that name the right label somewhere and no other: what a model that rambles still knows."""
    rows: int


def labels_of(examples: Sequence[Example]) -> list[str]:
    """The labels, if the answers look like a classification: few, short, and each used more than once; else []."""
    answers = [example.answer.strip() for example in examples if example.messages]
    labels = sorted(set(answers))
    is_classification = (
        len(answers) == len(examples) > 0
        and len(labels) <= MAX_LABELS
        and len(labels) * 2 <= len(answers)
        and all(len(label.split()) <= MAX_LABEL_WORDS for label in labels)
    )
    return labels if is_classification else []


def normalised(text: str) -> str:
    """For comparing answers: lower case, no punctuation or space at the ends."""
    return text.strip().strip(".,!?:;\"'`* \n").lower()


def accuracy(model: Any, tokenizer: Any, held_out: Sequence[Example], labels: Sequence[str]) -> Accuracy:
    """Greedy answers to the held-out prompts, compared with their labels. Generates a few tokens more than a label."""
    longest = max(len(tokenizer(label, add_special_tokens=False)["input_ids"]) for label in labels)
    answers = answer_all(model, tokenizer, [example.prompt for example in held_out], max_new_tokens=longest + 12)
    exact = sum(normalised(a) == normalised(e.answer) for a, e in zip(answers, held_out, strict=True))
    named = sum(_named(a, labels) == [e.answer.strip()] for a, e in zip(answers, held_out, strict=True))
    return Accuracy(exact / len(held_out), named / len(held_out), len(held_out))


def _named(answer: str, labels: Sequence[str]) -> list[str]:
    """The labels in `answer` as whole words; one that is only a part of another ("refund" in "no refund") is not."""
    found = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", answer, re.IGNORECASE)]
    return [label for label in found if not any(label != other and label in other for other in found)]


def sample_answers(model: Any, tokenizer: Any, examples: Sequence[Example]) -> list[str]:
    """Greedy answers to the first held-out prompts, for people to read."""
    prompts = [example.prompt for example in sample_rows(examples)]
    return answer_all(model, tokenizer, prompts, max_new_tokens=SAMPLE_TOKENS)


def sample_rows(examples: Sequence[Example]) -> list[Example]:
    """The held-out conversations whose answers are shown before and after."""
    return [example for example in examples if example.messages][:SAMPLE_ROWS]
