"""Tab 1, Model: choose a base model on the left; on the right what it is and what training it here would take."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from studio import words
from studio.errors import InvalidInput, StudioError
from studio.recipe import STARTER_MODEL, recipe_from_dict
from studio.services.paths import check_recipe_paths
from studio.ui import charts
from studio.ui.guard import told
from studio.ui.run_view import say
from studio.ui.shared import AT_ONCE, PRIVATE, Shared, piece

SOURCES = ("Starter", "Folder", "Hub")
STARTER_WORDS = (
    "SmolLM2-135M-Instruct\n135 M parameters, 269 MB, Apache-2.0. Small enough to learn in minutes on a laptop."
)
PARTS = (
    ("weights_bytes", "weights", "--c1"),
    ("adapter_bytes", "adapter and gradients", "--c4"),
    ("optimizer_bytes", "optimizer", "--c2"),
    ("activations_bytes", "activations and logits", "--c3"),
    ("process_bytes", "program", "--c5"),
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
    message: Any
    card: Any
    use: Any

    @property
    def choice(self) -> list[Any]:
        """What decides the model, in the order that `chosen_part` takes it."""
        return [self.source, self.folder, self.hub_id, self.revision, self.template]


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
                template = gr.Radio(
                    [("the model's own", "own"), ("ChatML", "chatml")],
                    value="own",
                    label="chat_template",
                    info="How a conversation is written for the model. ChatML is for models without a template.",
                )
            message = piece("")
        with gr.Column(elem_classes="right"), gr.Column(elem_classes="card"):
            card = piece(
                '<div class="empty">Reading the model. The first look takes a few seconds.</div>', min_height=300
            )
            with gr.Row(elem_classes="actions"):
                use = gr.Button("Use this model", variant="primary", elem_id="use-model")
    return ModelTab(source, starter, folder, search, found, hub_id, revision, template, message, card, use)


def connect(tab: ModelTab, shared: Shared, demo: Any) -> None:
    """Wire the events."""
    look = told(lambda *values: look_at(shared, *values))
    gr.on(
        [demo.load, shared.adopted.change],
        fill_from_draft,
        [shared.draft],
        [tab.source, tab.folder, tab.hub_id, tab.revision, tab.template],
        **AT_ONCE,
    ).then(look, tab.choice, [tab.card, tab.message], **PRIVATE, show_progress="hidden")
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


def fill_from_draft(draft: dict[str, Any]) -> tuple[str, str, str, str, str]:
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


def chosen_part(source: str, folder: str, hub_id: str, revision: str, template: str) -> dict[str, Any]:
    """The recipe's model part that the fields say. Raises InvalidInput when nothing is named yet."""
    name = {SOURCES[0]: STARTER_MODEL, SOURCES[1]: (folder or "").strip(), SOURCES[2]: (hub_id or "").strip()}[source]
    if not name:
        raise InvalidInput("Name a folder or a .gguf file." if source == SOURCES[1] else "Search, or write a Hub name.")
    return {"base_model": name, "revision": (revision or "").strip() or None, "chat_template": template}


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
        answer = shared.studio.server.ask("model", recipe)
    except StudioError as error:
        return gr.skip(), gr.skip(), say("bad", "Not usable", str(error)), count
    if not answer["card"]["has_chat_template"] and part["chat_template"] == "own":
        return gr.skip(), gr.skip(), say("warn", "No chat template", NO_TEMPLATE), count
    return {**draft, "model": part}, gr.update(selected="data"), "", count + 1


NO_TEMPLATE = (
    "This model does not say how a conversation is written. Open “Revision and chat template” and choose ChatML: it is "
    "then taught, and saved with the adapter."
)


def card_html(answer: dict[str, Any]) -> str:
    """The right side: what the model is, and the picture of what each method would take here."""
    card = answer["card"]
    template = (
        "has its own chat template" if card["has_chat_template"] else "no chat template: choose ChatML on the left"
    )
    context = f"{card['context_length']:,} tokens" if card["context_length"] else "–"
    parameters = f"{words.count(card['parameters'])} ({card['parameters']:,})" if card["parameters"] else "–"
    entries = (
        ("Architecture", card["architecture"]),
        ("Parameters", parameters),
        ("Context", context),
        ("Conversation", template),
        ("Licence", licence_words(card["licence"])),
        ("Weights on disk", words.size(card["size_bytes"])),
    )
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in entries)
    return (
        f'<h2 class="t">{escape(card["name"])}</h2><dl class="facts">{facts}</dl>'
        '<h3 class="t">What training it here would take</h3>' + methods_html(answer)
    )


def licence_words(licence: str) -> str:
    """The licence with what it means in a plain word."""
    meaning = {
        "apache-2.0": "Apache-2.0: use, change and share freely, also commercially",
        "mit": "MIT: use, change and share freely, also commercially",
    }
    return meaning.get(licence, licence or "not stated: ask the owner before you share results")


def methods_html(answer: dict[str, Any]) -> str:
    """Full, LoRA and QLoRA side by side against the free memory: the whole idea of PEFT in one picture."""
    free = answer["memory_free_bytes"]
    widest = max(method["total_bytes"] for method in answer["methods"].values())
    rows = []
    for name, method in answer["methods"].items():
        bar = charts.stacked_bar([(word, method[key], colour) for key, word, colour in PARTS], widest)
        fits = "fits" if method["total_bytes"] < free else "too large"
        kind = "good" if fits == "fits" else "bad"
        rows.append(
            f'<b>{name}</b>{bar}<span class="num">about {words.size(method["total_bytes"])} '
            f'<span class="chip {kind}">{fits}</span></span>'
        )
    lora = answer["methods"]["LoRA"]
    trained = words.percent(lora["trainable_parameters"] / lora["total_parameters"], 1)
    return (
        f'<div class="methods">{"".join(rows)}</div>'
        + charts.legend([(word, colour) for _, word, colour in PARTS])
        + f'<p class="small">Full fine-tuning changes every weight. LoRA trains {trained} as many, in an adapter '
        f"beside the frozen model; QLoRA also stores the frozen model in 4 bits. For one row of 512 tokens at a time; "
        f"{words.size(free)} are free here.</p>"
    )
