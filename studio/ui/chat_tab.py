"""Tab 4, Chat: the same question to the base model and to a trained one, side by side, as they answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.errors import StudioError
from studio.messages import Message
from studio.runs import RunStatus
from studio.services.model_server import ChatSettings
from studio.ui import run_view
from studio.ui.guard import BUG_SENTENCE, told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

log = logging.getLogger("studio.ui")

GREETING = "Ask something below. The base model answers here."
LONGEST_QUESTION = 20_000
Turns = list[dict[str, Any]]


@dataclass(frozen=True)
class ChatTab:
    """The tab's components."""

    run: Any
    base: Any
    adapted: Any
    base_note: Any
    adapted_note: Any
    question: Any
    ask: Any
    stop: Any
    clear: Any
    examples: Any
    temperature: Any
    max_tokens: Any
    system: Any
    message: Any


def build() -> ChatTab:
    """Lay the tab out."""
    with gr.Row(elem_classes="sending"):
        run = gr.Dropdown(
            [],
            label="Trained model",
            info="Every finished run can be asked, beside its base model.",
            filterable=True,
            elem_id="chat-run",
        )
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="right"):
            base = gr.Chatbot(
                label="Base model", height=380, placeholder=GREETING, elem_classes="chat", buttons=["copy"]
            )
            base_note = piece('<div class="under"></div>')
        with gr.Column(elem_classes="right"):
            adapted = gr.Chatbot(
                label="After training",
                height=380,
                placeholder="The trained model answers here.",
                elem_classes="chat",
                buttons=["copy"],
                elem_id="adapted",
            )
            adapted_note = piece('<div class="under"></div>')
    message = piece("")
    examples = gr.Dataset(components=["textbox"], samples=[], label="Held-out questions to try", visible=False)
    with gr.Row(elem_classes="sending"):
        question = gr.Textbox(
            show_label=False, placeholder="Ask both", lines=1, max_lines=6, scale=8, container=False, elem_id="question"
        )
        ask = gr.Button("Ask", variant="primary", elem_id="ask", scale=1)
        stop = gr.Button("Stop", scale=1)
        clear = gr.Button("Clear", scale=1)
    with gr.Accordion("How they answer", open=False, elem_classes="fold"):
        temperature = gr.Slider(
            0,
            2,
            value=0,
            step=0.1,
            label="temperature",
            info="0 always takes the most likely word: the same answer each time. Higher is more varied.",
        )
        max_tokens = gr.Slider(8, 1024, value=200, step=8, label="max_tokens", info="Longest answer, in tokens.")
        system = gr.Textbox(
            label="System prompt", info="Said before the conversation; empty uses the template's own.", max_lines=4
        )
    return ChatTab(
        run,
        base,
        adapted,
        base_note,
        adapted_note,
        question,
        ask,
        stop,
        clear,
        examples,
        temperature,
        max_tokens,
        system,
        message,
    )


def connect(tab: ChatTab, shared: Shared, demo: Any, opened: Any) -> None:
    """Wire the events; `opened` is the tab's select event."""
    listed = [tab.run, tab.examples, tab.message]
    gr.on(
        [demo.load, opened],
        told(lambda run, watched: list_runs(shared, run, watched)),
        [tab.run, shared.watched],
        listed,
        **AT_ONCE,
    )
    tab.run.input(
        lambda run: [[], [], *list_runs(shared, run, run)[1:]],
        [tab.run],
        [tab.base, tab.adapted, *listed[1:]],
        **AT_ONCE,
    )
    inputs = [tab.run, tab.question, tab.base, tab.adapted, tab.temperature, tab.max_tokens, tab.system]
    outputs = [tab.question, tab.base, tab.adapted, tab.base_note, tab.adapted_note, tab.message]

    def asking(*values: Any) -> Iterator[list[Any]]:
        yield from answer_both(shared, *values)

    running = gr.on(
        [tab.ask.click, tab.question.submit],
        asking,
        inputs,
        outputs,
        concurrency_limit=8,
        concurrency_id="model",
        time_limit=600,
        **PRIVATE,
        show_progress="hidden",
    )
    tab.stop.click(None, cancels=[running], **PRIVATE)
    tab.clear.click(
        lambda: [[], [], "", "", ""],
        None,
        [tab.base, tab.adapted, tab.base_note, tab.adapted_note, tab.message],
        **AT_ONCE,
    )
    tab.examples.click(lambda sample: sample[0], [tab.examples], [tab.question], **AT_ONCE)


