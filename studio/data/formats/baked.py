"""Texts that have a chat template written into them already: which template, how sure, and why.

Knows marker strings only, no tokenizer and no columns. It matters because such a text must not get a second template,
and because its markers must become the model's special tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

Sureness = Literal["certain", "likely", "guess"]

LOOKED_AT = 200
"""Texts that are looked at, at most."""
CERTAIN_SHARE, LIKELY_SHARE, LEAST_SHARE = 0.9, 0.5, 0.2
"""Share of the texts that carry the markers: certain, likely, and where it is no more than chance."""

MARKERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("llama-3", ("<|start_header_id|>", "<|end_header_id|>")),
    ("llama-4", ("<|header_start|>", "<|header_end|>")),
    ("chatml", ("<|im_start|>", "<|im_end|>")),
    ("gemma", ("<start_of_turn>", "<end_of_turn>")),
    ("harmony", ("<|start|>", "<|message|>")),
    ("command-r", ("<|START_OF_TURN_TOKEN|>",)),
    ("deepseek", ("<｜User｜>", "<｜Assistant｜>")),
    ("phi-3", ("<|user|>", "<|end|>")),
    ("zephyr", ("<|user|>", "<|assistant|>")),
    ("llama-2", ("[INST]", "[/INST]")),
    ("alpaca", ("### Instruction:", "### Response:")),
)
"""Template -> what stands in every text that it was written into; the first that fits counts."""
_SPEAKERS: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...] = (
    (
        "human-assistant",
        re.compile(r"(?:^|\n|### ?)(?:Human|User): ?", re.ASCII),
        re.compile(r"(?:\n|### ?)Assistant:", re.ASCII),
    ),
    ("vicuna", re.compile(r"(?:^|\s)USER: "), re.compile(r"\sASSISTANT:")),
)
_SPACED_END = re.compile(r"\[/INST\] [^\[]*? </s>")
_TIGHT_END = re.compile(r"\[/INST\][^\[]*?\S</s>")


def baked_template(texts: Sequence[str]) -> tuple[str, Sureness, str] | None:
    """(name, how sure, why) of the template that most of `texts` carry; None when they are plain texts."""
    looked_at = [text for text in texts[:LOOKED_AT] if text.strip()]
    counts = Counter(name for text in looked_at if (name := _template_of(text)) is not None)
    if not counts:
        return None
    (name, count), total = counts.most_common(1)[0], len(looked_at)
    if count < LEAST_SHARE * total:
        return None
    sureness: Sureness = "guess"
    if count >= LIKELY_SHARE * total:
        sureness = "certain" if count >= CERTAIN_SHARE * total else "likely"
    where = "every text" if count == total else f"{count} of {total} texts"
    if name == "llama-2":
        return _llama_2_or_mistral([text for text in looked_at if _template_of(text) == name], where, sureness)
    return name, sureness, f"{where} carries {_seen(name)}" if count in (1, total) else f"{where} carry {_seen(name)}"


def _template_of(text: str) -> str | None:
    for name, markers in MARKERS:
        if all(marker in text for marker in markers):
            return name
    for name, asks, answers in _SPEAKERS:
        if asks.search(text) and answers.search(text):
            return name
    return None


def _seen(name: str) -> str:
    markers = dict(MARKERS).get(name)
    if markers is not None:
        return " and ".join(markers)
    return "USER: and ASSISTANT:" if name == "vicuna" else "Human: and Assistant:"


def _llama_2_or_mistral(texts: Sequence[str], where: str, sureness: Sureness) -> tuple[str, Sureness, str]:
    """Both write [INST]; Llama 2 alone has <<SYS>>, opens every turn with <s>, and puts a blank before </s>."""
    carry = f"{where} carries [INST] and [/INST]" if where == "every text" else f"{where} carry [INST] and [/INST]"
    for sign in ("<<SYS>>", "</s><s>[INST]", "</s><s> [INST]"):
        if any(sign in text for text in texts):
            return "llama-2", sureness, f"{carry}, and some {sign} as only Llama 2 writes it"
    spaced = sum(_SPACED_END.search(text) is not None for text in texts)
    tight = sum(_TIGHT_END.search(text) is not None for text in texts)
    if spaced > tight:
        return "llama-2", sureness, f"{carry}, and a blank before </s> as Llama 2 writes it"
    if tight > spaced:
        return "mistral", sureness, f"{carry}, and no blank before </s> as Mistral writes it"
    unsure: Sureness = "likely" if sureness == "certain" else sureness
    return "llama-2", unsure, f"{carry}; nothing in them tells Llama 2 from Mistral"
