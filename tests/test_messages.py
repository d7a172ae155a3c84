"""The normal form: a conversation has a prompt and an answer, plain text has neither."""

from __future__ import annotations

from studio.messages import Example, Message

QUESTION: Message = {"role": "user", "content": "2 + 2?"}
ANSWER: Message = {"role": "assistant", "content": "4"}


def test_the_prompt_is_everything_before_the_last_answer() -> None:
    example = Example(messages=(QUESTION, ANSWER, QUESTION, {"role": "assistant", "content": "still 4"}))

    assert example.prompt == (QUESTION, ANSWER, QUESTION)
    assert example.answer == "still 4"


def test_text_has_no_prompt_and_no_answer() -> None:
    example = Example(text="Once upon a time.")

    assert example.prompt == ()
    assert example.answer == ""
