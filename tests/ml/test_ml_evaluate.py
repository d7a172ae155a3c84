"""Accuracy on held-out rows, by construction: a model whose answers the test decides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PretrainedConfig

from studio.messages import Example
from studio.ml.evaluate import Accuracy, accuracy, labels_of, normalised, sample_answers, sample_rows


def classified(question: str, label: str) -> Example:
    """A question with its label."""
    return Example(messages=({"role": "user", "content": question}, {"role": "assistant", "content": label}))


REVIEWS = [
    classified(f"Review {number}: {'good' * number}", "positive" if number % 2 else "negative") for number in range(6)
]
LABELS = ["negative", "positive"]


class Speaker:
    """Generates what it was told to answer to each question, token by token like a real model."""

    def __init__(self, tokenizer: Any, answers: dict[str, str]) -> None:
        self.tokenizer = tokenizer
        self.answers = answers
        self.device = torch.device("cpu")
        self.config = PretrainedConfig(vocab_size=len(tokenizer))
        self.training = False
        self.allowed_tokens = 0

    def eval(self) -> Speaker:
        """As a torch module."""
        return self.train(False)

    def train(self, mode: bool = True) -> Speaker:
        """As a torch module."""
        self.training = mode
        return self

    def generate(self, input_ids: torch.Tensor, max_new_tokens: int, **_: Any) -> torch.Tensor:
        """The prompts with the answers behind them, padded on the right as transformers does."""
        self.allowed_tokens = max_new_tokens
        rows = []
        for ids in input_ids:
            prompt = self.tokenizer.decode(ids)
            question = next(question for question in self.answers if f"user\n{question}<|im_end|>" in prompt)
            answer = self.tokenizer(self.answers[question], add_special_tokens=False)["input_ids"]
            rows.append([*answer, self.tokenizer.eos_token_id][:max_new_tokens])
        width = max(map(len, rows))
        padded = [row + [self.tokenizer.pad_token_id] * (width - len(row)) for row in rows]
        return torch.cat([input_ids, torch.tensor(padded)], dim=1)


def score(tokenizer: Any, answer_to: Any) -> Accuracy:
    """The accuracy of a model that says `answer_to(label)`."""
    answers = {row.prompt[0]["content"]: answer_to(row.answer) for row in REVIEWS}
    return accuracy(Speaker(tokenizer, answers), tokenizer, REVIEWS, LABELS)


@pytest.mark.parametrize(
    ("answer_to", "exact", "named"),
    [
        (lambda label: label, 1.0, 1.0),
        (lambda label: f" {label.capitalize()}.\n", 1.0, 1.0),
        (lambda label: "positive", 0.5, 0.5),
        (lambda label: f"It is {label}.", 0.0, 1.0),
        (lambda label: "positive or negative", 0.0, 0.0),
        (lambda label: "positively negatives", 0.0, 0.0),
        (lambda label: "", 0.0, 0.0),
    ],
    ids=["label", "written out", "always the same", "in a sentence", "both", "other words", "silent"],
)
def test_accuracy_counts_right_answers(tokenizer: Any, answer_to: Any, exact: float, named: float) -> None:
    assert score(tokenizer, answer_to) == Accuracy(exact, named, rows=6)


def test_only_as_much_is_generated_as_a_label_needs(tokenizer: Any) -> None:
    answers = {row.prompt[0]["content"]: "negative" for row in REVIEWS}
    speaker = Speaker(tokenizer, answers)

    accuracy(speaker, tokenizer, REVIEWS, LABELS)

    assert speaker.allowed_tokens == len("negative") + 12


@pytest.mark.parametrize("label", ["refund", "no refund", "C++"])
def test_a_label_within_another_and_one_with_signs_are_told_apart(tokenizer: Any, label: str) -> None:
    rows = [classified("What is it?", label)]
    speaker = Speaker(tokenizer, {"What is it?": f"I say {label}!"})

    assert accuracy(speaker, tokenizer, rows, ["refund", "no refund", "C++"]).named == 1.0


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["yes", "no", "yes", "no"], ["no", "yes"]),
        (["yes", " yes\n"], ["yes"]),
        (["very good indeed it is"] * 2, ["very good indeed it is"]),
        (["one two three four five six"] * 2, []),  # too long for a label
        (["yes", "no"], []),  # each only once: rather free answers
        ([str(n) for n in range(21)] * 2, []),  # too many different ones
        (["yes", "no", "yes", "no", "an answer", "another"], []),  # four for six rows
        ([], []),
    ],
)
def test_labels_are_few_short_answers_that_come_back(answers: list[str], labels: list[str]) -> None:
    assert labels_of([classified("?", answer) for answer in answers]) == labels


def test_plain_text_has_no_labels() -> None:
    assert labels_of([Example(text="yes"), Example(text="yes")]) == []
    assert labels_of([classified("?", "yes"), classified("?", "yes"), Example(text="yes")]) == []


@pytest.mark.parametrize("text", ["Positive", " positive.\n", '"positive"', "**Positive!**", "POSITIVE"])
def test_case_and_signs_at_the_ends_do_not_count(text: str) -> None:
    assert normalised(text) == "positive"


def test_signs_within_an_answer_do_count() -> None:
    assert normalised("3.5") != normalised("35")
    assert normalised("not positive") != normalised("positive")


def test_the_first_conversations_are_the_samples_to_read(tokenizer: Any) -> None:
    rows = [Example(text="plain"), *REVIEWS]
    speaker = Speaker(tokenizer, {row.prompt[0]["content"]: f"about {row.answer}" for row in REVIEWS})

    assert sample_rows(rows) == REVIEWS[:5]
    assert sample_answers(speaker, tokenizer, rows) == [f"about {row.answer}" for row in REVIEWS[:5]]
