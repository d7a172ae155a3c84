"""Tab 3, Fine-tune: the recipe on the left; on the right what it will take, then the run itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.errors import InvalidInput, NotFound, StudioError
from studio.recipe import PRESETS, Recipe
from studio.runs import RunStatus
from studio.services.supervisor import checkpoints_of
from studio.ui import forms, plan_view, run_view
from studio.ui.forms import FIELDS, FOLDED, Marks
from studio.ui.guard import told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, QUIET, Shared, piece

PLAN_WAITING = '<div class="empty">Working out what this will take.</div>'
NO_RUN = '<div class="empty">Start training, and the loss draws itself here. Closing this page does not stop it.</div>'


@dataclass(frozen=True)
class TuneTab:
    """The tab's components; `fields` by dotted recipe name."""

    what: Any
    preset: Any
    fields: dict[str, Any]
    marks: Any
    plan: Any
    start: Any
    reset: Any
    run_card: Any
    top: Any
    log_scale: Any
    chart: Any
    samples: Any
    log: Any
    stop: Any
    chat: Any
    seen: Any
    asked: Any
    """gr.State: moves when the plan has to be made again."""

    @property
    def run_pieces(self) -> list[Any]:
        """What the timer refreshes, in the order that `refresh` answers."""
        return [self.top, self.chart, self.samples, self.log, self.stop, self.chat, self.run_card, self.seen]


def build() -> TuneTab:
    """Lay the tab out."""
    marks, seen, asked = gr.State(Marks()), gr.State(None), gr.State(0)
    fields: dict[str, Any] = {}
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="left"), gr.Column(elem_classes="card"):
            what = piece('<h2 class="t">What to train</h2><p class="sub">&nbsp;</p>')
            preset = gr.Radio(
                plan_view.preset_choices({}),
                value="Balanced",
                show_label=False,
                container=False,
                elem_classes="presets",
            )
            for name in forms.BASIC:
                fields[name] = forms.make_field(name)
            for group, names in FOLDED.items():
                with gr.Accordion(group, open=False, elem_classes="fold"):
                    for name in names:
                        fields[name] = forms.make_field(name)
            reset = gr.Button("Put everything back", size="sm", visible=False)
        with gr.Column(elem_classes="right"):
            with gr.Column(elem_classes="card"):
                plan = piece(PLAN_WAITING, min_height=168)
                with gr.Row(elem_classes="actions"):
                    start = gr.Button("Start training", variant="primary", elem_id="start-training")
            with gr.Column(elem_classes="card", visible=True) as run_card:
                top = piece(NO_RUN)
                with gr.Row(elem_classes="actions"):
                    stop = gr.Button("Stop and keep", visible=False, elem_id="stop-run")
                    chat = gr.Button("Chat with it", size="md", visible=False, elem_id="chat-with-run")
                    log_scale = gr.Checkbox(
                        label="log scale", value=False, container=False, visible=True, elem_id="log-scale"
                    )
                chart = piece("", elem_id="loss-chart")
                log = piece("", elem_id="run-log")
                samples = piece("")
    ordered = {name: fields[name] for name in FIELDS}
    return TuneTab(
        what,
        preset,
        ordered,
        marks,
        plan,
        start,
        reset,
        run_card,
        top,
        log_scale,
        chart,
        samples,
        log,
        stop,
        chat,
        seen,
        asked,
    )


def connect(tab: TuneTab, shared: Shared, demo: Any, timer: Any) -> None:
    """Wire the events."""
    inputs = [shared.draft, tab.preset, tab.marks, *tab.fields.values()]
    plan_outputs = [tab.plan, tab.what, tab.preset, tab.marks, tab.reset, shared.draft, *tab.fields.values()]
    plan = told(lambda *values: plan_page(shared, *values))
    ask: dict[str, Any] = {"fn": lambda: time.monotonic_ns(), "inputs": None, "outputs": [tab.asked], **QUIET}
    # One listener makes all plans, the last one wins: two at once could answer in the wrong order.
    tab.asked.change(plan, inputs, plan_outputs, trigger_mode="always_last", **PRIVATE, show_progress="hidden")
    begun = [demo.load, shared.adopted.change]
    gr.on(begun, fill_from_draft, [shared.draft], [tab.preset, *tab.fields.values()], **AT_ONCE).then(**ask)
    gr.on([*(component.input for component in tab.fields.values()), shared.preview.change], **ask)
    gr.on([tab.preset.input, tab.reset.click], apply_preset, [tab.preset], list(tab.fields.values()), **AT_ONCE).then(
        **ask
    )
    tab.start.click(told(lambda *values: start(shared, *values)), inputs, [shared.watched, tab.plan], **PRIVATE).then(
        lambda watched, seen, log: refresh(shared, watched, seen, log),
        [shared.watched, tab.seen, tab.log_scale],
        tab.run_pieces,
        **AT_ONCE,
    )
    tab.stop.click(told(lambda run_id: stop(shared, run_id)), [shared.watched], [tab.stop], **PRIVATE)
    gr.on(
        [timer.tick, tab.log_scale.change],
        lambda watched, seen, log: refresh(shared, watched, seen, log),
        [shared.watched, tab.seen, tab.log_scale],
        tab.run_pieces,
        **AT_ONCE,
    )


