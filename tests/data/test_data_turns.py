"""Turns and tools in every notation become messages, and what is wrong with one is named."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.formats.conversations import UnreadableRow, read_row
from studio.data.formats.formats import Format, recognise
from studio.messages import Example
from studio.recipe_data_fields import DataSource

QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
MESSAGES = Format("messages", "certain", "", ("messages",), {"messages": "{messages}", "tools": "{tools}"})


def read(row: dict[str, Any]) -> Example:
    """`row` as an example."""
    return read_row(row, recognise([row], DataSource())[0])


def read_turns(*turns: Any) -> Example:
    """A conversation of these turns."""
    return read_row({"messages": list(turns)}, MESSAGES)


def problem(turns: Any) -> str:
    """Why these turns cannot be read."""
    with pytest.raises(UnreadableRow) as caught:
        read_row({"messages": turns}, MESSAGES)
    return str(caught.value)


def spoken(example: Example) -> list[tuple[str, str]]:
    """Who says what."""
    return [(turn["role"], turn["content"]) for turn in example.messages]


# Turns


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("system", "system"), ("developer", "system"), ("human", "user"), ("User", "user"), ("prompter", "user")),
        *(("gpt", "assistant"), ("chatgpt", "assistant"), ("bot", "assistant"), ("MODEL", "assistant")),
        *(("tool", "tool"), ("function", "tool"), ("observation", "tool"), ("ipython", "tool")),
        ("function-response", "tool"),
    ],
)
def test_speakers_go_by_many_names(name: str, role: str) -> None:
    example = read_turns(QUESTION, {"role": name, "content": "x"}, ANSWER)

    assert spoken(example)[1] == (role, "x")


def test_every_turn_of_a_conversation_is_kept() -> None:
    turns = [("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "So long")]
    example = read({"conversations": [{"from": who, "value": what} for who, what in turns]})

    assert [turn["role"] for turn in example.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert example.answer == "So long"


def test_an_unanswered_question_at_the_end_is_left_out() -> None:
    assert read_turns(QUESTION, ANSWER, {"role": "user", "content": "And 3 + 3?"}) == read_turns(QUESTION, ANSWER)


def test_null_and_empty_texts_are_kept_as_empty() -> None:
    assert spoken(read_turns({"role": "user", "content": None}, {"role": "assistant", "content": " "})) == [
        ("user", ""),
        ("assistant", " "),
    ]


def test_a_list_for_each_key_is_a_list_of_turns() -> None:
    columns = {"role": ["user", "assistant"], "content": ["2 + 2?", "4"]}

    assert read({"messages": columns}) == read_turns(QUESTION, ANSWER)


def test_turns_printed_by_python_in_a_csv_cell_are_read() -> None:
    cell = str([{"from": "human", "value": "It's 2 + 2?"}, {"from": "gpt", "value": "4"}])

    assert spoken(read({"conversations": cell})) == [("user", "It's 2 + 2?"), ("assistant", "4")]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([QUESTION, {"role": "narrator", "content": "x"}], "the role 'narrator' is unknown"),
        ([QUESTION, {"role": 7, "content": "x"}], "the role 7 is unknown"),
        ([QUESTION, {"role": None, "content": "x"}], "turn 2 does not say who speaks: its role is null"),
        ([QUESTION, {"role": "assistant", "content": 4}], "turn 2 holds 4, not text"),
        ([QUESTION, {"role": "assistant"}], "turn 2 has no role and content"),
        ([QUESTION, "a bare text"], "turn 2 has no role and content"),
        ([QUESTION, None], "turn 2 has no role and content"),
        ([QUESTION], "no turn is an answer"),
        ([ANSWER], "no turn is a question"),
        ([{"role": "system", "content": "Be brief."}, ANSWER], "no turn is a question"),
        ([], "it has no list of turns"),
        (None, "it has no list of turns"),
        (4, "it has no list of turns"),
        ("2 + 2? 4", "it has no list of turns"),
        ([["user", "2 + 2?"]], "it has no list of turns"),
        ({"a": 1}, "it has no list of turns"),
        ({"role": ["user"], "content": ["2 + 2?", "4"]}, "it has no list of turns"),
        ({"role": [], "content": []}, "it has no list of turns"),
    ],
)
def test_what_is_wrong_with_turns_is_named(turns: Any, reason: str) -> None:
    assert problem(turns) == reason


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "an image"),
        ({"type": "image"}, "an image"),
        ({"type": "input_audio"}, "an audio"),
        ({"type": "video"}, "a video"),
        (7, "something other than text"),
        ({"image": "x.png"}, "something other than text"),
    ],
)
def test_parts_that_are_no_text_are_named(part: Any, what: str) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "Look:"}, part]}

    assert problem([turn, ANSWER]) == f"turn 1 holds {what}, which a text model cannot learn from"


# Tools


@pytest.mark.parametrize(
    "asking",
    [
        {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        {"tool_calls": [{"name": "f", "arguments": {"x": 1, "filled_in_by_a_table": None}}]},
        {"tool_calls": '[{"name": "f", "parameters": {"x": 1}}]'},
        {"function_call": {"name": "f", "arguments": '{"x": 1}'}},
    ],
)
def test_calls_end_in_one_form(asking: dict[str, Any]) -> None:
    example = read_turns(QUESTION, {"role": "assistant", "content": None, **asking})

    assert example.messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
    }


def test_an_answer_may_be_a_call_alone() -> None:
    call = {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}]}

    assert "tool_calls" in read({"prompt": [QUESTION], "completion": [call]}).messages[-1]


def test_a_call_keeps_its_id_and_its_result_keeps_it_too() -> None:
    example = read_turns(
        QUESTION,
        {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "content": "4", "tool_call_id": "c1", "name": None},
        ANSWER,
    )

    assert example.messages[1]["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": {}}, "id": "c1"}
    ]
    assert example.messages[2] == {"role": "tool", "content": "4", "tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "a call in turn 2 has no name"),
        ({"role": "assistant", "tool_calls": ["f"]}, "a call in turn 2 has no name"),
        ({"role": "assistant", "tool_calls": "f()"}, "the calls in turn 2 are no list"),
        (
            {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{broken"}]},
            "the arguments of f in turn 2 are no JSON with named values",
        ),
        ({"role": "function_call", "content": "f()"}, "turn 2 is a call, but no JSON with name and arguments"),
    ],
)
def test_what_is_wrong_with_a_call_is_named(turn: dict[str, Any], reason: str) -> None:
    assert problem([QUESTION, turn]) == reason


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": None}}}],
        [{"name": "f", "parameters": {"type": "object"}}],
        '[{"name": "f", "parameters": {"type": "object"}}]',
        ['{"name": "f", "parameters": {"type": "object"}}'],
    ],
)
def test_tools_end_in_one_form(tools: Any) -> None:
    example = read_row({"messages": [QUESTION, ANSWER], "tools": tools}, MESSAGES)

    assert example.tools == ({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},)


@pytest.mark.parametrize("tools", [None, "", [], "[]"])
def test_a_row_may_have_no_tools(tools: Any) -> None:
    assert read_row({"messages": [QUESTION, ANSWER], "tools": tools}, MESSAGES).tools == ()
    assert read_row({"messages": [QUESTION, ANSWER]}, MESSAGES).tools == ()


def test_tools_that_are_no_schemas_are_named() -> None:
    with pytest.raises(UnreadableRow, match="the tools are no list of JSON schemas"):
        read_row({"messages": [QUESTION, ANSWER], "tools": ["get_weather"]}, MESSAGES)
