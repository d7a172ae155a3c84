"""One pass over all examples: what is in them, counted in bounded memory, and the few things that look wrong.

Knows examples alone: no file, no tokenizer. `Survey.result` is plain values, `findings` says them in the sentences of
text_findings.py. For each row 24 bytes are kept: five million rows take some 120 MB, and as much again at the end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ftfy.badness import is_bad
from numpy.typing import NDArray

from studio.data.cleaning import digest, empty_answer, empty_question, empty_text, in_a_row
from studio.data.duplicates import first_of_each, is_among
from studio.data.private_text import has_email, has_secret
from studio.data.survey import text_findings
from studio.data.survey.findings import ROWS_NAMED, Finding
from studio.data.survey.tallies import Frequent, bars, most
from studio.messages import Example
from studio.recipe_data_fields import CleaningPart

MOST_LABELS = 50
LONGEST_LABEL_WORDS = 5
LEAST_LABELLED_ROWS = 40
LEAST_ROWS_A_LABEL = 4
"""Answers are taken for labels when they are few, short, and come again and again."""

UNBALANCED = 5
"""Times that the most frequent label outnumbers the rarest."""
DOMINANT_SHARE = 0.2
DOMINANT_LABEL_SHARE = 0.9
LEAST_ROWS_TO_DOMINATE = 20
"""Conversations of which one answer makes up this much are worth a look, of labels far more, of a handful none."""

WATCHED_ANSWERS = 2000
WATCHED_WORDS = 20_000
"""Different values that are counted at once; beyond that the rare ones are let go."""
LONGEST_ANSWER_KEPT = 200
FIRST_WORDS = 12
LONGEST_WORD_KEPT = 40
AROUND_WORDS = ".,:;!?\"'()*“”„«»"
MOST_TURNS = 100
MOST_WORDS = 100_000
"""Rows with more turns or words are counted as having that many."""
LOST_LETTER = "\ufffd"
"""What decoders write in the place of bytes that they cannot read."""


@dataclass(frozen=True)
class Marked:
    """Rows that have something in common: how many, and the numbers of the first."""

    count: int = 0
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class SurveyResult:
    """What a survey found; `dataclasses.asdict` makes plain JSON of it, `from_json` reads that."""

    rows: int
    conversations: int
    """How many of the rows are conversations; the others are plain text."""
    marked: Mapping[str, Marked]
    """Kind of finding -> its rows; kinds without any are missing."""
    labels: tuple[tuple[str, int], ...] = ()
    """(label, rows), the most frequent first; empty unless all answers are labels."""
    dominant: str = ""
    """Beginning of the answer that makes up much of all; its rows are marked. Empty if there is none."""
    turns: tuple[tuple[int, int], ...] = ()
    """(turns without system prompts, conversations)."""
    answer_words: tuple[tuple[int, int, int], ...] = ()
    """(from, to, rows) of a histogram of the words in answers or texts; `to` is not included."""
    first_words: tuple[tuple[str, int], ...] = ()
    """(word that answers begin with, rows), the most frequent first."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SurveyResult:
        """What `dataclasses.asdict` made of one."""
        marked = {kind: Marked(one["count"], tuple(one["rows"])) for kind, one in values["marked"].items()}
        lists = {name: tuple(map(tuple, values[name])) for name in ("labels", "turns", "answer_words", "first_words")}
        return cls(values["rows"], values["conversations"], marked, dominant=values["dominant"], **lists)

    def charts(self) -> dict[str, list[list[Any]]]:
        """The counts that are drawn, by chart."""
        return {
            name: [list(entry) for entry in getattr(self, name)]
            for name in ("turns", "answer_words", "first_words", "labels")
        }