def fill_from_draft(draft: dict[str, Any]) -> list[Any]:
    """The preset and the fields as the browser remembers them; what no longer fits a field keeps its default."""
    values = []
    for name in FIELDS:
        part, _, field = name.partition(".")
        value = draft.get(part, {}).get(field, forms.value_of(Recipe(), name))
        values.append(forms.as_text(value) if name == "adapter.target_modules" else value)
    named = dict(zip(FIELDS, values, strict=True))
    nearest = min(PRESETS, key=lambda preset: len(forms.changed_fields(named, preset)))
    return [nearest, *values]


def apply_preset(preset: str) -> list[Any]:
    """The form as a preset has it: every field, so that what changes can be seen."""
    recipe = forms.preset_recipe(preset)
    return [forms.shown_value(recipe, name) for name in FIELDS]


def plan_page(shared: Shared, draft: dict[str, Any], preset: str, marks: Marks, *values: Any) -> list[Any]:
    """Everything that follows from the form: the plan, the preset cards' times, the marks beside fields, the draft."""
    named = dict(zip(FIELDS, values, strict=True))
    changed = forms.changed_fields(named, preset)
    reset = gr.update(visible=bool(changed))
    try:
        recipe = forms.read_form(draft, named)
    except InvalidInput as error:
        after = Marks(changed, error.field or "", str(error))
        html = plan_view.plan_title() + say("bad", "One field needs you", str(error))
        return [html, gr.skip(), gr.skip(), after, reset, gr.skip(), *forms.mark(marks, after)]
    after = Marks(changed)
    what = plan_view.what_html(recipe)
    kept = recipe.model_dump(mode="json")
    try:
        answer = shared.studio.server.ask("plan", recipe)
    except StudioError as error:
        field = getattr(error, "field", None) or ""
        after = Marks(changed, field if field in FIELDS else "", str(error))
        html = plan_view.plan_title() + say("bad", "Cannot start", str(error))
        return [html, what, gr.skip(), after, reset, kept, *forms.mark(marks, after)]
    cards = gr.update(choices=plan_view.preset_choices(plan_view.preset_seconds(shared.studio, recipe, answer)))
    html = plan_view.plan_html(shared.studio, recipe, answer)
    return [html, what, cards, after, reset, kept, *forms.mark(marks, after)]


def start(shared: Shared, draft: dict[str, Any], preset: str, marks: Marks, *values: Any) -> tuple[Any, Any]:
    """Queue the run that the form says; a refusal is a sentence in the plan's place."""
    try:
        recipe = forms.read_form(draft, dict(zip(FIELDS, values, strict=True)))
        return shared.studio.start_run(recipe), gr.skip()
    except StudioError as error:
        return gr.skip(), plan_view.plan_title() + say("bad", "Not started", str(error))


def stop(shared: Shared, run_id: str | None) -> Any:
    """Ask the watched run to stop."""
    if run_id:
        shared.studio.stop_run(run_id)
    return gr.update(value="Stopping", interactive=False)


def refresh(shared: Shared, watched: str | None, seen: Any, log: bool) -> list[Any]:
    """The watched run's pieces if anything is new since `seen`, else nothing. Never raises: it runs all the time."""
    skipped = [gr.skip()] * 8
    if not watched:
        return skipped
    history = shared.studio.history
    try:
        run, folder = history.run(watched), shared.studio.folder(watched)
    except NotFound as error:
        return [
            say("note", "Gone", str(error)),
            "",
            "",
            "",
            gr.update(visible=False),
            gr.update(visible=False),
            gr.skip(),
            None,
        ]
    except StudioError:
        return skipped  # a database that is busy for a moment: the next tick asks again
    tail = folder.log_tail()
    last = history.last_metrics(watched)
    newest = max((metric.step for metric in last.values()), default=-1)
    state = [watched, run.status, newest, len(last), hash(tail), log, len(run.samples), bool(run.result), run.name]
    if state == seen:
        return skipped
    curves = shared.studio.curves(watched, run_view.CHART_METRICS)
    steps = [checkpoint.step for checkpoint in checkpoints_of(folder)]
    return [
        run_view.top(run, last),
        run_view.chart(curves, run, steps, log=log),
        run_view.samples(run),
        run_view.log_tail(tail),
        gr.update(
            visible=not run.status.is_over, value="Stop and keep", interactive=run.status is not RunStatus.STOPPING
        ),
        gr.update(visible=folder.adapter.is_dir()),
        gr.skip(),
        state,
    ]
