"""What is worth fixing before training, in sentences with row numbers: what only the tokens can tell.

Findings about the texts themselves (duplicates, empty answers, secrets) come from `data/survey/`; this adds what
depends on the tokenizer, its template and max_length. Knows no page: a fix is a change of recipe fields.
"""

from __future__ import annotations

import math

import numpy as np

from studio.data.dataset import Data
from studio.data.sifting import Indices
from studio.data.survey.findings import ROWS_NAMED, Finding, Fix, Fixes, Severity
from studio.ml.looking.lengths import BEGINS_TWICE, END_UNTRAINED, HAS_SYSTEM, NOT_RENDERED, PIECE, Lengths
from studio.recipe import Recipe

SKIP = Fix("Leave them out", {"data.bad_rows": "skip"})
STEP = 16
"""max_length is offered in multiples of this; hardware likes them."""
MANY_SHARE = 0.1
"""Share of rows without a trained token beyond which it is no accident."""
SPARSE_SHARE = 0.05
"""Trained share of all tokens below which most of the computing teaches nothing."""


def findings(data: Data, rows: Lengths, recipe: Recipe, longest_context: int | None) -> list[Finding]:
    """All findings about reading and tokens. `rows` are those that will be trained."""
    about = _Audit(data, rows, recipe, longest_context)
    found = [
        about.guessed(),
        about.bad_rows(),
        about.unreadable(),
        *about.not_rendered(),
        *about.cut(),
        about.end_untrained(),
        about.begins_twice(),
        about.few_trained(),
    ]
    return [finding for finding in found if finding is not None]


