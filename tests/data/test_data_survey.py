"""The survey: what is wrong with a dataset is counted, named by row, and mended by one change of the recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import pytest

from studio.data.cleaning import Sieve, digest, repair
from studio.data.duplicates import first_of_each
from studio.data.survey.findings import ROWS_NAMED, Finding
from studio.data.survey.survey import Survey, SurveyResult, findings, overlap
from studio.messages import Example, Message
from studio.recipe import CleaningPart, Recipe


def asked(question: str, answer: str) -> Example:
    return Example(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def surveyed(examples: Iterable[Example]) -> SurveyResult:
    survey = Survey()
    for number, example in enumerate(examples, start=1):
        survey.add(number, example)
    return survey.result()


def found(examples: Iterable[Example], cleaning: CleaningPart | None = None) -> dict[str, Finding]:
    """Kind -> finding."""
    return {finding.kind: finding for finding in findings(surveyed(examples), cleaning or CleaningPart())}


GOOD = [asked(f"What is {number} plus one?", f"That makes {number + 1}.") for number in range(60)]
SYSTEM = Message(role="system", content="Be kind.")
USER = Message(role="user", content="Hi")
ANSWER = Message(role="assistant", content="Yes")

FLAWS = {
    "empty_answers": asked("Why?", " \n"),
    "empty_questions": asked("", "Because."),
    "empty_texts": Example(text="  "),
    "duplicates": asked("What is 1 plus one? ", "That makes 2."),
    "two_turns_in_a_row": Example(messages=(USER, Message(role="user", content="Anyone?"), ANSWER)),
    "mojibake": asked("OÃ¹ est le cafÃ©\xa0?", "LÃ\xa0."),
    "lost_letters": asked("Where is the caf\ufffd?", "There."),
    "secrets": asked("How do I log in?", "Use the password: hunter2hunter2"),
    "email_addresses": asked("Who is it?", "ann.lee@mail.example"),
    "no_question": Example(messages=(SYSTEM, ANSWER)),
    "some_system_prompts": Example(messages=(SYSTEM, USER, ANSWER)),
}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert found(GOOD) == {}
    assert found([]) == {}


@pytest.mark.parametrize("kind", FLAWS)
def test_each_flaw_is_found_and_its_row_named(kind: str) -> None:
    finding = found([*GOOD[:10], FLAWS[kind], *GOOD[10:]])[kind]

    assert finding.rows == (11,)
    assert finding.count == 1
    assert finding.title.startswith(("1 row ", "1 of 61 "))


@pytest.mark.parametrize("kind", [kind for kind in FLAWS if kind not in ("some_system_prompts",)])
def test_each_fix_of_a_flaw_mends_it(kind: str) -> None:
    examples = [*GOOD, FLAWS[kind]]
    fixes = found(examples)[kind].fixes
    assert fixes

    for fix in fixes:
        cleaning = Recipe().changed(**fix.changes).cleaning
        assert kind not in found(cleaned(examples, cleaning), cleaning)


def cleaned(examples: Sequence[Example], cleaning: CleaningPart) -> list[Example]:
    sieve = Sieve(cleaning)
    pairs = [(number, repair(example, cleaning)[0]) for number, example in enumerate(examples, start=1)]
    left = [example for number, example in pairs if sieve.reason_to_drop(number, {}, example) is None]
    if cleaning.dedupe == "no":
        return left
    first = first_of_each(np.array([digest(example) for example in left], np.uint64))
    return [example for example, stays in zip(left, first, strict=True) if stays]


def test_more_rows_are_counted_than_named() -> None:
    finding = found([asked(f"Question {number}", "") for number in range(200)])["empty_answers"]

    assert finding.count == 200
    assert finding.title == "200 rows have an empty answer"
    assert finding.rows == tuple(range(1, ROWS_NAMED + 1))
    assert [fix.changes for fix in finding.fixes] == [{"cleaning.drop_empty": True}], "not all rows are known by number"


def test_what_is_left_out_already_stays_left_out() -> None:
    finding = found([*GOOD, FLAWS["lost_letters"]], CleaningPart(drop_rows=(3, 99)))["lost_letters"]

    assert [fix.changes for fix in finding.fixes] == [{"cleaning.drop_rows": [3, 61, 99]}]


def test_a_step_that_is_on_is_not_offered_again() -> None:
    finding = found([*GOOD, FLAWS["secrets"]], CleaningPart(mask_secrets=True))["secrets"]

    assert [fix.label for fix in finding.fixes] == ["Leave it out"]


def test_the_worst_comes_first() -> None:
    severities = [finding.severity for finding in found([*GOOD, *FLAWS.values()]).values()]

    assert severities == sorted(severities, key=["bad", "warn", "note"].index)
    assert set(severities) == {"bad", "warn", "note"}


def labelled(**counts: int) -> list[Example]:
    rows = [(label, number) for label, count in counts.items() for number in range(count)]
    return [asked(f"Text {number} of {label}", label) for label, number in rows]


def test_rare_labels_are_told() -> None:
    examples = labelled(positive=50, negative=9)
    finding = found(examples)["label_imbalance"]

    assert finding.title == "“negative” is 5 times rarer than “positive”"
    assert "9 and 50 of 59 rows" in finding.sentence
    assert surveyed(examples).labels == (("positive", 50), ("negative", 9))
    assert found(labelled(positive=50, negative=11)) == {}


def test_answers_are_labels_only_if_they_are_few_short_and_many_rows_share_them() -> None:
    assert surveyed(GOOD).labels == ()
    assert surveyed(labelled(yes=20, no=19)).labels == ()
    assert surveyed([*labelled(yes=60), asked("?", "it is hard to say what this means")]).labels == ()


def test_one_answer_that_dominates_is_told_with_its_rows() -> None:
    examples = [*GOOD[:30], *(asked(f"Request {number}", "I cannot help with that.") for number in range(10))]
    finding = found(examples)["dominant_answer"]

    assert finding.title == "25 % of the answers are the same"
    assert "10 of 40 answers are “I cannot help with that.”" in finding.sentence
    assert finding.rows == tuple(range(31, 41))
    assert "dominant_answer" not in found([*GOOD, *examples[30:]]), "below a fifth"


def test_among_labels_only_an_overwhelming_one_dominates() -> None:
    assert "dominant_answer" not in found(labelled(yes=80, no=20))
    assert "dominant_answer" in found(labelled(yes=95, no=5))


def test_a_dominant_answer_survives_thousands_of_others() -> None:
    examples = (asked(f"q{n}", "always this" if n % 4 == 0 else f"answer {n}") for n in range(12_000))

    assert found(examples)["dominant_answer"].count == 3000


def test_the_charts_count_every_row() -> None:
    long = Example(messages=(SYSTEM, *GOOD[0].messages, USER, ANSWER))
    charts = surveyed([*GOOD, long]).charts()

    assert charts["turns"] == [[2, 60], [4, 1]]
    assert charts["answer_words"] == [[0, 1, 0], [1, 2, 1], [2, 3, 0], [3, 4, 60]]
    assert charts["first_words"] == [["That", 60], ["Yes", 1]]
    assert charts["labels"] == []
    assert surveyed([Example(text="one two three")]).charts()["answer_words"][-1] == [3, 4, 1]


def test_a_result_survives_json() -> None:
    result = surveyed([*GOOD, *FLAWS.values(), *labelled(yes=40)])

    assert SurveyResult.from_json(json.loads(json.dumps(asdict(result)))) == result


def test_held_out_rows_that_are_trained_are_told() -> None:
    train = np.array([1, 2, 3, 2**64 - 1], np.uint64)

    assert overlap(train, np.array([8, 9], np.uint64)) is None
    assert overlap(train, train[:0]) is None
    finding = overlap(train, np.array([2**64 - 1, *range(10, 60)], np.uint64))
    assert finding is not None
    assert (finding.severity, finding.count, finding.title) == ("warn", 1, "1 of 51 held-out rows is also trained")
    worse = overlap(train, np.array([2, 3, 9], np.uint64))
    assert worse is not None
    assert worse.severity == "bad"
    assert [fix.changes for fix in worse.fixes] == [{"cleaning.dedupe": "exact"}]
