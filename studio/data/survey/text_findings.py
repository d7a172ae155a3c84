"""What is said about texts that look wrong: title, sentence and fixes for each kind of finding.

Knows no example and no file; `survey.py` has counted. Every kind stands in exactly one place here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from studio.data.survey.findings import ROWS_NAMED, Finding, Fix
from studio.recipe_data_fields import CleaningPart

SEVERITIES = ("bad", "warn", "note")
MOST_DROPPED = 100_000
"""As many row numbers as a recipe takes."""


@dataclass(frozen=True)
class _Wording:
    severity: Literal["bad", "warn", "note"]
    one: str
    """What follows "1 row" in the title."""
    many: str
    sentence: str
    label: str = ""
    """What the button of the fix says; empty if no step of cleaning mends it."""
    changes: Mapping[str, Any] | None = None


ABOUT_ROWS: Mapping[str, _Wording] = {
    "empty_answers": _Wording(
        "bad",
        "has an empty answer",
        "have an empty answer",
        "From them the model learns to say nothing. Fill the answers in, or leave these rows out.",
        "Leave out empty rows",
        {"cleaning.drop_empty": True},
    ),
    "empty_texts": _Wording(
        "warn",
        "is empty",
        "are empty",
        "There is nothing to learn in them.",
        "Leave out empty rows",
        {"cleaning.drop_empty": True},
    ),
    "empty_questions": _Wording(
        "warn",
        "has an empty question",
        "have an empty question",
        "The model learns their answers as a reply to nothing. If the question stands in another column, choose it in "
        "the mapping; else leave these rows out.",
        "Leave out empty rows",
        {"cleaning.drop_empty": True},
    ),
    "secrets": _Wording(
        "bad",
        "looks as if it held a key or a password",
        "look as if they held a key or a password",
        "What a model has learned it may say to anyone. Mask them here, and have the keys replaced if they are real.",
        "Mask keys and addresses",
        {"cleaning.mask_secrets": True},
    ),
    "email_addresses": _Wording(
        "warn",
        "holds an e-mail address",
        "hold an e-mail address",
        "What a model has learned it may say to anyone. Mask the addresses unless they are public.",
        "Mask keys and addresses",
        {"cleaning.mask_secrets": True},
    ),
    "duplicates": _Wording(
        "warn",
        "repeats an earlier one",
        "repeat an earlier one",
        "The model sees them that much more often and learns them by heart; the score is too good when one of them is "
        "held out.",
        "Keep the first of each",
        {"cleaning.dedupe": "exact"},
    ),
    "two_turns_in_a_row": _Wording(
        "warn",
        "has two turns in a row of the same speaker",
        "have two turns in a row of the same speaker",
        "Many chat templates refuse them, and the model learns to talk on without an answer. Often a turn is missing, "
        "or two belong together.",
        "Join such turns",
        {"cleaning.merge_turns": True},
    ),
    "mojibake": _Wording(
        "warn",
        "has wrongly decoded letters",
        "have wrongly decoded letters",
        "Letters such as é appear as Ã©, and the model would write them so. Repair them, or read the file in its own "
        "encoding if nearly all rows look like that.",
        "Repair the letters",
        {"cleaning.fix_text": True},
    ),
    "lost_letters": _Wording(
        "warn",
        "has lost letters (\ufffd)",
        "have lost letters (\ufffd)",
        "Somebody read them in the wrong encoding and saved them; what stood there cannot be brought back. Get the "
        "text from its source again, or leave these rows out.",
    ),
    "no_question": _Wording(
        "note",
        "has no question",
        "have no question",
        "The model learns to say these answers unasked. That is meant in some sets; in others the column with the "
        "question has another name.",
    ),
}
"""Kind -> what is said about its rows."""


def about_rows(kind: str, count: int, rows: Sequence[int], cleaning: CleaningPart) -> Finding:
    """The finding that `count` rows, the first of which are `rows`, are of `kind`."""
    wording = ABOUT_ROWS[kind]
    title = f"{count:,} {'row' if count == 1 else 'rows'} {wording.one if count == 1 else wording.many}"
    fixes = []
    if wording.changes and not _are_made(wording.changes, cleaning):
        fixes.append(Fix(wording.label, wording.changes))
    dropped = sorted({*cleaning.drop_rows, *rows})
    if count == len(rows) <= ROWS_NAMED and len(dropped) <= MOST_DROPPED:
        fixes.append(Fix("Leave these rows out" if count > 1 else "Leave it out", {"cleaning.drop_rows": dropped}))
    return Finding(kind, wording.severity, title, wording.sentence, count, tuple(rows), tuple(fixes))


def some_system_prompts(count: int, conversations: int, rows: Sequence[int]) -> Finding:
    """The finding that only some conversations begin with a system prompt."""
    return Finding(
        "some_system_prompts",
        "note",
        f"{count:,} of {conversations:,} conversations have a system prompt",
        "The model learns to answer with and without one. Ask it later as the rows do that you care about.",
        count,
        tuple(rows),
    )


def dominant_answer(answer: str, count: int, conversations: int, rows: Sequence[int]) -> Finding:
    """The finding that one answer makes up much of all."""
    said = " ".join(answer.split())
    excerpt = said if len(said) <= 60 else f"{said[:59]}…"
    return Finding(
        "dominant_answer",
        "warn",
        f"{100 * count // conversations} % of the answers are the same",
        f"{count:,} of {conversations:,} answers are “{excerpt}”. The model may learn to say it whatever it is asked. "
        "Take some of these rows out, or add others.",
        count,
        tuple(rows),
    )


def label_imbalance(labels: Sequence[tuple[str, int]]) -> Finding:
    """The finding that one label, of those in `labels` (most frequent first), is much rarer than another."""
    (often, many), (rarely, few) = labels[0], labels[-1]
    rows = sum(count for _, count in labels)
    return Finding(
        "label_imbalance",
        "warn",
        f"“{rarely}” is {many // few} times rarer than “{often}”",
        f"{few:,} and {many:,} of {rows:,} rows. The model may get good marks without ever saying “{rarely}”. Add rows "
        "with the rare labels, or take out some of the frequent ones.",
        few,
    )


def overlap(count: int, held_out: int) -> Finding:
    """The finding that `count` of the held-out rows are trained as well."""
    return Finding(
        "overlap",
        "bad" if count * 10 >= held_out else "warn",
        f"{count:,} of {held_out:,} held-out rows {'is' if count == 1 else 'are'} also trained",
        "The score counts what the model knows by heart as learned. Keep one of each row; where the dataset brings its "
        "own held-out part, take them out of the rows to train on.",
        count,
        fixes=(Fix("Keep the first of each", {"cleaning.dedupe": "exact"}),),
    )


def _are_made(changes: Mapping[str, Any], cleaning: CleaningPart) -> bool:
    """Whether the recipe has these values already."""
    return all(getattr(cleaning, name.removeprefix("cleaning.")) == value for name, value in changes.items())