def list_runs(shared: Shared, chosen: str | None, watched: str | None) -> list[Any]:
    """The runs that can be asked, the watched one chosen, and its held-out questions as examples."""
    studio = shared.studio
    found = [run for run in studio.history.runs(limit=500) if run.status in (RunStatus.FINISHED, RunStatus.STOPPED)]
    runs = [run for run in found if (studio.settings.runs / run.id / "adapter").is_dir()]
    if not runs:
        note = say(
            "note",
            "Nothing trained yet",
            "Start a training on the Fine-tune page; it can be asked here when it has finished.",
        )
        return [gr.update(choices=[], value=None), gr.update(visible=False), note]
    ids = [run.id for run in runs]
    value = watched if watched in ids else chosen if chosen in ids else ids[0]
    samples = [[row["prompt"][-1]["content"]] for run in runs if run.id == value for row in run.samples]
    labels = [run_view.telling_end(sample[0], 70) for sample in samples]
    choices = [(f"{run.name} ({run.created_at.astimezone():%d %b %H:%M})", run.id) for run in runs]
    return [
        gr.update(choices=choices, value=value),
        gr.update(samples=samples, sample_labels=labels, visible=bool(samples)),
        "",
    ]


def answer_both(
    shared: Shared, run: str | None, question: str, base: Turns, adapted: Turns, *settings: Any
) -> Iterator[list[Any]]:
    """Stream both answers, the base model's first: they share one copy of the weights."""
    question = (question or "").strip()[:LONGEST_QUESTION]
    if not run or not question:
        note = "Choose a trained model first." if not run else "Write a question first."
        yield [gr.skip()] * 5 + [say("note", "Not asked", note)]
        return
    temperature, max_tokens, system = settings
    system = (system or "").strip()
    chosen = ChatSettings(max_tokens=int(max_tokens), temperature=float(temperature))
    base, adapted = [*base, user_turn(question)], [*adapted, user_turn(question)]
    yield ["", base, adapted, under("waiting"), under("waiting"), ""]
    try:
        for turns, note in stream_one(shared, f"base:{run}", base, system, chosen):
            yield [gr.skip(), turns, gr.skip(), note, gr.skip(), gr.skip()]
        for turns, note in stream_one(shared, f"run:{run}", adapted, system, chosen):
            yield [gr.skip(), gr.skip(), turns, gr.skip(), note, gr.skip()]
    except StudioError as error:
        yield [gr.skip()] * 5 + [say("bad", "No answer", str(error))]
    except Exception:
        log.exception("The chat failed")
        yield [gr.skip()] * 5 + [say("bad", "No answer", BUG_SENTENCE)]


def stream_one(
    shared: Shared, model: str, turns: Turns, system: str, settings: ChatSettings
) -> Iterator[tuple[Turns, str]]:
    """One model's answer as it grows, with the small grey numbers under it."""
    messages = as_messages(turns, system)
    began, first, text = time.monotonic(), None, ""
    for more in shared.studio.server.chat(model, messages, settings):
        first = first or time.monotonic()
        text += more
        yield [*turns, {"role": "assistant", "content": text}], under("answering")
    seconds = time.monotonic() - began
    wait = (first or time.monotonic()) - began
    shown = text if text.strip() else "(an empty answer)"
    note = under(f"{seconds:.1f} s, first word after {wait:.1f} s")
    yield [*turns, {"role": "assistant", "content": shown}], note


def user_turn(text: str) -> dict[str, Any]:
    """A question in the page's form."""
    return {"role": "user", "content": text}


def as_messages(turns: Turns, system: str) -> list[Message]:
    """The conversation in the server's form; the page holds content as a list of typed parts."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        content = turn["content"]
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        messages.append({"role": turn["role"], "content": content})
    return messages


def under(text: str) -> str:
    """The small line under an answer."""
    return f'<div class="under">{text}</div>'
