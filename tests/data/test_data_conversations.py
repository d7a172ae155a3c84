"""Rows become examples, and what cannot is named with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from studio.data.formats.conversations import UnreadableRow, read_row
from studio.data.formats.formats import recognise
from studio.messages import Example
from studio.recipe_data_fields import DataSource

QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
WORSE = {"role": "assistant", "content": "5"}
ALPACA_ROW = {"instruction": "2 + 2?", "input": "", "output": "4"}


def read(row: dict[str, Any], like: dict[str, Any] | None = None) -> Example:
    """`row` as an example, in the format of `like` or else its own."""
    return read_row(row, recognise([like or row], DataSource())[0])


def problem(row: dict[str, Any], like: dict[str, Any] | None = None) -> str:
    """Why `row` cannot be read."""
    with pytest.raises(UnreadableRow) as caught:
        read(row, like)
    return str(caught.value)


def spoken(example: Example) -> list[tuple[str, str]]:
    """Who says what."""
    return [(turn["role"], turn["content"]) for turn in example.messages]


# Pairs


def test_a_system_prompt_of_its_own_column_comes_first_unless_the_conversation_has_one() -> None:
    own = {"messages": [{"role": "system", "content": "own"}, QUESTION, ANSWER], "system": "column"}
    other = {"messages": [QUESTION, ANSWER], "system": "column"}

    assert read(own).messages[0]["content"] == "own"
    assert read(other).messages[0] == {"role": "system", "content": "column"}
    assert read({**other, "system": None}, like=other).messages[0] == QUESTION


@pytest.mark.parametrize("row", [{"input": None}, {"input": "  "}, {}])
def test_an_instruction_may_have_no_input(row: dict[str, Any]) -> None:
    example = read({"instruction": "2 + 2?", "output": "4", **row}, like=ALPACA_ROW)

    assert spoken(example) == [("user", "2 + 2?"), ("assistant", "4")]


def test_numbers_are_answers_too() -> None:
    assert read({"question": "2 + 2?", "answer": 4}).answer == "4"
    assert read({"question": "Is it?", "answer": True}).answer == "true"


def test_an_answer_that_is_json_stays_text() -> None:
    for answer in ('{"name": "Ada"}', "[1, 2]", '["a"]', '{"value": "x"}', '[{"role": "admin"}]'):
        assert read({"prompt": "As JSON?", "completion": answer}).answer == answer


def test_several_answers_give_the_first() -> None:
    assert read({"question": "Who?", "answers": ["Ada", "Lovelace"]}).answer == "Ada"
    assert read({"question": "Who?", "context": "", "answers": {"text": [], "answer_start": []}}).answer == ""
    cell = json.dumps({"text": ["Ada"], "answer_start": [0]})
    assert read({"question": "Who?", "context": "c", "answers": cell}).answer == "Ada"
    assert read({"question": "Who?", "answer": {"value": "Ada", "aliases": []}}).answer == "Ada"


@pytest.mark.parametrize(
    ("row", "like", "reason"),
    [
        ({"text": "stray"}, {"messages": [QUESTION, ANSWER]}, "the column messages is missing"),
        ({"instruction": "2 + 2?"}, ALPACA_ROW, "the column output is missing"),
        ({"output": "4"}, ALPACA_ROW, "the column instruction is missing"),
        ({**ALPACA_ROW, "output": {"a": 1}}, ALPACA_ROW, "output holds named values, not text"),
        ({"text": ["a"]}, {"text": "a"}, "text holds a list, not text"),
        (
            {**ALPACA_ROW, "history": ["a", "b"]},
            {**ALPACA_ROW, "history": []},
            "history is no list of pairs of question and answer",
        ),
    ],
)
def test_what_a_row_lacks_is_named(row: dict[str, Any], like: dict[str, Any], reason: str) -> None:
    assert problem(row, like) == reason


# Labels


@pytest.mark.parametrize(
    ("label", "answer"),
    [(0, "bad"), ("1", "good"), (1.0, "good"), ("mixed", "mixed"), ([0, 1], "bad, good"), (True, "true")],
)
def test_labels_become_words(label: Any, answer: str) -> None:
    form = recognise([{"text": "q", "label": 1}], DataSource(label_names=("bad", "good")))[0]

    assert read_row({"text": "q", "label": label}, form).answer == answer


@pytest.mark.parametrize("label", [2, -1, "7"])
def test_a_number_beyond_the_names_is_named(label: Any) -> None:
    form = recognise([{"text": "q", "label": 1}], DataSource(label_names=("bad", "good")))[0]

    with pytest.raises(UnreadableRow, match=f"the label {label} has no name; there are names for 0 to 1"):
        read_row({"text": "q", "label": label}, form)


def test_a_missing_label_is_an_empty_answer() -> None:
    form = recognise([{"text": "q", "label": 1}], DataSource(label_names=("bad", "good")))[0]

    assert read_row({"text": "q", "label": None}, form).answer == ""
    assert read_row({"text": "q", "label": float("nan")}, form).answer == ""


# Preferences and ratings


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "chosen": [ANSWER], "rejected": [WORSE]},
        {"prompt": [QUESTION], "chosen": [ANSWER], "rejected": [WORSE]},
        {"prompt": "2 + 2?", "chosen": [QUESTION, ANSWER], "rejected": [QUESTION, WORSE]},
        {"question": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"question": "2 + 2?", "response_j": "4", "response_k": "5"},
        {"prompt": "\n\nHuman: 2 + 2?\n\nAssistant:", "chosen": " 4", "rejected": " 5"},
        {"prompt": "2 + 2?", "chosen": json.dumps([QUESTION, ANSWER]), "rejected": json.dumps([QUESTION, WORSE])},
    ],
)
def test_preference_pairs_end_in_one_form(row: dict[str, Any]) -> None:
    assert read(row) == Example(messages=(QUESTION, ANSWER), rejected=(WORSE,))  # type: ignore[arg-type]


def test_the_shared_beginning_of_two_conversations_is_the_prompt() -> None:
    start = [QUESTION, ANSWER, {"role": "user", "content": "Sure?"}]
    example = read({"chosen": [*start, ANSWER], "rejected": [*start, WORSE]})

    assert list(example.prompt) == start
    assert example.rejected == (WORSE,)


def test_two_equal_answers_are_still_a_pair() -> None:
    assert read({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, ANSWER]}).rejected == (ANSWER,)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"chosen": [QUESTION, ANSWER, QUESTION, ANSWER], "rejected": [QUESTION, WORSE, QUESTION, ANSWER]},
            "the better and the worse conversation differ before the last answer",
        ),
        ({"chosen": "4", "rejected": "5"}, "there is no question: no prompt, and the answers do not begin with one"),
        (
            {"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, QUESTION]},
            "one of the two conversations does not end with an answer",
        ),
    ],
)
def test_pairs_that_cannot_be_compared_are_named(row: dict[str, Any], reason: str) -> None:
    assert problem(row) == reason


@pytest.mark.parametrize(
    ("label", "desirable"), [(True, True), (False, False), ("True", True), ("false", False), (1, True), ("0", False)]
)
def test_a_rating_is_true_or_false(label: Any, desirable: bool) -> None:
    row = {"prompt": "2 + 2?", "completion": "4", "label": label}

    assert read(row, like={**row, "label": True}).desirable is desirable


def test_a_rating_that_is_neither_is_named() -> None:
    row = {"prompt": "2 + 2?", "completion": "4", "label": True}

    assert problem({**row, "label": "maybe"}, like=row) == "the label is 'maybe', not true or false"