class _Audit:
    """The rows that will be trained and what is asked of them; each method looks for one kind of trouble."""

    def __init__(self, data: Data, rows: Lengths, recipe: Recipe, longest_context: int | None) -> None:
        self.data, self.rows, self.recipe, self.context = data, rows, recipe, longest_context
        self.limit = recipe.training.max_length
        self.skips = recipe.data.bad_rows == "skip"
        self.written = ~rows.has(NOT_RENDERED)
        self.untrained = self.written & (rows.first_trained >= np.minimum(rows.total, self.limit))
        self.long = self.written & (rows.total > self.limit)

    def _found(
        self, kind: str, severity: Severity, words: tuple[str, str, str], mask: Indices, fixes: Fixes
    ) -> Finding:
        """A finding about the rows of `mask`; `words` are what is counted, what is said of it, and the sentence."""
        count = int(np.count_nonzero(mask))
        own = self.data.main.indices  # rows of mixed datasets, which stand behind, have numbers of their own
        places = first_places(mask[: len(own)], ROWS_NAMED)
        some = tuple(int(own[place]) + 1 for place in places)
        what, said, sentence = words
        return Finding(kind, severity, f"{_counted(count, what)} {said}", sentence, count, some, tuple(fixes))

    def _refused(self, kind: str, count: int, said: str, first: str, rows: tuple[int, ...] = ()) -> Finding:
        """A finding about rows that stop a training unless they are skipped."""
        end = "They are left out." if self.skips else "Training would refuse to start."
        fixes = () if self.skips else (SKIP,)
        severity: Severity = "note" if self.skips else "bad"
        return Finding(kind, severity, f"{_counted(count, 'row')} {said}", f"{first} {end}", count, rows, fixes)

    def guessed(self) -> Finding | None:
        """Columns whose meaning nobody has confirmed."""
        form = self.data.form
        if form.sureness != "guess":
            return None
        fix = Fix("It is right", {"data.format": form.name, "data.mapping": dict(form.mapping)})
        sentence = f"They are read as {form.name}: {form.reason}. Say which column is what, or confirm it."
        return Finding("guessed", "bad", "What the columns mean is only a guess", sentence, fixes=(fix,))

    def bad_rows(self) -> Finding | None:
        """Lines that are no rows at all."""
        facts = self.data.store.facts
        if not facts.bad_rows:
            return None
        first = facts.bad[0].sentence if facts.bad else ""
        return self._refused("bad_rows", facts.bad_rows, "cannot be read", first)

    def unreadable(self) -> Finding | None:
        """Rows that lack what their format needs."""
        sifted = self.data.sifted
        if not sifted.unreadable:
            return None
        first = sifted.unreadable_rows[0]
        some = tuple(row.number for row in sifted.unreadable_rows)
        sentence = f"Row {first.number:,}: {first.reason}."
        return self._refused("unreadable", sifted.unreadable, "without what the format needs", sentence, some)

    def not_rendered(self) -> list[Finding]:
        """Rows that the template refuses; those with a system prompt told apart, as folding it is their cure."""
        refused = ~self.written
        if not refused.any():
            return []
        sentence = self.rows.problems[0][1] if self.rows.problems else ""
        system = refused & self.rows.has(HAS_SYSTEM)
        found = []
        if system.any() and "system" in sentence.lower() and not self.recipe.cleaning.fold_system:
            words = "row", "with a system prompt, which the template does not know", sentence
            fold = Fix("Write it into the question", {"cleaning.fold_system": True})
            found.append(self._found("system_unsupported", "bad", words, system, (fold, SKIP)))
            refused = refused & ~system
        if refused.any():
            end = "They are left out." if self.skips else "Training would refuse to start."
            words = "row", "that the chat template cannot write", f"{sentence} {end}"
            fixes = () if self.skips else (*_cures(sentence, self.recipe), SKIP)
            found.append(self._found("not_rendered", "note" if self.skips else "bad", words, refused, fixes))
        return found

    def cut(self) -> list[Finding]:
        """What max_length takes away: whole rows, ends of answers, ends of texts."""
        if self.recipe.cleaning.drop_over_long:
            words = "row", f"longer than {self.limit:,} tokens left out", "drop_over_long is on."
            return [self._found("over_long", "note", words, self.long, ())] if self.long.any() else []
        answers = self.long & ~self.untrained & (self.rows.last_end > self.limit)
        return [
            *self._untrained(),
            *self._answers_cut(answers),
            *self._texts_cut(self.long & ~self.untrained & ~answers),
        ]

    def _untrained(self) -> list[Finding]:
        if not self.untrained.any():
            return []
        many = np.count_nonzero(self.untrained) > len(self.rows.total) * MANY_SHARE
        sentence = (
            f"Their questions alone fill max_length ({self.limit:,}), or they hold no answer. Training leaves them out."
        )
        words = "row", "without a trained token", sentence
        ends = self.rows.total[self.untrained & (self.rows.trained > 0)]
        return [self._found("untrained", "bad" if many else "warn", words, self.untrained, self._longer(ends))]

    def _answers_cut(self, answers: Indices) -> list[Finding]:
        if not answers.any():
            return []
        sentence = (
            f"They end after max_length ({self.limit:,}), so the model would learn to break off there and not to stop."
        )
        drop = Fix("Leave them out", {"cleaning.drop_over_long": True})
        fixes = (*self._longer(self.rows.last_end[answers]), drop)
        return [self._found("answers_cut", "warn", ("answer", "cut", sentence), answers, fixes)]

    def _texts_cut(self, texts: Indices) -> list[Finding]:
        if not texts.any():
            return []
        words = "row", "cut at the end", f"What is beyond {self.limit:,} tokens is not trained. No answer is harmed."
        return [self._found("rows_cut", "note", words, texts, self._longer(self.rows.total[texts]))]

    def _longer(self, ends: Indices) -> Fixes:
        """The max_length that holds them all; the model's context if that is less; nothing if neither helps."""
        if not len(ends):
            return ()
        wanted = math.ceil(int(ends.max()) / STEP) * STEP
        offered = min(wanted, self.context or wanted)
        holds = int(np.count_nonzero(ends <= offered))
        if offered <= self.limit or not holds:
            return ()
        held = "" if offered == wanted else f", which holds {holds:,} of them"
        return (Fix(f"Set max_length to {offered:,}{held}", {"training.max_length": offered}),)

    def end_untrained(self) -> Finding | None:
        """Answers after which the model would not learn to stop."""
        endless = self.written & self.rows.has(END_UNTRAINED) & (self.rows.trained > 0)
        if not endless.any():
            return None
        sentence = (
            "The token that ends an answer is not trained in them, so the model would not learn to stop. Choose a chat "
            "template whose answers end with a token of their own, such as ChatML."
        )
        fix = Fix("Use the ChatML template", {"model.chat_template": "chatml"})
        return self._found("end_untrained", "bad", ("answer", "without a trained end", sentence), endless, (fix,))

    def begins_twice(self) -> Finding | None:
        """Texts that carry the begin token which the tokenizer adds as well."""
        twice = self.written & self.rows.has(BEGINS_TWICE)
        if not twice.any():
            return None
        sentence = (
            "The text carries the begin token, and the chat template adds it as well. Remove it from the texts, or "
            "bring the conversation as turns without it."
        )
        return self._found("begins_twice", "warn", ("row", "beginning twice", sentence), twice, ())

    def few_trained(self) -> Finding | None:
        """Most of the computing is spent on reading questions."""
        trained, total = int(self.rows.trained.sum()), int(self.rows.total.sum())
        if not self.recipe.training.assistant_only_loss or not total or trained / total >= SPARSE_SHARE:
            return None
        sentence = (
            f"Of {total:,} tokens {trained:,} are answers ({100 * trained / total:.1f} %). That is usual for labels; "
            "elsewhere it says that the questions carry more than the model needs."
        )
        return Finding("few_trained", "note", "Most tokens are read, not learned", sentence)


def first_places(mask: Indices, most: int) -> list[int]:
    """Where a mask is true, the first `most` places; looks no further than it has to."""
    places: list[int] = []
    for start in range(0, len(mask), PIECE):
        places += (np.flatnonzero(mask[start : start + PIECE])[: most - len(places)] + start).tolist()
        if len(places) == most:
            break
    return places


def _cures(sentence: str, recipe: Recipe) -> tuple[Fix, ...]:
    """What helps against a refusal, told by its words."""
    cures = []
    if "no chat template" in sentence:
        cures.append(Fix("Use the ChatML template", {"model.chat_template": "chatml"}))
    if "alternate" in sentence and not recipe.cleaning.merge_turns:
        cures.append(Fix("Join turns in a row", {"cleaning.merge_turns": True}))
    if "completion_only_loss" in sentence and not recipe.training.completion_only_loss:
        cures.append(Fix("Train the last answer only", {"training.completion_only_loss": True}))
    if "assistant_only_loss" in sentence and recipe.training.assistant_only_loss:
        cures.append(Fix("Train whole conversations", {"training.assistant_only_loss": False}))
    return tuple(cures)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
