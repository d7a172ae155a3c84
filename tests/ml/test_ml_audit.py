"""What only the tokens tell about a dataset: each kind of trouble is made, found, and mended by its own button."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.ml.looking.scan import scan
from studio.recipe import Recipe
from studio.settings import Settings

Scan = Callable[..., dict[str, Any]]


@pytest.fixture
def look(toy_model: Path, settings: Settings, tmp_path: Path) -> Scan:
    """Scan rows with the toy model (one token a letter): `look(rows, **fields)`."""

    def scan_rows(rows: list[dict[str, Any]] | str, **fields: Any) -> dict[str, Any]:
        file = tmp_path / "rows.jsonl"
        file.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
        return scan(recipe(toy_model, file, fields), settings)

    return scan_rows


def recipe(model: Path, file: Path, fields: dict[str, Any]) -> Recipe:
    return Recipe().changed(
        **{"model.base_model": str(model), "data.dataset": str(file), "data.held_out_rows": 0, **fields}
    )


def turns(*spoken: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in spoken]}


def asked(question: str, answer: str) -> dict[str, Any]:
    return turns(("user", question), ("assistant", answer))


def found(answer: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((finding for finding in answer["findings"] if finding["kind"] == kind), None)


PLAIN = [asked(f"What is {number} and one?", f"It is {number + 1}.") for number in range(30)]


def test_nothing_is_found_where_nothing_is_wrong(look: Scan) -> None:
    assert [f for f in look(PLAIN)["findings"] if f["severity"] != "note"] == []


def test_a_cut_answer_is_found_and_a_longer_limit_or_leaving_it_out_mends_it(look: Scan) -> None:
    rows = [*PLAIN, asked("Tell me all.", "word " * 100)]
    cut = found(look(rows, **{"training.max_length": 256}), "answers_cut")
    assert cut is not None
    assert (cut["count"], cut["rows"]) == (1, [31])
    longer, drop = (fix["changes"] for fix in cut["fixes"])
    again = look(rows, **{"training.max_length": 256, **longer})
    assert found(again, "answers_cut") is None
    assert again["lengths"]["rows_cut"] == 0
    without = look(rows, **{"training.max_length": 256, **drop})
    assert found(without, "answers_cut") is None
    assert without["lengths"]["rows_trained"] == 30


def test_a_question_that_fills_the_whole_row_leaves_nothing_to_train(look: Scan) -> None:
    untrained = found(look([*PLAIN, asked("word " * 100, "Yes.")], **{"training.max_length": 256}), "untrained")
    assert untrained is not None
    assert (untrained["rows"], untrained["severity"]) == ([31], "warn")


def test_a_text_that_is_cut_is_a_note_as_no_answer_is_harmed(look: Scan) -> None:
    cut = found(look([{"text": "word " * 100}] * 2, **{"training.max_length": 256}), "rows_cut")
    assert cut is not None
    assert cut["severity"] == "note"


def test_a_row_that_cannot_be_written_stops_until_it_is_skipped(look: Scan) -> None:
    rows = [*PLAIN, turns(("user", "a"), ("narrator", "b"), ("assistant", "c"))]
    unreadable = found(look(rows), "unreadable")
    assert unreadable is not None
    assert unreadable["severity"] == "bad"
    assert "narrator" in unreadable["sentence"]
    skipped = found(look(rows, **unreadable["fixes"][0]["changes"]), "unreadable")
    assert skipped is not None
    assert skipped["severity"] == "note"


def test_a_broken_line_is_named(look: Scan) -> None:
    bad = found(look("".join(json.dumps(row) + "\n" for row in PLAIN) + '{"messages": [\n'), "bad_rows")
    assert bad is not None
    assert "line 31" in bad["sentence"]


GEMMA = {"model.chat_template": "gemma"}


def test_a_system_prompt_that_the_template_does_not_know_is_folded_into_the_question(look: Scan) -> None:
    rows = [*PLAIN, turns(("system", "Be brief."), ("user", "Why?"), ("assistant", "So."))]
    unknown = found(look(rows, **GEMMA), "system_unsupported")
    assert unknown is not None
    assert unknown["rows"] == [31]
    mended = look(rows, **GEMMA, **unknown["fixes"][0]["changes"])
    assert found(mended, "system_unsupported") is None
    assert mended["lengths"]["rows_trained"] == 31


def test_turns_that_do_not_alternate_are_joined(look: Scan) -> None:
    rows = [*PLAIN, turns(("user", "a"), ("user", "b"), ("assistant", "c"))]
    refused = found(look(rows, **GEMMA), "not_rendered")
    assert refused is not None
    assert refused["fixes"][0]["changes"] == {"cleaning.merge_turns": True}
    assert found(look(rows, **GEMMA, **{"cleaning.merge_turns": True}), "not_rendered") is None


NO_END = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def test_an_answer_in_the_middle_without_an_end_token_is_found(look: Scan) -> None:
    rows = [turns(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))] * 3
    custom = {"model.chat_template": "custom", "model.chat_template_jinja": NO_END}
    endless = found(look(rows, **custom), "end_untrained")
    assert endless is not None
    assert endless["count"] == 3
    assert found(look(rows, **endless["fixes"][0]["changes"]), "end_untrained") is None


def test_a_begin_token_in_the_text_and_in_the_template_is_found(look: Scan) -> None:
    begun = "{{ bos_token }}" + NO_END
    custom = {"model.chat_template": "custom", "model.chat_template_jinja": begun}
    rows = [turns(("user", "a"), ("assistant", "b"))] * 2
    assert found(look(rows, **custom), "begins_twice") is None
