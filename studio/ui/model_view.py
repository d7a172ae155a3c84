"""The right side of the Model tab as HTML: what a model is, and what training it here would take."""

from __future__ import annotations

from html import escape
from typing import Any

from studio import words
from studio.ui import charts

PARTS = (
    ("weights_bytes", "weights", "--c1"),
    ("adapter_bytes", "adapter and gradients", "--c4"),
    ("optimizer_bytes", "optimizer", "--c2"),
    ("activations_bytes", "activations and logits", "--c3"),
    ("process_bytes", "program", "--c5"),
)


def card_html(answer: dict[str, Any]) -> str:
    """The right side: what the model is, and the picture of what each method would take here."""
    card = answer["card"]
    template = (
        "has its own chat template"
        if card["has_chat_template"]
        else "no chat template of its own: choose one on the left, unless your texts bring theirs"
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
