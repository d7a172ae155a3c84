"""Tab 1, Model: choose a base model on the left; on the right what it is and what training it here would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio import words
from studio.errors import InvalidInput, StudioError
from studio.recipe import STARTER_MODEL, recipe_from_dict
from studio.services.paths import check_recipe_paths
from studio.ui.guard import told
from studio.ui.model_view import card_html
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

SOURCES = ("Starter", "Folder", "Hub")
STARTER_WORDS = (
    "SmolLM2-135M-Instruct\n135 M parameters, 269 MB, Apache-2.0. Small enough to learn in minutes on a laptop."
)
TEMPLATES = (
    ("the model's own", "own"),
    ("ChatML", "chatml"),
    ("Llama 3", "llama-3"),
    ("Llama 2", "llama-2"),
    ("Mistral", "mistral"),
    ("Gemma", "gemma"),
    ("Alpaca", "alpaca"),
    ("your own, in Jinja", "custom"),
)


@dataclass(frozen=True)
class ModelTab:
    """The tab's components."""

    source: Any
    starter: Any
    folder: Any
    search: Any
    found: Any
    hub_id: Any
    revision: Any
    template: Any
    jinja: Any
    message: Any
    card: Any
    use: Any

    @property
    def choice(self) -> list[Any]:
        """What decides the model, in the order that `chosen_part` takes it."""
        return [self.source, self.folder, self.hub_id, self.revision, self.template, self.jinja]


def build() -> ModelTab:
    """Lay the tab out."""
    with gr.Row(elem_classes="cols"):
        with gr.Column(elem_classes="left"), gr.Column(elem_classes="card"):
            piece(
                '<h2 class="t">Base model</h2><p class="sub">The model that will learn. It stays as it is; '
                "what it learns goes into a small adapter.</p>"
            )
            source = gr.Radio(SOURCES, value=SOURCES[0], show_label=False, container=False, elem_classes="segments")
            starter = gr.Radio(
                [STARTER_WORDS], value=STARTER_WORDS, show_label=False, container=False, elem_classes="choices"
            )
            folder = gr.Textbox(
                label="Folder or .gguf file",
                info="A model on this machine: safetensors with its tokenizer, or GGUF.",
                placeholder="/path/to/model",
                visible=False,
                max_lines=1,
            )
            search = gr.Textbox(
                label="Search the Hub",
                info="Press Enter. Or write the exact name below.",
                visible=False,
                placeholder="smollm2",
                max_lines=1,
            )
            found = gr.Radio([], show_label=False, container=False, visible=False, elem_classes="choices")
            hub_id = gr.Textbox(
                label="Hub name",
                info="owner/name, as in the model's address.",
                visible=False,
                placeholder="HuggingFaceTB/SmolLM2-360M-Instruct",
                max_lines=1,
            )
            with gr.Accordion("Revision and chat template", open=False, elem_classes="fold"):
                revision = gr.Textbox(
                    label="revision", info="Branch, tag or commit of a Hub model; empty takes the newest.", max_lines=1
                )
                template = gr.Dropdown(
                    list(TEMPLATES),
                    value="own",
                    label="chat_template",
                    info="How a conversation is written for the model. Choose another if it has none: ChatML is usual.",
                )
                jinja = gr.Textbox(
                    label="chat_template_jinja",
                    info="Your own template, as transformers reads it.",
                    visible=False,
                    lines=4,
                    max_lines=12,
                )
            message = piece("")
        with gr.Column(elem_classes="right"), gr.Column(elem_classes="card"):
            card = piece(
                '<div class="empty">Reading the model. The first look takes a few seconds.</div>', min_height=300
            )
            with gr.Row(elem_classes="actions"):
                use = gr.Button("Use this model", variant="primary", elem_id="use-model")
    return ModelTab(source, starter, folder, search, found, hub_id, revision, template, jinja, message, card, use)


