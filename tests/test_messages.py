"""Every accepted format becomes the same normal form; everything else is refused by name or by row."""

from __future__ import annotations

from typing import Any

import pytest

from studio.errors import InvalidInput
from studio.messages import Example, read_row, recognise

QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}


def read(row: dict[str, Any], number: int = 1) -> Example:
    """`row` as an example, its format told by itself."""
    return read_row(row, recognise(row), number)


def problem(row: dict[str, Any], number: int = 1) -> str:
    """The sentence that `row` is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read(row, number)
    assert caught.value.field == "data.dataset"
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("messages", {"messages": [QUESTION, ANSWER]}),
        ("messages", {"conversation": [QUESTION, ANSWER], "id": 7}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]}),
        ("prompt/completion", {"prompt": "2 + 2?", "completion": "4"}),
        ("prompt/completion", {"prompt": [QUESTION], "completion": [ANSWER]}),
        ("alpaca", {"instruction": "2 + 2?", "input": "", "output": "4"}),
        ("alpaca", {"instruction": "2 + 2?", "input": None, "output": "4"}),
        ("alpaca", {"instruction": "2 + 2?", "output": "4"}),
    ],
)
def test_each_format_becomes_the_same_conversation(name: str, row: dict[str, Any]) -> None:
    assert recognise(row).name == name
    assert read(row) == Example(messages=(QUESTION, ANSWER))  # type: ignore[arg-type]


def test_text_stays_text() -> None:
    example = read({"text": "Once upon a time."})

    assert example == Example(text="Once upon a time.")
    assert example.answer == ""


def test_the_format_says_why_it_was_taken() -> None:
    form = recognise({"instruction": "Add", "output": "4", "source": "web"})

    assert form.reason == "there are columns instruction and output"
    assert form.columns == ("instruction", "output")


def test_alpaca_joins_instruction_and_input_and_keeps_the_system_prompt() -> None:
    example = read({"system": "Be brief.", "instruction": "Translate.", "input": "bonjour", "output": "hello"})

    assert example.prompt == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Translate.\n\nbonjour"},
    )
    assert example.answer == "hello"


def test_sharegpt_keeps_its_system_prompt_and_every_turn() -> None:
    turns = [("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "So long")]
    example = read({"conversations": [{"from": who, "value": what} for who, what in turns]})

    assert [m["role"] for m in example.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert example.answer == "So long"


def test_an_unanswered_question_at_the_end_is_dropped() -> None:
    example = read({"messages": [QUESTION, ANSWER, {"role": "user", "content": "And 3 + 3?"}]})

    assert example == Example(messages=(QUESTION, ANSWER))  # type: ignore[arg-type]


def test_preference_pairs_are_refused_with_what_to_bring_instead() -> None:
    sentence = problem({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"})

    assert "preference pairs" in sentence
    assert "prompt and completion" in sentence


def test_unknown_columns_are_named() -> None:
    sentence = problem({"question": "2 + 2?", "reply": "4"})

    assert "question, reply" in sentence
    assert "instruction and output" in sentence


@pytest.mark.parametrize(
    ("row", "fragment"),
    [
        ({"messages": [QUESTION, {"role": "narrator", "content": "x"}]}, "the role 'narrator' is unknown"),
        ({"messages": [QUESTION, {"role": "assistant", "content": " \n"}]}, "the assistant's turn is empty"),
        ({"messages": [QUESTION, {"role": "assistant", "content": None}]}, "turn is NoneType, not text"),
        ({"messages": [QUESTION, {"role": "assistant", "content": 4}]}, "turn is int, not text"),
        ({"messages": [QUESTION]}, "no turn is an answer"),
        ({"messages": [ANSWER]}, "no turn is a question"),
        ({"messages": [{"role": "system", "content": "Be brief."}, ANSWER]}, "no turn is a question"),
        ({"prompt": "2 + 2?", "completion": ""}, "the completion is empty"),
        ({"prompt": "2 + 2?", "completion": 4}, "the completion is int, not text"),
        ({"instruction": "2 + 2?", "output": None}, "output is NoneType, not text"),
        ({"instruction": " ", "output": "4"}, "instruction is empty"),
        ({"text": "  "}, "text is empty"),
    ],
)
def test_a_bad_row_is_named_by_its_number(row: dict[str, Any], fragment: str) -> None:
    sentence = problem(row, number=37)

    assert sentence.startswith("Row 37 cannot be read as ")
    assert fragment in sentence


def test_a_later_row_without_the_first_rows_columns_is_named() -> None:
    form = recognise({"messages": [QUESTION, ANSWER]})

    with pytest.raises(InvalidInput, match=r"Row 2 cannot be read as messages: the column messages is missing\."):
        read_row({"text": "stray"}, form, 2)


@pytest.mark.parametrize("turns", [None, [], "2 + 2? 4", [["user", "2 + 2?"]], 4])
def test_a_later_row_without_turns_is_named(turns: object) -> None:
    form = recognise({"messages": [QUESTION, ANSWER]})

    with pytest.raises(InvalidInput, match=r"Row 5 .* it has no list of turns"):
        read_row({"messages": turns}, form, 5)


@pytest.mark.parametrize("turn", ["a bare text", {"role": "assistant"}, None])
def test_one_broken_turn_among_good_ones_is_named(turn: object) -> None:
    form = recognise({"messages": [QUESTION, ANSWER]})

    with pytest.raises(InvalidInput, match=r"Row 9 .* turn 2 has no role and content"):
        read_row({"messages": [QUESTION, turn]}, form, 9)
