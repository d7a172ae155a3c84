"""A run as HTML: status, tiles, chart, answers, facts. Pure functions from records to escaped text; no gradio."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from studio import words
from studio.runs import Metric, Run, RunStatus
from studio.ui import charts

CHART_METRICS = ("loss", "eval_loss")
TILE_METRICS = ("loss", "eval_loss", "tokens_per_second", "memory_bytes", "epoch", "elapsed_seconds")


def say(kind: str, title: str, text: str) -> str:
    """A sentence that stands out: kind is good, warn, bad or note. Both texts are escaped."""
    return f'<div class="say {kind}"><b>{escape(title)}</b><span>{escape(text)}</span></div>'


def chip(status: RunStatus) -> str:
    """The status as a word in a frame."""
    kind = "live" if status.is_live else "good" if status is RunStatus.FINISHED else ""
    kind = "bad" if status in (RunStatus.FAILED, RunStatus.INTERRUPTED) else kind
    return f'<span class="chip {kind}">{status}</span>'


def seconds_left(run: Run, last: dict[str, Metric]) -> float | None:
    """About how long the run still takes, from its own speed so far; None while nobody knows."""
    elapsed = last.get("elapsed_seconds")
    if not run.status.is_live or elapsed is None or not run.total_steps or run.last_step < 2:
        return None
    return elapsed.value / run.last_step * max(0, run.total_steps - run.last_step)


def now_sentence(run: Run | None, last: dict[str, Metric]) -> str:
    """What is going on, for the header: "Training bright-otter: step 64 of 100, about 1 min left"."""
    if run is None:
        return "Idle"
    link = f'<a data-tab="tune">{escape(run.name)}</a>'
    if run.status is RunStatus.QUEUED:
        return f"{link} waits in the queue"
    if run.status is RunStatus.STARTING or not run.total_steps:
        return f"{link} is starting"
    left = seconds_left(run, last)
    told = f", about {words.duration(left)} left" if left is not None else ""
    return f"Training {link}: step {run.last_step} of {run.total_steps}{told}"


def top(run: Run, last: dict[str, Metric]) -> str:
    """Name, status, progress line and the four tiles."""
    share = run.last_step / run.total_steps if run.total_steps else 0.0
    parts = [f'<div class="run-top"><h2 class="t">{escape(run.name)}</h2>{chip(run.status)}</div>']
    if run.cause:
        kind, title = ("bad", "It ended early") if run.status.is_over else ("note", "Note")
        parts.append(say(kind, title, run.cause))
    parts.append(result_line(run))
    parts.append(f'<div class="prog"><i style="width:{100 * share:.1f}%"></i></div>')
    parts.append(f'<small class="num">{escape(progress_words(run, last))}</small>')
    parts.append(tiles(last))
    return "".join(parts)


def progress_words(run: Run, last: dict[str, Metric]) -> str:
    """step 64 of 100 · epoch 1.5 · started 14:02 · about 1 min left"""
    told = [f"step {run.last_step}" + (f" of {run.total_steps}" if run.total_steps else "")]
    if "epoch" in last:
        told.append(f"epoch {last['epoch'].value:.1f}")
    if run.started_at:
        told.append(f"started {run.started_at.astimezone():%H:%M}")
    if (left := seconds_left(run, last)) is not None:
        told.append(f"about {words.duration(left)} left")
    elif run.started_at and run.ended_at:
        told.append(f"took {words.duration((run.ended_at - run.started_at).total_seconds())}")
    elif run.status is RunStatus.STARTING:
        told.append("loading the model and asking it the held-out questions")
    elif run.status is RunStatus.QUEUED:
        told.append("waits until the device is free")
    return " · ".join(told)


def tiles(last: dict[str, Metric]) -> str:
    """Loss, held-out loss, speed and memory; a dash where nothing is known."""

    def value(name: str, form: str = ".3f") -> str:
        metric = last.get(name)
        if metric is None:
            return "–"
        return format(metric.value, form) if math.isfinite(metric.value) else "NaN"

    memory = last.get("memory_bytes")
    cells = (
        ("loss", value("loss")),
        ("held-out loss", value("eval_loss")),
        ("tokens/s", value("tokens_per_second", ".0f")),
        ("memory, peak", words.size(memory.value) if memory else "–"),
    )
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><span>{n}</span><b>{v}</b></div>' for n, v in cells)
        + "</div>"
    )


def result_line(run: Run) -> str:
    """What came out, on top of a finished run."""
    after, before = run.result.get("accuracy_after"), run.result.get("accuracy_before")
    if after is not None and before is not None:
        rows = run.result.get("accuracy_rows")
        named = run.result.get("named_before", 0.0)
        return (
            f'<div class="result"><span>Held-out accuracy</span><b>{words.percent(before)} → {words.percent(after)}</b>'
            f"<small>{rows} questions never trained on, answered for real. Before, {words.percent(named)} at least "
            "named the right word somewhere in a longer answer.</small></div>"
        )
    first, last_loss = run.result.get("eval_loss_first"), run.result.get("eval_loss_last")
    if first is not None and last_loss is not None:
        return (
            f'<div class="result"><span>Held-out loss</span><b>{first:.2f} → {last_loss:.2f}</b>'
            "<small>Lower means that the right answers surprise the model less.</small></div>"
        )
    return ""


def chart(curves: dict[str, list[Metric]], run: Run, checkpoints: list[int], *, log: bool) -> str:
    """The loss chart of a run."""
    return charts.loss_chart(
        charts.points_of(curves["loss"]), charts.points_of(curves["eval_loss"]), run.total_steps, checkpoints, log=log
    )


def samples(run: Run) -> str:
    """The same held-out questions before and after, side by side."""
    if not run.samples:
        return '<div class="empty">Answers to held-out questions appear here, before and after training.</div>'
    rows = []
    for sample in run.samples:
        question = sample["prompt"][-1]["content"]
        shown = telling_end(question, 200)
        after = sample.get("after")
        same = after is not None and after.strip() == str(sample["wanted"]).strip()
        rows.append(
            f'<tr><td title="{escape(question)}">{escape(shown)}</td>'
            f'<td class="was">{escape(_short(sample["before"]))}</td>'
            f'<td class="{"same" if same else ""}">{escape(_short(after)) if after is not None else "–"}</td></tr>'
        )
    head = "<tr><th>Held-out question</th><th>Base model says</th><th>After training</th></tr>"
    return f'<table class="samples"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def telling_end(question: str, limit: int) -> str:
    """The last paragraph of a question: in a classification all begin with the same instruction."""
    return _short(question.strip().rsplit("\n", 1)[-1], limit)


def _short(text: str, limit: int = 130) -> str:
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def log_tail(text: str, lines: int = 40) -> str:
    """The last lines of the worker's log; progress bars that redraw themselves count as their last state."""
    kept = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n") if line.strip()]
    return f'<pre class="log" tabindex="0" aria-label="End of the log">{escape(chr(10).join(kept[-lines:]))}</pre>'


