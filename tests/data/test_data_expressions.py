"""keep_if: it compares and counts, says in words what is wrong with it, and can do nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from studio.data.expressions import Expression
from studio.errors import InvalidInput

ROW: dict[str, Any] = {
    "answer": "Héllo",
    "lang": "en",
    "score": 3,
    "stars": "4",
    "nothing": None,
    "my column": "x",
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
}
COLUMNS = tuple(ROW)


def refused(text: str, row: dict[str, Any] = ROW, columns: tuple[str, ...] | None = COLUMNS) -> str:
    """The sentence with which `text` is refused for `row` 12."""
    with pytest.raises(InvalidInput) as caught:
        Expression(text, columns).holds(row, 12)
    assert caught.value.field == "cleaning.keep_if"
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('size(answer) > 4 && lang == "en"', True),
        ("score >= 2.5", True),
        ("int(stars) < 4", False),
        ('lang in ["de", "en"]', True),
        ('!answer.startsWith("H")', False),
        ('answer.matches("^H.*o$")', True),
        ('messages.exists(m, m.role == "system")', True),
        ("messages.filter(m, size(m.content) > 2).size() == 1", True),
        ('row["my column"] == "x"', True),
        ("has(row.wrong)", False),
        ("nothing == null || size(nothing) > 3", True),
    ],
)
def test_columns_are_compared_and_counted(text: str, expected: bool) -> None:
    assert Expression(text, COLUMNS).holds(ROW, 1) is expected


def test_size_counts_letters_not_bytes() -> None:
    assert Expression("size(answer) == 5").holds(ROW, 1)
    assert Expression("answer.size() == 5 // size(x) in a comment").holds(ROW, 1)
    assert Expression('answer != "size(" && size("日本") == 2').holds(ROW, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size(answer) > ", "character 16: it ends too early"),
        ("size(answer > 3", "character 16: a ) is missing"),
        ('answer = "x"', "equal is =="),
        ("answer == “x”", "straight quotes"),
        ("answer ==\n  )", "line 2, character 3: ) is not expected here"),
        ("  ", "empty"),
    ],
)
def test_a_mistake_in_writing_is_shown_with_its_place(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_wrong_column_is_named_with_those_there_are() -> None:
    sentence = refused('langg == "en"')

    assert "There is no column langg." in sentence
    assert "answer, lang, score" in sentence
    assert "no columns a, b" in refused("a == b")
    assert "There is no column langg" in refused("langg == 1", columns=None), "without columns the row says them"


def test_names_of_list_items_are_no_columns() -> None:
    assert not Expression("messages.all(m, m.role == lang)", COLUMNS).holds(ROW, 1)


def test_a_column_that_a_row_lacks_is_null() -> None:
    assert Expression("lang == null && row.lang == null", COLUMNS).holds({"answer": "x"}, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size(nothing) > 3", "row 12 (nothing is empty (null)). Say what should happen to empty values"),
        ("stars > 3", "row 12 (stars is text). To compare a text as a number"),
        ("int(lang) > 3", "A text there is no number"),
        ("score", "gives a number for row 12, not true or false"),
        ('row["wrong"] == 1', "Row 12 has no 'wrong'"),
        ('messages[7].role == "user"', "Row 12 has a list that is shorter"),
        ("score / 0 > 1", "divides by zero in row 12"),
        ('answer.matches("(")', "matches(…) is not valid: error: unclosed group"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named_and_never_dropped(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os')", "__import__(…) is not something the expression can do"),
        ("messages.map(m, m + m) == []", "map(…) is not something"),
        ('"a"*10**9', "* is not expected here"),
        ('"a" * 1000000000 == ""', "cannot be worked out"),
        ("(" * 500 + "true" + ")" * 500, "brackets in brackets"),
        ("[" * 500 + "]" * 500 + " == []", "brackets in brackets"),
        ("!" * 1996 + "true", "1996 operators"),
        ("1" + "+1" * 990 + " > 0", "operators"),
        ("row" + ".b" * 990 + " == 1", "operators"),
        ("messages.all(a, messages.all(b, messages.all(c, true)))", "lists in lists in lists"),
        ("messages.all(a, messages.all(b, messages.all // c\n (c, true)))", "lists in lists in lists"),
        ("'\\'' == r'\\' || row.all(a, row.all(b, row.all(c, '' == '')))", "lists in lists in lists"),
        ("""'''a\\'''' == '' || row.all(a, row.all(b, row.all(c, "'" == '')))""", "lists in lists in lists"),
        ("row.`'` == 1 || row.all(a, row.all(b, row.all(c, row.`'` == 1)))", "lists in lists in lists"),
        ('answer.matches("(a{1000}){1000}")', "size limit"),
    ],
)
def test_what_could_run_long_or_reach_out_is_refused_at_once(text: str, said: str) -> None:
    started = time.perf_counter()

    assert said in refused(text)
    assert time.perf_counter() - started < 2


def test_patterns_take_time_linear_in_the_text() -> None:
    started = time.perf_counter()

    assert not Expression('answer.matches("^(a+)+$")').holds({"answer": "a" * 50_000 + "b"}, 1)
    assert time.perf_counter() - started < 2
