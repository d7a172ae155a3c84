"""History: every run, one opened beside the list; clone it into the form, delete it, bring it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import yaml

from studio import words
from studio.errors import StudioError
from studio.runs import Run
from studio.services.supervisor import checkpoints_of
from studio.ui import charts, run_view
from studio.ui.guard import told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

SHOWN_RUNS = 100
NO_RUNS = (
    '<div class="empty">No runs yet. <a data-tab="tune" href="javascript:void 0">Start the first one</a>: '
    "the defaults work.</div>"
)
NOTHING_OPEN = '<div class="empty">Choose a run on the left to see all of it.</div>'
SELECT_JS = """element.addEventListener('click', (event) => {
  const row = event.target.closest('tr[data-run]');
  if (row) trigger('select', {run: row.dataset.run});
});"""


@dataclass(frozen=True)
class HistoryTab:
    """The tab's components."""

    search: Any
    table: Any
    page: Any
    chart: Any
    more: Any
    actions: Any
    clone: Any
    watch: Any
    delete: Any
    confirm_row: Any
    confirm: Any
    keep: Any
    undo: Any
    empty: Any
    message: Any
    opened_run: Any
    deleted: Any


def build() -> HistoryTab:
    """Lay the tab out."""
    opened_run, deleted = gr.State(None), gr.State(None)
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="half"), gr.Column(elem_classes="card"):
            piece('<h2 class="t">Runs</h2>')
            search = gr.Textbox(
                show_label=False, placeholder="Filter by name, model or dataset", max_lines=1, container=False
            )
            message = piece("")
            undo = gr.Button("Bring it back", size="sm", visible=False)
            table = piece(NO_RUNS, js_on_load=SELECT_JS, elem_id="run-table")
            empty = gr.Button("Empty the trash", size="sm", visible=False, elem_id="empty-trash")
        with gr.Column(elem_classes="right"), gr.Column(elem_classes="card"):
            page = piece(NOTHING_OPEN, elem_id="run-page")
            with gr.Row(elem_classes="actions", visible=False) as actions:
                clone = gr.Button("Clone into the form", variant="primary", elem_id="clone")
                watch = gr.Button("Chat or export it")
                delete = gr.Button("Delete", elem_id="delete")
            with gr.Row(elem_classes="actions", visible=False) as confirm_row:
                confirm = gr.Button("Delete this run", variant="stop", elem_id="confirm-delete")
                keep = gr.Button("Keep it")
            chart = piece("")
            more = piece("")
    return HistoryTab(
        search,
        table,
        page,
        chart,
        more,
        actions,
        clone,
        watch,
        delete,
        confirm_row,
        confirm,
        keep,
        undo,
        empty,
        message,
        opened_run,
        deleted,
    )


def connect(tab: HistoryTab, shared: Shared, demo: Any, opened: Any) -> None:
    """Wire the events; `opened` is the tab's select event."""

    def listing(text: str, run_id: str | None) -> list[Any]:
        return [table_html(shared, text, run_id), trash_button(shared)]

    listed = [tab.table, tab.empty]
    shown = [tab.opened_run, tab.page, tab.chart, tab.more, tab.actions, tab.confirm_row]
    demo.load(open_from_address, None, [tab.opened_run], **AT_ONCE).then(
        told(lambda run_id: open_run(shared, run_id)), [tab.opened_run], shown, **AT_ONCE
    ).then(listing, [tab.search, tab.opened_run], listed, **AT_ONCE)
    gr.on([opened, tab.search.change], told(listing), [tab.search, tab.opened_run], listed, **AT_ONCE)
    tab.table.select(_selected(shared), None, shown, **AT_ONCE).then(
        listing, [tab.search, tab.opened_run], listed, **AT_ONCE
    )
    tab.clone.click(
        told(lambda run_id, count: clone(shared, run_id, count)),
        [tab.opened_run, shared.adopted],
        [shared.draft, shared.tabs, shared.adopted],
        **PRIVATE,
    )
    tab.watch.click(
        lambda run_id: [run_id, gr.update(selected="chat")], [tab.opened_run], [shared.watched, shared.tabs], **AT_ONCE
    )
    tab.delete.click(lambda: gr.update(visible=True), None, [tab.confirm_row], **AT_ONCE)
    tab.keep.click(lambda: gr.update(visible=False), None, [tab.confirm_row], **AT_ONCE)
    tab.confirm.click(
        lambda run_id: delete(shared, run_id), [tab.opened_run], [tab.message, tab.undo, tab.deleted, *shown], **PRIVATE
    ).then(listing, [tab.search, tab.opened_run], listed, **AT_ONCE)
    tab.undo.click(lambda run_id: undo(shared, run_id), [tab.deleted], [tab.message, tab.undo, *shown], **PRIVATE).then(
        listing, [tab.search, tab.opened_run], listed, **AT_ONCE
    )

    tab.empty.click(told(lambda: empty_trash(shared)), None, [tab.message, tab.undo, tab.empty], **PRIVATE)