def facts(run: Run) -> str:
    """Everything that is needed to know what this run was: recipe, data, device, versions."""
    entries: list[tuple[str, str]] = [
        ("Base model", str(run.recipe["model"]["base_model"])),
        ("Dataset", str(run.recipe["data"]["dataset"])),
        ("Dataset fingerprint", str(run.facts.get("dataset_fingerprint", "–"))[:16]),
        ("Rows", f"{run.facts.get('train_rows', '–')} trained, {run.facts.get('held_out_rows', '–')} held out"),
        ("Left out", _left_out(run.facts)),
        ("Chat template", _template(run.facts)),
        ("Seed", str(run.recipe["training"]["seed"])),
        ("Trainable", _trainable(run.facts)),
        ("Device", f"{run.facts.get('device', '–')}, {run.facts.get('precision', '–')}"),
        ("Versions", ", ".join(f"{name} {number}" for name, number in run.facts.get("versions", {}).items()) or "–"),
        ("Created", f"{run.created_at.astimezone():%Y-%m-%d %H:%M}"),
    ]
    return '<dl class="facts">' + "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in entries) + "</dl>"


_LEFT_OUT = {
    "rows_unreadable": "not readable",
    "rows_not_rendered": "that the template cannot write",
    "rows_over_long": "too long",
    "rows_untrained": "without a trained token",
}


def _left_out(known: dict[str, Any]) -> str:
    """What became of the rows that were not trained, cleaning included."""
    told = [f"{known[name]:,} {why}" for name, why in _LEFT_OUT.items() if known.get(name)]
    told += [f"{step['dropped']:,} by {step['name']}" for step in known.get("cleaning", []) if step["dropped"]]
    return ", ".join(told) or "no rows"


def _template(known: dict[str, Any]) -> str:
    """The chat template that was trained, and who chose it."""
    if "chat_template" not in known:
        return "–"
    chosen = {"tokenizer": "the model's own", "recipe": "chosen in the recipe", "data": "found in the texts"}
    source = chosen.get(known["chat_template_from"], "none")
    return source if known["chat_template"] in ("", "own") else f"{known['chat_template']}, {source}"


def _trainable(known: dict[str, Any]) -> str:
    trainable, total = known.get("trainable_parameters"), known.get("total_parameters")
    if not trainable or not total:
        return "–"
    return f"{trainable:,} of {total:,} parameters ({100 * trainable / total:.2f} %)"
