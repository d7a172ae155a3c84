"""Tab 5, Export: take a trained model away, and how to use it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from studio import words
from studio.errors import StudioError
from studio.recipe import STARTER_MODEL
from studio.runs import Export, Run
from studio.ui.chat_tab import list_runs
from studio.ui.downloads import Downloads
from studio.ui.guard import told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

KINDS = [
    ("Adapter (zip)\nOnly what was learned, a few megabytes. For peft, with the base model beside it.", "adapter"),
    (
        "Merged model (safetensors)\nBase and adapter in one. For transformers, vLLM and whatever reads its format.",
        "merged",
    ),
]
EMPTY = '<div class="empty">Choose what to take away, then Export. How to use it appears here.</div>'


@dataclass(frozen=True)
class ExportTab:
    """The tab's components."""

    run: Any
    kind: Any
    go: Any
    made: Any
    before: Any


def build() -> ExportTab:
    """Lay the tab out."""
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="left"), gr.Column(elem_classes="card"):
            piece('<h2 class="t">What to take away</h2><p class="sub">Each works without this studio.</p>')
            run = gr.Dropdown([], label="Run", info="Every run with an adapter.", elem_id="export-run")
            kind = gr.Radio(KINDS, value="adapter", show_label=False, container=False, elem_classes="choices")
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Export", variant="primary", elem_id="export")
        with gr.Column(elem_classes="right"), gr.Column(elem_classes="card"):
            piece('<h2 class="t">Ready to use</h2>')
            made = piece(EMPTY, elem_id="export-made")
            before = piece("")
    return ExportTab(run, kind, go, made, before)


def connect(tab: ExportTab, shared: Shared, downloads: Downloads, opened: Any) -> None:
    """Wire the events; `opened` is the tab's select event."""
    opened(
        told(lambda run, watched: [list_runs(shared, run, watched)[0], earlier(shared, downloads, watched or run)]),
        [tab.run, shared.watched],
        [tab.run, tab.before],
        **AT_ONCE,
    )
    tab.run.input(
        told(lambda run: [EMPTY, earlier(shared, downloads, run)]), [tab.run], [tab.made, tab.before], **AT_ONCE
    )
    tab.go.click(
        lambda: [gr.update(value="Exporting", interactive=False), WORKING], None, [tab.go, tab.made], **AT_ONCE
    ).then(
        lambda run, kind: export(shared, downloads, run, kind),
        [tab.run, tab.kind],
        [tab.made, tab.before],
        concurrency_limit=1,
        concurrency_id="export",
        **PRIVATE,
        show_progress="hidden",
    ).then(lambda: gr.update(value="Export", interactive=True), None, [tab.go], **AT_ONCE)


WORKING = '<div class="empty">Exporting. An adapter takes seconds, a merge about a minute for a small model.</div>'


def export(shared: Shared, downloads: Downloads, run_id: str | None, kind: str) -> tuple[str, str]:
    """Make the export and say how to use it."""
    if not run_id:
        return say("note", "Nothing to export", "Train something first; every finished run can be exported."), ""
    try:
        made = shared.studio.export(run_id, kind)
        run = shared.studio.history.run(run_id)
        return made_html(shared, downloads, run, made), earlier(shared, downloads, run_id, besides=made.id)
    except StudioError as error:
        return say("bad", "Not exported", str(error)), gr.skip()
    except OSError as error:
        return say("bad", "Not exported", f"The disk refused: {error.strerror}."), gr.skip()


def made_html(shared: Shared, downloads: Downloads, run: Run, made: Export) -> str:
    """A finished export: where it is, how large, and the lines to copy."""
    path = shared.studio.export_path(run.id, made)
    link = ""
    if path.is_file():
        name = escape(path.name)
        link = f'<p><a href="{downloads.link(path)}" download>Download {name}</a> ({words.size(made.size_bytes)})</p>'
    base = run.recipe["model"]["base_model"]
    name = str(shared.studio.settings.starter_model) if base == STARTER_MODEL else base
    code = usage(made.kind, str(path), name, made.report.get("dtype", "auto"))
    if base == STARTER_MODEL and made.kind == "adapter":
        code = STARTER_NOTE + code
    return (
        say("good", "Exported", f"{words.size(made.size_bytes)} at {path}")
        + link
        + f'<h3 class="t">How to use it</h3><pre class="code" tabindex="0">{escape(code)}</pre>'
    )


ASK = """
messages = [{"role": "user", "content": "Your question"}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, max_new_tokens=100, do_sample=False)
print(tokenizer.decode(output[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""
LOAD_ADAPTER = """# unzip {path} -d {folder}
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForCausalLM.from_pretrained("{base}", dtype="{dtype}")
model = PeftModel.from_pretrained(model, "{folder}")
"""
STARTER_NOTE = """# The base is the studio's copy of HuggingFaceTB/SmolLM2-135M-Instruct. Elsewhere take that name;
# where this copy was converted from a smaller file, the Hub's weights differ a little, and answers may too.
"""
LOAD_MERGED = """from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForCausalLM.from_pretrained("{path}")
"""


def usage(kind: str, path: str, base: str, dtype: str) -> str:
    """The shortest script that loads the export and asks it something."""
    load = LOAD_ADAPTER if kind == "adapter" else LOAD_MERGED
    return load.format(path=path, folder=path.removesuffix(".zip"), base=base, dtype=dtype) + ASK


def earlier(shared: Shared, downloads: Downloads, run_id: str | None, besides: str = "") -> str:
    """Earlier exports of the run, with their links."""
    if not run_id:
        return ""
    entries = []
    for made in shared.studio.history.exports(run_id):
        path = shared.studio.settings.runs / run_id / made.path
        if made.id == besides or not path.exists():
            continue
        name = escape(path.name)
        shown = f'<a href="{downloads.link(path)}" download>{name}</a>' if path.is_file() else name
        entries.append(f"<dt>{words.ago(made.created_at)}</dt><dd>{shown}, {words.size(made.size_bytes)}</dd>")
    return f'<h3 class="t">Made before</h3><dl class="facts">{"".join(entries)}</dl>' if entries else ""
