"""A run as HTML: true in each status, escaped whatever it is called, in plain words."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from studio.recipe import Recipe
from studio.runs import Metric, Run, RunStatus
from studio.ui import run_view

NOW = datetime(2026, 1, 2, 14, 2, tzinfo=UTC)
RUN = Run(
    id="r1",
    name="bright-otter",
    status=RunStatus.RUNNING,
    created_at=NOW,
    started_at=NOW,
    recipe=Recipe().model_dump(mode="json"),
    total_steps=100,
    last_step=64,
)
LAST = {
    "loss": Metric(step=64, name="loss", value=0.412),
    "elapsed_seconds": Metric(step=64, name="elapsed_seconds", value=128.0),
    "epoch": Metric(step=64, name="epoch", value=1.5),
}


def test_the_header_says_what_goes_on() -> None:
    assert run_view.now_sentence(None, {}) == "Idle"
    assert "step 64 of 100, about 72 s left" in run_view.now_sentence(RUN, LAST)
    assert "waits in the queue" in run_view.now_sentence(replace(RUN, status=RunStatus.QUEUED), {})


def test_the_progress_line_has_step_epoch_and_time_left() -> None:
    line = run_view.progress_words(RUN, LAST)
    assert line.startswith("step 64 of 100 · epoch 1.5 · started ")
    assert line.endswith("about 72 s left")


def test_a_finished_run_says_how_long_it_took_and_nothing_of_time_left() -> None:
    over = replace(RUN, status=RunStatus.FINISHED, ended_at=NOW + timedelta(minutes=3), last_step=100)
    assert run_view.progress_words(over, LAST).endswith("took 3 min")


def test_unknown_numbers_are_dashes_and_nan_is_told() -> None:
    assert run_view.tiles({}).count("–") == 4
    assert "NaN" in run_view.tiles({"loss": Metric(step=1, name="loss", value=math.nan)})


def test_a_hostile_name_is_text_on_the_page() -> None:
    hostile = replace(RUN, name="<img src=x onerror=alert(1)> ${alert(2)} {{value}}", cause="<b>because</b>")
    for html in (run_view.top(hostile, LAST), run_view.now_sentence(hostile, LAST), run_view.facts(hostile)):
        assert "<img" not in html
        assert "<b>because" not in html


def test_samples_show_the_question_before_and_after() -> None:
    prompt = [{"role": "user", "content": "Positive or negative?\n\nNice <soup>."}]
    sample = {"prompt": prompt, "wanted": "positive", "before": "Well, " + "long " * 100, "after": "positive"}
    html = run_view.samples(replace(RUN, samples=(sample,)))
    assert "Nice &lt;soup&gt;." in html
    assert "…" in html
    assert 'class="same"' in html


def test_the_result_line_says_accuracy_before_and_after() -> None:
    result = {"accuracy_before": 0.0, "accuracy_after": 0.9167, "accuracy_rows": 60, "named_before": 0.57}
    html = run_view.result_line(replace(RUN, result=result))
    assert "0 % → 92 %" in html
    assert "60 questions" in html


def test_a_redrawn_progress_bar_counts_as_its_last_state() -> None:
    assert "50%" not in run_view.log_tail("loading 50%\rloading 100%\nstep 1")


def test_a_run_says_which_rows_it_left_out_and_which_template_it_trained() -> None:
    known = {"rows_unreadable": 2, "rows_untrained": 0, "chat_template": "llama-2", "chat_template_from": "data"}
    known |= {"cleaning": [{"name": "dedupe", "changed": 0, "dropped": 3, "left": 9}]}
    html = run_view.facts(replace(RUN, facts=known))
    assert "2 not readable, 3 by dedupe" in html
    assert "llama-2, found in the texts" in html
    assert "<dd>no rows</dd>" in run_view.facts(RUN)