def trash_button(shared: Shared) -> Any:
    """The button that empties the trash, with what that frees; hidden while there is nothing in it."""
    taken = shared.studio.trash_bytes()
    return gr.update(visible=taken > 0, value=f"Empty the trash ({words.size(taken)})")


def empty_trash(shared: Shared) -> list[Any]:
    """Remove deleted runs for good."""
    freed = shared.studio.empty_trash()
    note = say("note", "Emptied", f"The trash gave back {words.size(freed)}.")
    return [note, gr.update(visible=False), trash_button(shared)]


def _selected(shared: Shared) -> Any:
    def selected(event: gr.EventData) -> list[Any]:
        return told(open_run)(shared, event._data.get("run"))

    return selected


def open_from_address(request: gr.Request) -> Any:
    """The run that the page's address names, so that a link can be shared."""
    return request.query_params.get("run") if request else None


def table_html(shared: Shared, text: str, opened: str | None) -> str:
    """The runs that match, newest first, as a table whose rows can be clicked."""
    runs = shared.studio.history.runs(search=(text or "")[:200], limit=SHOWN_RUNS)
    if not runs:
        return NO_RUNS if not text else '<div class="empty">No run matches. Clear the filter to see all.</div>'
    body = "".join(row_html(shared, run, run.id == opened) for run in runs)
    head = '<tr><th>Run</th><th>Status</th><th class="wide">Loss</th><th>Held-out</th></tr>'
    return f'<table class="runs"><thead>{head}</thead><tbody>{body}</tbody></table>'


def row_html(shared: Shared, run: Run, is_open: bool) -> str:
    """One run as a table row with its curve in small."""
    loss = charts.points_of(shared.studio.curves(run.id, ["loss"])["loss"])
    about = f"{short(run.recipe['data']['dataset'])}, {words.ago(run.created_at)}"
    return (
        f'<tr data-run="{escape(run.id)}" class="{"on" if is_open else ""}"><td><button>{escape(run.name)}</button><br>'
        f"<small>{escape(about)}</small></td><td>{run_view.chip(run.status)}</td>"
        f'<td class="wide">{charts.sparkline(loss)}</td><td>{escape(outcome(run))}</td></tr>'
    )


def short(name: str, limit: int = 28) -> str:
    """The telling end of a long name."""
    return name if len(name) <= limit else "…" + name[-limit:]


def outcome(run: Run) -> str:
    """The one number that says what came out."""
    if (accuracy := run.result.get("accuracy_after")) is not None:
        return words.percent(accuracy)
    if (loss := run.result.get("eval_loss_last")) is not None:
        return f"loss {loss:.2f}"
    return "–"


def open_run(shared: Shared, run_id: str | None) -> list[Any]:
    """[id, page, chart, the rest, actions, confirmation] of one run; an empty page for none."""
    hidden = gr.update(visible=False)
    if not run_id:
        return [None, NOTHING_OPEN, "", "", hidden, hidden]
    try:
        run, folder = shared.studio.history.run(run_id), shared.studio.folder(run_id)
    except StudioError as error:
        return [None, say("note", "Gone", str(error)), "", "", hidden, hidden]
    curves = shared.studio.curves(run_id, run_view.CHART_METRICS)
    steps: Sequence[int] = [checkpoint.step for checkpoint in checkpoints_of(folder)]
    recipe = yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True)
    more = (
        run_view.samples(run)
        + f'<h3 class="t">What it was</h3>{run_view.facts(run)}'
        + f'<h3 class="t">Recipe</h3><pre class="code" tabindex="0">{escape(recipe)}</pre>'
        + f'<h3 class="t">End of the log</h3>{run_view.log_tail(folder.log_tail())}'
    )
    top = run_view.top(run, shared.studio.history.last_metrics(run_id))
    return [run_id, top, run_view.chart(curves, run, list(steps), log=False), more, gr.update(visible=True), hidden]


def clone(shared: Shared, run_id: str, count: int) -> list[Any]:
    """The run's recipe as the draft, and on to the form."""
    recipe = shared.studio.recipe_of(run_id)
    return [recipe.model_dump(mode="json"), gr.update(selected="tune"), count + 1]


def delete(shared: Shared, run_id: str | None) -> list[Any]:
    """Move the run to the trash; offer to bring it back."""
    if not run_id:
        return [gr.skip()] * 9
    try:
        name = shared.studio.history.run(run_id).name
        shared.studio.delete_run(run_id)
    except StudioError as error:
        return [
            say("bad", "Not deleted", str(error)),
            gr.update(visible=False),
            None,
            *[gr.skip()] * 5,
            gr.update(visible=False),
        ]
    return [
        say("note", "Deleted", f"{name} is in the trash."),
        gr.update(visible=True),
        run_id,
        *open_run(shared, None),
    ]


def undo(shared: Shared, run_id: str | None) -> list[Any]:
    """Bring the last deleted run back and open it."""
    if not run_id:
        return [gr.skip()] * 8
    try:
        shared.studio.undo_delete(run_id)
    except StudioError as error:
        return [say("bad", "Not brought back", str(error)), gr.update(visible=False), *[gr.skip()] * 6]
    return ["", gr.update(visible=False), *open_run(shared, run_id)]
