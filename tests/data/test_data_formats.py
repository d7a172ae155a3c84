"""Formats are recognised from columns and values, with how surely and why; the recipe can say otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from format_examples import FORMAT_EXAMPLES, FormatExample

from studio.data.formats.conversations import read_row
from studio.data.formats.formats import Format, recognise
from studio.errors import InvalidInput
from studio.recipe_data_fields import DataSource

QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}


def best(*rows: dict[str, Any], **fields: Any) -> Format:
    """What `rows` are taken for."""
    return recognise(rows, DataSource(**fields))[0]


def problem(*rows: dict[str, Any], field: str, **fields: Any) -> str:
    """The sentence that `rows` are refused with."""
    with pytest.raises(InvalidInput) as caught:
        recognise(rows, DataSource(**fields))
    assert caught.value.field == field
    return str(caught.value)


@pytest.mark.parametrize("shown", FORMAT_EXAMPLES, ids=lambda shown: shown.slug)
def test_every_example_of_the_guide_is_recognised_and_read(shown: FormatExample) -> None:
    form = best(*shown.rows)

    assert (form.name, form.sureness, form.template) == (shown.format, shown.sureness, shown.template)
    assert read_row(shown.rows[0], form) == shown.example
    assert set(form.columns) <= set(shown.rows[0])
    for row in shown.rows:
        read_row(row, form)


@pytest.mark.parametrize("shown", FORMAT_EXAMPLES, ids=lambda shown: shown.slug)
def test_the_mapping_that_a_format_shows_reads_the_same_when_it_is_chosen(shown: FormatExample) -> None:
    form = best(*shown.rows)
    chosen = best(*shown.rows, format=form.name, mapping=form.mapping)

    assert chosen.name == form.name
    assert chosen.template == form.template
    assert [read_row(row, chosen) for row in shown.rows] == [read_row(row, form) for row in shown.rows]


def test_the_guides_examples_have_different_names_and_cover_every_format() -> None:
    assert len({shown.slug for shown in FORMAT_EXAMPLES}) == len(FORMAT_EXAMPLES)
    assert {shown.format for shown in FORMAT_EXAMPLES} == {
        *("messages", "sharegpt", "alpaca", "prompt/completion", "question/answer"),
        *("text", "classification", "preference", "kto"),
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [QUESTION, ANSWER]}, "the column messages holds turns with role and content"),
        ({"instruction": "Add", "output": "4", "source": "web"}, "there are columns instruction and output"),
        ({"context": "c", "question": "q", "answer": "a"}, "there are columns context, question and answer"),
        (
            {"prompt": "q", "completion": "a", "label": "true"},
            "there are columns prompt and completion, and label holds true or false",
        ),
    ],
)
def test_a_format_says_why_it_was_taken(row: dict[str, Any], reason: str) -> None:
    assert best(row).reason == reason


def test_the_columns_are_those_that_are_read() -> None:
    form = best({"source": "web", "instruction": "Add", "output": "4", "system": "Be brief."})

    assert form.columns == ("system", "instruction", "output")


def test_what_else_fits_comes_after_the_best() -> None:
    rows = [{"text": "Lovely film.", "label": "good"}]

    assert [form.name for form in recognise(rows, DataSource())] == ["classification", "text"]


def test_a_broken_first_row_does_not_hide_the_format_of_the_others() -> None:
    rows = [{"messages": None}, {"other": 1}, *[{"messages": [QUESTION, ANSWER]}] * 3]

    assert best(*rows).name == "messages"


def test_a_column_that_few_rows_have_decides_nothing() -> None:
    usual = {"prompt": "q", "completion": "a"}

    assert best({**usual, "rejected": "b", "chosen": "c"}, usual, usual).name == "prompt/completion"


def test_tools_that_few_rows_have_are_read_all_the_same() -> None:
    schema = {"type": "function", "function": {"name": "f"}}
    rows = [{"messages": [QUESTION, ANSWER]}] * 3 + [{"messages": [QUESTION, ANSWER], "tools": [schema]}]
    form = best(*rows)

    assert read_row(rows[0], form).tools == ()
    assert read_row(rows[3], form).tools == (schema,)


def test_turns_in_a_column_of_any_name_are_found() -> None:
    form = best({"gespraech": [QUESTION, ANSWER]})

    assert (form.name, form.sureness, form.mapping) == ("messages", "likely", {"messages": "{gespraech}"})


def test_text_beside_addresses_and_dates_is_still_the_text() -> None:
    form = best({"text": "Once upon a time.", "url": "http://example.org", "timestamp": "2020-01-01"})

    assert (form.name, form.sureness) == ("text", "certain")


def test_ratings_as_numbers_are_likely_to_be_votes_but_the_pair_goes_first() -> None:
    forms = recognise([{"prompt": "q", "completion": "a", "label": 1}], DataSource())

    assert [(form.name, form.sureness) for form in forms[:2]] == [("prompt/completion", "certain"), ("kto", "likely")]


# Labels


def test_integer_labels_take_the_names_that_the_file_stores() -> None:
    rows = [{"text": "Lovely.", "label": 1}]
    form = recognise(rows, DataSource(), {"label": ("negative", "positive")})[0]

    assert (form.name, form.sureness, form.label_names) == ("classification", "certain", ("negative", "positive"))
    assert read_row(rows[0], form).answer == "positive"


def test_integer_labels_take_the_recipes_names_before_the_files() -> None:
    rows = [{"text": "Lovely.", "label": 1}]
    form = recognise(rows, DataSource(label_names=("bad", "good")), {"label": ("negative", "positive")})[0]

    assert (form.sureness, read_row(rows[0], form).answer) == ("certain", "good")
    assert "no names" not in form.reason


def test_integer_labels_without_names_say_so() -> None:
    form = best({"text": "Lovely.", "label": 1})

    assert form.sureness == "likely"
    assert "the number itself is the answer" in form.reason


def test_a_long_text_is_no_label() -> None:
    assert best({"text": "q", "label": "a " * 60}).name != "classification"


def test_topics_that_all_differ_are_no_labels() -> None:
    rows = [{"text": f"Text {number}", "topic": f"Topic {number}"} for number in range(20)]

    assert best(*rows).name == "text"


def test_a_lone_text_of_any_name_is_likely_and_one_beside_numbers_is_a_guess() -> None:
    assert best({"id": 1, "quote": "To be."}).sureness == "likely"
    assert best({"comment_text": "To be.", "toxic": 0}).sureness == "guess"


def test_choices_that_are_not_read_make_it_a_guess() -> None:
    form = best({"question": "Which?", "choices": ["a", "b"], "answer": 1})

    assert (form.name, form.sureness) == ("question/answer", "guess")
    assert "choices is not read" in form.reason


def test_a_prompt_column_goes_before_a_whole_conversation_beside_a_pair() -> None:
    row = {"prompt": "2 + 2?", "messages": [QUESTION, ANSWER], "chosen": "4", "rejected": "5"}

    assert read_row(row, best(row)).messages == (QUESTION, ANSWER)


def test_few_words_in_a_second_column_are_guessed_to_be_labels() -> None:
    rows = [{"ticket": f"Text {number}", "team": "billing" if number % 2 else "support"} for number in range(20)]
    form = best(*rows)

    assert (form.name, form.sureness) == ("classification", "guess")
    assert form.mapping == {"text": "{ticket}", "label": "{team}"}


# What the recipe says


def test_a_mapping_makes_the_format() -> None:
    row = {"frage": "2 + 2?", "hinweis": "Rechne.", "antwort": "4"}
    form = best(row, mapping={"prompt": "{hinweis}\n\n{frage}", "completion": "antwort"})

    assert (form.name, form.sureness) == ("prompt/completion", "certain")
    assert form.columns == ("hinweis", "frage", "antwort")
    assert read_row(row, form).messages[0]["content"] == "Rechne.\n\n2 + 2?"


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ({"text": "a"}, "text"),
        ({"text": "a", "label": "b"}, "classification"),
        ({"prompt": "a", "label": "b"}, "classification"),
        ({"prompt": "a", "completion": "b", "label": "c"}, "kto"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"messages": "m"}, "messages"),
        ({"messages": "s"}, "sharegpt"),
    ],
)
def test_the_roles_of_a_mapping_say_which_format_it_is(mapping: dict[str, str], name: str) -> None:
    row = {"a": "q", "b": "x", "c": "true", "m": [QUESTION, ANSWER], "s": [{"from": "human", "value": "q"}]}

    assert best(row, mapping=mapping).name == name


def test_one_role_alone_is_laid_over_what_is_recognised() -> None:
    row = {"prompt": "2 + 2?", "completion": "4", "persona": "Be brief."}
    form = best(row, mapping={"system": "{persona}"})

    assert form.name == "prompt/completion"
    assert [turn["role"] for turn in read_row(row, form).messages] == ["system", "user", "assistant"]


def test_blank_roles_of_a_form_are_no_mapping() -> None:
    assert best({"prompt": "q", "completion": "a"}, mapping={"system": " "}).mapping.keys() == {"prompt", "completion"}


def test_a_mapped_text_still_shows_its_chat_template() -> None:
    row = {"a": "<|im_start|>user\nq<|im_end|>", "b": "x"}

    assert best(row, mapping={"text": "{a}"}).template == "chatml"


def test_an_unknown_column_in_a_mapping_is_named_with_those_there_are() -> None:
    sentence = problem({"question": "q", "reply": "a"}, field="data.mapping", mapping={"prompt": "{qestion}"})

    assert "names the column qestion" in sentence
    assert "Did you mean question?" in sentence
    assert "question, reply" in sentence


def test_half_a_mapping_asks_for_the_other_half() -> None:
    sentence = problem({"a": "q", "b": 1, "c": "x", "d": "y"}, field="data.mapping", mapping={"prompt": "{a}"})

    assert sentence == "The mapping names only prompt. Say also which column is the answer (completion)."


def test_half_a_mapping_for_a_chosen_format_says_what_it_needs() -> None:
    sentence = problem({"a": "q"}, field="data.mapping", mapping={"chosen": "a"}, format="preference")

    assert "preference needs the columns chosen and rejected" in sentence


def test_a_chosen_format_goes_before_the_recognised_one() -> None:
    rows = {"text": "Lovely.", "label": "good"}

    assert best(rows, format="text").name == "text"


def test_a_chosen_format_that_does_not_fit_says_what_it_needs() -> None:
    sentence = problem({"prompt": "q", "completion": "a"}, field="data.format", format="sharegpt")

    assert "prompt, completion do not fit sharegpt" in sentence
    assert "a column of turns with from and value" in sentence


def test_unknown_columns_are_named() -> None:
    sentence = problem({"a": "x", "b": "y", "c": "z"}, field="data.mapping")

    assert sentence == (
        "No known format in the columns a, b, c. Say below which column is the question and which the answer."
    )


def test_rows_without_columns_are_refused() -> None:
    assert "no rows with columns" in problem({}, field="data.dataset")


@pytest.mark.parametrize("name", ["a.b", " a ", "0", "a\n\nb"])
def test_columns_with_odd_names_are_read(name: str) -> None:
    rows = [{name: "Once upon a time.", "n": 1}] * 3

    assert read_row(rows[0], best(*rows)).text == "Once upon a time."


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_column_of_row_numbers_without_a_name_is_passed_over(name: str) -> None:
    form = best({name: "0", "customer": "2 + 2?", "reply": "4"})

    assert form.mapping == {"prompt": "{customer}", "completion": "{reply}"}


@pytest.mark.parametrize("name", ["{", "}", "{x}", "{{x}}"])
def test_columns_with_braces_can_only_be_named_alone(name: str) -> None:
    row = {name: "Once upon a time."}

    assert "No known format in the columns" in problem(row, field="data.mapping")
    assert read_row(row, best(row, mapping={"text": name})).text == "Once upon a time."
