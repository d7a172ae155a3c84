"""The Read-as card: how sure, why, from what file; roles for a format; templates and label names as one line."""

from __future__ import annotations

from typing import get_args

import pytest
from data_answers import FORM, look

from studio.errors import InvalidInput
from studio.recipe_data_fields import FormatName
from studio.ui.data import mapping as data_mapping


def test_the_head_says_what_it_is_how_sure_and_why() -> None:
    html = data_mapping.said_html("/home/ada/reviews.csv", look())
    assert ">reviews.csv</h2>" in html
    assert "Read as <b>texts with a label</b> (likely), because “review” holds texts" in html
    assert "csv, 1.2 kB, cp1252, cells split by semicolons" in html
    assert "The model&#x27;s own template is used." in html


def test_what_is_not_recognised_is_said_and_a_missing_model_too() -> None:
    html = data_mapping.said_html("rows.csv", look(format=None, template=None, model_problem="No model <here>."))
    assert "Not recognised yet" in html
    assert "No model &lt;here&gt;." in html


def test_every_format_has_words_and_roles() -> None:
    names = set(get_args(FormatName)) - {"auto"}
    assert set(data_mapping.FORMAT_WORDS) == set(data_mapping.ROLES_OF) == names


def test_formats_that_also_fit_come_first() -> None:
    choices = data_mapping.format_choices(look()["candidates"], "classification")
    assert choices[0] == ("recognised: texts with a label", "auto")
    assert choices[1] == ("plain text, also fits", "text")
    assert sorted(value for _, value in choices) == sorted(get_args(FormatName))


def test_roles_are_those_of_the_format_and_those_already_mapped() -> None:
    assert data_mapping.roles_shown("auto", look(), FORM["mapping"]) == {"text", "label"}  # type: ignore[arg-type]
    unknown = look(format=None)
    assert data_mapping.roles_shown("auto", unknown, {}) == {"system", "prompt", "completion"}
    assert data_mapping.roles_shown("preference", unknown, {"tools": "t"}) >= {"chosen", "rejected", "tools"}


def test_a_template_of_several_lines_is_typed_in_one() -> None:
    template = "{question}\n\n{context}"
    assert data_mapping.to_line(template) == r"{question}\n\n{context}"
    assert data_mapping.from_line(data_mapping.to_line(template)) == template
    assert data_mapping.from_line(None) == ""


@pytest.mark.parametrize(
    ("line", "names"),
    [("", []), (None, []), ("0=no, 1=yes", ["no", "yes"]), ("1=yes,0=no", ["no", "yes"]), ("no, yes", ["no", "yes"])],
)
def test_label_names_are_a_line(line: str | None, names: list[str]) -> None:
    assert data_mapping.label_names_of(line) == names


def test_a_label_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="every number from 0 on") as caught:
        data_mapping.label_names_of("0=no, 2=maybe")
    assert caught.value.field == "data.label_names"


def test_a_thousand_columns_are_a_short_line() -> None:
    html = data_mapping.columns_html([f"<c{number}>" for number in range(1000)])
    assert "960 more" in html
    assert "<c0>" not in html


@pytest.mark.parametrize(
    ("name", "title"),
    [("starter:sentiment", "Sentiment"), ("/data/rows.jsonl", "rows.jsonl"), ("owner/name", "owner/name")],
)
def test_a_dataset_is_called_what_people_call_it(name: str, title: str) -> None:
    assert data_mapping.title_of(name) == title