def connect(tab: ModelTab, shared: Shared, demo: Any) -> None:
    """Wire the events."""
    look = told(lambda *values: look_at(shared, *values))
    gr.on(
        [demo.load, shared.adopted.change],
        fill_from_draft,
        [shared.draft],
        tab.choice,
        **AT_ONCE,
    ).then(look, tab.choice, [tab.card, tab.message], **PRIVATE, show_progress="hidden")
    tab.template.change(lambda name: gr.update(visible=name == "custom"), [tab.template], [tab.jinja], **AT_ONCE)
    tab.source.change(
        show_source, [tab.source], [tab.starter, tab.folder, tab.search, tab.found, tab.hub_id], **AT_ONCE
    )
    gr.on(
        [
            tab.source.change,
            tab.folder.submit,
            tab.folder.blur,
            tab.hub_id.submit,
            tab.hub_id.blur,
            tab.template.change,
            tab.jinja.blur,
        ],
        look,
        tab.choice,
        [tab.card, tab.message],
        trigger_mode="always_last",
        **PRIVATE,
        show_progress="minimal",
    )
    tab.search.submit(lambda text: search_hub(shared, text), [tab.search], [tab.found, tab.message], **PRIVATE)
    tab.found.input(lambda line: line.split("\n")[0] if line else "", [tab.found], [tab.hub_id], **AT_ONCE).then(
        look, tab.choice, [tab.card, tab.message], **PRIVATE, show_progress="minimal"
    )
    tab.use.click(
        lambda draft, count, *values: use_model(shared, draft, count, *values),
        [shared.draft, shared.preview, *tab.choice],
        [shared.draft, shared.tabs, tab.message, shared.preview],
        **PRIVATE,
    )


def fill_from_draft(draft: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    """Show the model that the browser remembers."""
    part = draft["model"]
    name = part["base_model"]
    source = SOURCES[0] if name == STARTER_MODEL else SOURCES[1] if name.startswith(("/", "~", ".")) else SOURCES[2]
    return (
        source,
        name if source == SOURCES[1] else "",
        name if source == SOURCES[2] else "",
        part.get("revision") or "",
        part.get("chat_template") or "own",
        part.get("chat_template_jinja") or "",
    )


def show_source(source: str) -> list[Any]:
    """Show the fields of one source and hide the others'."""
    on_hub = source == SOURCES[2]
    return [
        gr.update(visible=source == SOURCES[0]),
        gr.update(visible=source == SOURCES[1]),
        gr.update(visible=on_hub),
        gr.update(visible=False) if not on_hub else gr.skip(),
        gr.update(visible=on_hub),
    ]


def chosen_part(source: str, folder: str, hub_id: str, revision: str, template: str, jinja: str) -> dict[str, Any]:
    """The recipe's model part that the fields say. Raises InvalidInput when nothing is named yet."""
    name = {SOURCES[0]: STARTER_MODEL, SOURCES[1]: (folder or "").strip(), SOURCES[2]: (hub_id or "").strip()}[source]
    if not name:
        raise InvalidInput("Name a folder or a .gguf file." if source == SOURCES[1] else "Search, or write a Hub name.")
    return {
        "base_model": name,
        "revision": (revision or "").strip() or None,
        "chat_template": template,
        "chat_template_jinja": (jinja or "") if template == "custom" else "",
    }


def look_at(shared: Shared, *values: str) -> tuple[Any, str]:
    """The chosen model's card, or the sentence that says why there is none."""
    try:
        recipe = recipe_from_dict({"model": chosen_part(*values)})
        check_recipe_paths(recipe, shared.studio.settings)
        return card_html(shared.studio.server.ask("model", recipe)), ""
    except InvalidInput as error:
        if not (values[1] or values[2]) and values[0] != SOURCES[0]:
            return '<div class="empty">Name a model on the left to see what it is.</div>', ""
        return '<div class="empty">No model to show.</div>', say("bad", "Not usable", str(error))
    except StudioError as error:
        return '<div class="empty">No model to show.</div>', say("bad", "Not usable", str(error))


def search_hub(shared: Shared, text: str) -> tuple[Any, str]:
    """Search results as a list to choose from."""
    try:
        models = shared.studio.server.search((text or "").strip())
    except StudioError as error:
        return gr.update(choices=[], visible=False), say("bad", "The Hub", str(error))
    lines = [
        f"{m['id']}\n"
        + ", ".join(
            filter(
                None,
                [
                    f"{words.count(m['parameters'])} parameters" if m["parameters"] else "",
                    m["licence"],
                    "gated" if m["gated"] else "",
                    f"{m['downloads']:,} downloads",
                ],
            )
        )
        for m in models
    ]
    note = "" if lines else say("note", "Nothing found", "No model with safetensors weights has this in its name.")
    return gr.update(choices=lines, value=None, visible=bool(lines)), note


def use_model(shared: Shared, draft: dict[str, Any], count: int, *values: str) -> tuple[Any, Any, str, int]:
    """Take the model into the draft, if it can be used, and go on to the data."""
    try:
        part = chosen_part(*values)
        recipe = recipe_from_dict({"model": part})
        check_recipe_paths(recipe, shared.studio.settings)
        shared.studio.server.ask("model", recipe)
    except StudioError as error:
        return gr.skip(), gr.skip(), say("bad", "Not usable", str(error)), count
    return {**draft, "model": part}, gr.update(selected="data"), "", count + 1