class Survey:
    """Takes in examples one after the other."""

    def __init__(self) -> None:
        self._numbers = array("i")
        self._digests = array("Q")
        self._answers = array("q")
        """Python's own hash of each answer: the same within one process, which is all that is needed."""
        self._conversations = 0
        self._counts: Counter[str] = Counter()
        self._rows: dict[str, list[int]] = {}
        self._turns: Counter[int] = Counter()
        self._words: Counter[int] = Counter()
        self._frequent: Frequent[tuple[int, str]] = Frequent(WATCHED_ANSWERS)
        self._first_words: Frequent[str] = Frequent(WATCHED_WORDS)

    def add(self, number: int, example: Example) -> None:
        """Look at the row that people know by `number`."""
        self._numbers.append(number)
        self._digests.append(digest(example))
        answer = (example.answer if example.messages else example.text or "").strip()
        words = answer.split()
        self._words[min(len(words), MOST_WORDS)] += 1
        if example.messages:
            self._conversations += 1
            self._turns[min(sum(turn["role"] != "system" for turn in example.messages), MOST_TURNS)] += 1
            self._answers.append(hash(answer))
            self._frequent.add((hash(answer), answer[:LONGEST_ANSWER_KEPT]))
            if words:
                self._first_words.add((words[0].strip(AROUND_WORDS) or words[0])[:LONGEST_WORD_KEPT])
        else:
            self._answers.append(hash(""))
        for kind in _kinds(example):
            self._counts[kind] += 1
            rows = self._rows.setdefault(kind, [])
            if len(rows) < ROWS_NAMED:
                rows.append(number)

    def result(self) -> SurveyResult:
        """What was found in everything taken in so far."""
        marked = {kind: Marked(count, tuple(self._rows[kind])) for kind, count in self._counts.items()}
        first = first_of_each(np.frombuffer(self._digests, np.uint64))
        if not first.all():
            marked["duplicates"] = self._marked(~first)
        dominant = self._dominant()
        if dominant is not None:
            marked["dominant_answer"] = self._marked(np.frombuffer(self._answers, np.int64) == dominant[0])
        return SurveyResult(
            len(self._numbers),
            self._conversations,
            marked,
            self._labels(),
            dominant[1] if dominant else "",
            tuple(sorted(self._turns.items())),
            tuple(bars(self._words)),
            tuple(most(self._first_words.counts, FIRST_WORDS)),
        )

    def _marked(self, mask: NDArray[np.bool_]) -> Marked:
        places = np.flatnonzero(mask)
        return Marked(len(places), tuple(self._numbers[int(place)] for place in places[:ROWS_NAMED]))

    def _labels(self) -> tuple[tuple[str, int], ...]:
        """(label, rows) if the answers are labels: few, short ones that come again and again."""
        counts = self._frequent.counts
        few = 0 < len(counts) <= min(MOST_LABELS, self._conversations // LEAST_ROWS_A_LABEL)
        if self._frequent.missed or not few or self._conversations < LEAST_LABELLED_ROWS:
            return ()
        if not all(label and len(label.split()) <= LONGEST_LABEL_WORDS for _, label in counts):
            return ()
        return tuple((label, count) for (_, label), count in most(counts, MOST_LABELS))

    def _dominant(self) -> tuple[int, str] | None:
        """(hash, beginning) of the most frequent answer that says something and makes up enough of all."""
        if self._conversations < LEAST_ROWS_TO_DOMINATE:
            return None
        share = DOMINANT_LABEL_SHARE if self._labels() else DOMINANT_SHARE
        for (identity, answer), count in most(self._frequent.counts, 2):
            if answer and count + self._frequent.missed >= share * self._conversations:
                return identity, answer
        return None


def findings(result: SurveyResult, cleaning: CleaningPart) -> list[Finding]:
    """What the survey found, in sentences with what can be done about it; the worst first.

    `cleaning` are the steps that were on: what a fix leaves out is added to what is left out already.
    """
    found = [
        text_findings.about_rows(kind, result.marked[kind].count, result.marked[kind].rows, cleaning)
        for kind in text_findings.ABOUT_ROWS
        if kind in result.marked
    ]
    system = result.marked.get("some_system_prompts")
    if system is not None and system.count < result.conversations:
        found.append(text_findings.some_system_prompts(system.count, result.conversations, system.rows))
    if "dominant_answer" in result.marked:
        dominant = result.marked["dominant_answer"]
        found.append(
            text_findings.dominant_answer(result.dominant, dominant.count, result.conversations, dominant.rows)
        )
    if len(result.labels) > 1 and result.labels[0][1] >= UNBALANCED * result.labels[-1][1]:
        found.append(text_findings.label_imbalance(result.labels))
    return sorted(found, key=lambda finding: text_findings.SEVERITIES.index(finding.severity))


def overlap(train: NDArray[np.uint64], held_out: NDArray[np.uint64]) -> Finding | None:
    """The finding that held-out rows are also trained, by the digests of both; None if none is."""
    count = int(np.count_nonzero(np.isin(held_out, train[is_among(train, held_out)])))
    return text_findings.overlap(count, len(held_out)) if count else None


def _kinds(example: Example) -> list[str]:
    """The kinds of findings that a row belongs to."""
    turns = (*example.messages, *example.rejected)
    texts = [turn["content"] for turn in turns] if turns else [example.text or ""]
    found = {
        "empty_answers": empty_answer(example),
        "empty_questions": empty_question(example),
        "empty_texts": empty_text(example),
        "no_question": bool(turns) and not any(turn["role"] == "user" for turn in turns),
        "two_turns_in_a_row": any(in_a_row(one, two) for one, two in pairwise(example.messages)),
        "some_system_prompts": any(turn["role"] == "system" for turn in turns),
        "secrets": any(map(has_secret, texts)),
        "email_addresses": any(map(has_email, texts)),
        "lost_letters": any(LOST_LETTER in text for text in texts),
        "mojibake": any(not text.isascii() and is_bad(text) for text in texts),
    }
    return [kind for kind, belongs in found.items() if belongs]
