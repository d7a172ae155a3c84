"""The pages put together: built for a studio, served safely, handlers that refuse nonsense in a sentence."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from studio.errors import Refused
from studio.recipe import Recipe
from studio.services.studio import Studio
from studio.settings import Settings, read_settings
from studio.ui import app, forms, history_tab, model_tab, plan_view, tune_tab
from studio.ui.downloads import Downloads
from studio.ui.forms import FIELDS, Marks
from studio.ui.shared import START_DRAFT, Shared


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    import shutil

    made = read_settings(tmp_path_factory.mktemp("pages") / "home", open_browser=False)
    made.make_folders()
    shutil.copytree(toy_model, made.starter_model)
    return made


@pytest.fixture(scope="module")
def studio(home: Settings) -> Iterator[Studio]:
    opened = Studio.open(home)
    yield opened
    opened.close()


@pytest.fixture
def shared(studio: Studio) -> Shared:
    return Shared(studio=studio, draft=None, watched=None, tabs=None, preview=None, adopted=None)


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    demo, address = app.launch(studio)
    yield address.rstrip("/")
    demo.close(verbose=False)


def form_values(recipe: Recipe) -> list[Any]:
    return [forms.shown_value(recipe, name) for name in FIELDS]


def test_each_build_is_a_fresh_app_with_all_tabs(studio: Studio) -> None:
    first, second = app.build_app(studio, Downloads()), app.build_app(studio, Downloads())
    assert first is not second
    labels = [block.label for block in first.blocks.values() if isinstance(block, gr.Tab)]
    assert labels == ["1 Model", "2 Data", "3 Fine-tune", "4 Chat", "5 Export", "History"]


def test_every_page_has_exactly_one_primary_button(studio: Studio) -> None:
    demo = app.build_app(studio, Downloads())
    primary = [b.value for b in demo.blocks.values() if isinstance(b, gr.Button) and b.variant == "primary"]
    wanted = ["Use this model", "Use this dataset", "Start training", "Ask", "Export", "Clone into the form"]
    assert primary == wanted


def test_no_event_is_offered_as_an_api(studio: Studio) -> None:
    demo = app.build_app(studio, Downloads())
    assert {fn.api_visibility for fn in demo.fns.values()} == {"private"}


def test_the_page_answers_and_what_should_be_closed_is_closed(url: str, home: Settings) -> None:
    assert "Finetune Studio" in httpx.get(url).text
    assert httpx.get(f"{url}/monitoring/summary").status_code in (403, 404)
    for path in (home.starter_model / "config.json", home.home / "browser.key", Path("/etc/passwd")):
        assert httpx.get(f"{url}/gradio_api/file={path}").status_code in (403, 404)
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    join = f"{url}/gradio_api/queue/join"
    assert httpx.post(join, json={}, headers={"Origin": "http://evil.example"}).status_code == 403


def test_events_called_from_outside_with_nonsense_fail_closed(url: str, studio: Studio) -> None:
    nonsense: list[Any] = [None, float("inf"), "../../etc/passwd", {"path": "/etc/passwd"}, ["x"] * 50]
    config = httpx.get(f"{url}/config").json()
    called = 0
    for event in config["dependencies"]:
        data = [nonsense[number % len(nonsense)] for number in range(len(event["inputs"]))]
        body = {"data": [None if value == float("inf") else value for value in data]}
        answer = httpx.post(f"{url}/gradio_api/run/{event['api_name']}", json=body)
        called += 1
        assert "Traceback" not in answer.text
        assert "root:" not in answer.text
    assert called > 20
    assert studio.history.runs() == []  # no event started anything


def test_a_port_in_use_is_passed_over_and_said(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.free_port(replace(home, port=port)) > port
    assert f"Port {port} is in use" in capsys.readouterr().out


def test_a_port_that_is_taken_in_the_last_moment_is_no_end(monkeypatch: pytest.MonkeyPatch, shared: Shared) -> None:
    tried = []

    def serve(opened: Studio) -> tuple[str, str]:
        tried.append(opened)
        if len(tried) < app.ATTEMPTS:
            raise OSError("Cannot find empty port")
        return "pages", "url"

    monkeypatch.setattr(app, "_serve", serve)
    assert app.launch(shared.studio) == ("pages", "url")
    monkeypatch.setattr(app, "_serve", always_taken)
    with pytest.raises(Refused, match="could not be served after 3 attempts"):
        app.launch(shared.studio)


def always_taken(_: Studio) -> tuple[str, str]:
    raise OSError("Cannot find empty port")


def test_a_model_that_is_not_there_is_a_sentence_on_the_page(shared: Shared) -> None:
    card, message = model_tab.look_at(shared, "Folder", "/nowhere/model", "", "", "own", "")
    assert "no folder /nowhere/model" in message.lower()
    assert "No model to show" in card


def test_a_hostile_model_name_is_text(shared: Shared) -> None:
    _, message = model_tab.look_at(shared, "Folder", "/<img src=x onerror=alert(1)>", "", "", "own", "")
    assert "<img" not in message


def test_the_plan_says_parameters_steps_and_memory(shared: Shared) -> None:
    html = tune_tab.plan_page(shared, START_DRAFT, "Balanced", Marks(), *form_values(Recipe()))[0]
    assert "LoRA with r = 16 on 7 kinds of layers" in html
    assert "100 steps" in html
    assert "free" in html


def test_rows_without_a_trained_token_are_told_before_the_start(shared: Shared) -> None:
    recipe = Recipe().changed(**{"training.max_length": 64})
    html = tune_tab.plan_page(shared, START_DRAFT, "Balanced", Marks(), *form_values(recipe))[0]
    assert "340 rows have no trained token left" in html


def test_answers_that_would_be_cut_are_told_with_the_length_that_holds_them() -> None:
    plan = {"total_bytes": 1, "memory_free_bytes": 2, "rows_cut": 7, "answers_cut": 3, "rows_untrained": 0}
    plan |= {"train_rows": 100, "held_out_rows": 5, "longest_tokens": 900, "device_kind": "cpu"}
    ((kind, _, sentence),) = plan_view.advices(Recipe(), plan)
    assert kind == "warn"
    assert "3 of 100 answers are cut" in sentence
    assert "max_length 900 holds them all" in sentence
    ((kind, _, sentence),) = plan_view.advices(Recipe(), {**plan, "answers_cut": 0})
    assert kind == "note"
    assert "no answer is" in sentence


def test_a_wrong_field_keeps_the_draft_and_says_what_is_wrong(shared: Shared) -> None:
    values = form_values(Recipe())
    values[FIELDS.index("adapter.r")] = 0
    outputs = tune_tab.plan_page(shared, START_DRAFT, "Balanced", Marks(), *values)
    assert "adapter.r must be at least 1" in outputs[0]
    assert outputs[3].wrong == "adapter.r"
    assert outputs[5] == gr.skip()  # the draft


def test_a_refused_start_writes_nothing(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(recipe: Recipe) -> str:
        raise Refused("The disk has 0.1 GB free.")

    monkeypatch.setattr(Studio, "start_run", lambda self, recipe: refuse(recipe))
    watched, plan = tune_tab.start(shared, START_DRAFT, "Balanced", Marks(), *form_values(Recipe()))
    assert watched == gr.skip()
    assert "The disk has 0.1 GB free." in plan


def test_an_empty_history_names_the_next_step(shared: Shared) -> None:
    assert "Start the first one" in history_tab.table_html(shared, "", None)
    assert "Clear the filter" in history_tab.table_html(shared, "nothing like this", None)


def test_a_run_that_is_gone_is_told_kindly(shared: Shared) -> None:
    page = history_tab.open_run(shared, "20260101-000000-gone-0000")[1]
    assert "Gone" in page


def test_polling_says_nothing_when_nothing_changed(shared: Shared, studio: Studio) -> None:
    seen = app.refresh_header(studio, None)[1]
    assert app.refresh_header(studio, seen) == [gr.skip(), gr.skip()]
    assert tune_tab.refresh(shared, None, None, False) == [gr.skip()] * 8
