"""Templates: columns, nested values, braces, empty paragraphs, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from studio.data.formats.mapping import UnreadableRow, check, columns_of, fill, structured, take
from studio.errors import InvalidInput

ROW: dict[str, Any] = {
    "question": "2 + 2?",
    "context": "Sums",
    "empty": "",
    "null": None,
    "count": 4,
    "right": True,
    "share": 0.5,
    "answers": {"text": ["4", "four"], "none": None},
    "cell": '{"text": ["4"]}',
    "a.b": "dotted",
    "with blank": "blank",
    "turns": [{"role": "user"}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("question", "2 + 2?"),
        ("{question}", "2 + 2?"),
        ("with blank", "blank"),
        ("{with blank}", "blank"),
        ("{ question }", "2 + 2?"),
        ("{context}\n\n{question}", "Sums\n\n2 + 2?"),
        ("About {context}: {question}", "About Sums: 2 + 2?"),
        ("{answers.text.0}", "4"),
        ("answers.text.1", "four"),
        ("{cell.text.0}", "4"),
        ("{a.b}", "dotted"),
        ("a.b", "dotted"),
        ("{{{question}}}", "{2 + 2?}"),
        ("{count}, {right}, {share}", "4, true, 0.5"),
        ("{null}", ""),
        ("{answers.text.7}", ""),
        ("{answers.none.deeper}", ""),
    ],
)
def test_a_template_is_filled(template: str, text: str) -> None:
    assert fill(template, ROW) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{question}\n\n{empty}", "2 + 2?"),
        ("{question}\n\nContext: {null}", "2 + 2?"),
        ("Answer this.\n\nContext: {empty}\n\n{question}", "Answer this.\n\n2 + 2?"),
        ("Context: {empty} {context}\n\n{question}", "Context:  Sums\n\n2 + 2?"),
        ("{question}\n{empty}", "2 + 2?\n"),
        ("{empty}\n\n{null}", ""),
    ],
)
def test_a_paragraph_with_nothing_in_it_is_left_out(template: str, text: str) -> None:
    assert fill(template, ROW) == text


def test_blank_lines_in_a_value_are_the_values_own() -> None:
    assert fill("{a}\n\n{b}", {"a": "x\n\n\n\ny\n\n", "b": "z"}) == "x\n\n\n\ny\n\n\n\nz"


def test_a_single_column_is_taken_as_it_is() -> None:
    assert take("{turns}", ROW) == [{"role": "user"}]
    assert take("{count}", ROW) == 4


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{nope}", "the column nope is missing"),
        ("{nope.text}", "the column nope is missing"),
        ("{nope} and {neither}", "the column nope is missing"),
        ("{answers.start}", r"the column answers has no start \(answers.start\)"),
        ("{question.text}", r"the column question holds nothing called text \(question.text\)"),
        ("{answers.text.first}", "the column answers holds nothing called first"),
        ("{turns}", "turns holds a list, not text"),
        ("{answers}", "answers holds named values, not text"),
        ("{question} {answers}", "answers holds named values, not text"),
    ],
)
def test_what_a_row_lacks_is_named(template: str, reason: str) -> None:
    with pytest.raises(UnreadableRow, match=reason):
        fill(template, ROW)


def test_a_row_may_lack_one_of_several_columns() -> None:
    assert fill("{question}\n\n{input}", ROW) == "2 + 2?"


@pytest.mark.parametrize("template", ["{question", "question}", "{}", "{ }", "{a{b}}", "a } b"])
def test_a_brace_without_its_column_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput, match="has a brace without its column") as caught:
        fill(template, ROW)
    assert caught.value.field == "data.mapping"


def test_the_columns_of_a_template_are_named_once_each() -> None:
    assert columns_of("{b} {a.text.0} {b} {{c}}") == ("b", "a")
    assert columns_of("question") == ("question",)


def test_a_mapping_is_checked_against_the_columns() -> None:
    assert check({"prompt": "{a.b} {answers.text.0}", "completion": "question"}, tuple(ROW)) == (
        "a.b",
        "answers",
        "question",
    )
    with pytest.raises(InvalidInput, match="names the column c, which is not there"):
        check({"prompt": "{c}"}, ("a",))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('[{"role": "user"}]', [{"role": "user"}]),
        (" {'from': 'human', 'value': None}", {"from": "human", "value": None}),
        ("[INST] hello [/INST]", "[INST] hello [/INST]"),
        ("{not json", "{not json"),
        ("['unclosed", "['unclosed"),
        ("4", "4"),
        ("", ""),
        (4, 4),
    ],
)
def test_json_and_printed_lists_in_a_cell_are_read(cell: Any, value: Any) -> None:
    assert structured(cell) == value


def test_a_cell_that_nests_without_end_stays_text() -> None:
    for deep in ("[" * 200_000, "['" + "[" * 200_000):
        assert structured(deep) is deep
