"""Rows as HTML: every text escaped, every size bounded, and what becomes of a row said beside it."""

from __future__ import annotations

from typing import Any

import pytest
from data_answers import row

from studio.ui.data import view as data_view

HOSTILE = "<img src=x onerror=alert(1)>${alert(1)}{{7*7}}"


def test_a_conversation_is_bubbles_with_everything_that_was_said() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "weather", "content": "21"},
        {"role": "assistant", "content": "21 degrees."},
    ]
    html = data_view.rows_html([row(messages=messages, tools=["weather", "search"])])
    for said in (
        "System prompt",
        "Be brief.",
        "It may call",
        "weather(",
        "&quot;Paris&quot;",
        "Tool weather",
        "21 degrees.",
    ):
        assert said in html


def test_of_a_preference_pair_both_answers_are_named() -> None:
    html = data_view.rows_html([row(rejected=[{"role": "assistant", "content": "No idea"}])])
    assert html.index("Better answer") < html.index("positive") < html.index("Worse answer") < html.index("No idea")
    assert "Bad answer" in data_view.rows_html([row(desirable=False)])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"held_out": True}, "held out to measure"),
        ({"dropped_by": "dedupe"}, "an earlier row says the same"),
        ({"problem": "The column answer is missing."}, "The column answer is missing."),
    ],
)
def test_what_becomes_of_a_row_stands_beside_it(values: dict[str, Any], told: str) -> None:
    assert told in data_view.rows_html([row(7, **values)])


def test_a_row_can_be_left_out_and_taken_back() -> None:
    assert 'data-press="drop:7"' in data_view.rows_html([row(7)])
    assert 'data-press="keep:7"' in data_view.rows_html([row(7, dropped_by="drop_rows")])
    assert "data-press" not in data_view.rows_html([row(7, dropped_by="dedupe")])


def test_an_empty_answer_is_said() -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": ""}]
    assert '<i class="d-empty">empty</i>' in data_view.rows_html([row(messages=messages)])


def test_tokens_show_what_is_trained_what_is_cut_and_what_is_markup() -> None:
    tokens = [["<|im_start|>", "context"], [" a", "context"], ["yes", "trained"], ["</s>", "trained"], ["no", "cut"]]
    html = data_view.tokens_html([row(tokens=tokens, trained=2, total=5)])
    assert '<span class="c s">&lt;|im_start|&gt;</span>' in html
    assert '<u class="t">yes</u><u class="t s">&lt;/s&gt;</u>' in html
    assert '<span class="x">no</span>' in html
    assert "2 of 5 tokens trained, 40 %; 1 beyond max_length are cut" in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" word", " word"),
        ("  word ", "<i>··</i>word<i>·</i>"),
        ("   ", "<i>···</i>"),
        ("\n", "<i>↵</i>\n"),
        ("\t", "<i>→</i>\t"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_blanks_can_be_seen(text: str, shown: str) -> None:
    assert data_view.visible(text) == shown


def test_whatever_stands_in_a_dataset_is_text() -> None:
    hostile = row(
        raw={HOSTILE: [HOSTILE]},
        messages=[{"role": "user", "content": HOSTILE, "name": HOSTILE}, {"role": HOSTILE, "content": HOSTILE}],
        tools=[HOSTILE],
        tokens=[[HOSTILE, "trained"]],
        problem=HOSTILE,
    )
    for show in (data_view.rows_html, data_view.tokens_html, data_view.raw_html):
        assert "<img" not in show([hostile])


def test_a_cell_of_ten_megabytes_and_a_thousand_columns_make_a_page_like_any_other() -> None:
    huge = "x" * 10_000_000
    raw: dict[str, Any] = {f"column {number}": huge for number in range(1000)}
    raw["column 0"] = {"deep": [[[[[[[[huge]]]]]]]], "many": list(range(100_000))}
    messages = [{"role": "user", "content": huge}] * 500
    big = row(raw=raw, messages=messages, tokens=[["word", "context"]] * 100_000, total=100_000)
    assert "(10,000,000 characters)" in data_view.rows_html([big])
    assert "960 more columns" in data_view.raw_html([big])
    for show in (data_view.rows_html, data_view.tokens_html, data_view.raw_html):
        assert len(show([big])) < 250_000
