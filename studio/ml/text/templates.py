"""Which chat template a tokenizer writes conversations with: its own, one of the recipe's, or that of the texts.

The named ones stand in chat_formats.py. Knows tokenizers; not models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import TemplateError, TemplateSyntaxError
from transformers.utils.chat_template_utils import render_jinja_template

from studio.errors import InvalidInput
from studio.ml.text import special_tokens
from studio.ml.text.chat_formats import ALPACA_PREAMBLE, TEMPLATES, NamedTemplate
from studio.recipe import ModelPart

WRONG_IN_A_TEMPLATE = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What a template's own expressions raise beside Jinja's errors."""


@dataclass(frozen=True)
class TemplateUsed:
    """Which chat template a run trains and saves, and who chose it."""

    name: str
    source: Literal["tokenizer", "recipe", "data", "none"]
    sentence: str


def template_used(tokenizer: Any, part: ModelPart, baked: str | None = None) -> TemplateUsed:
    """For the pages. `tokenizer` as `load_tokenizer` gives it; `baked` is the format that plain text carries along."""
    if part.chat_template == "custom":
        return TemplateUsed("custom", "recipe", "The recipe's own chat template writes the conversations.")
    if part.chat_template != "own":
        title = TEMPLATES[part.chat_template].title
        sentence = f"{title}, chosen in the recipe, writes the conversations and is saved with the adapter."
        if baked and baked != part.chat_template:
            sentence = (
                f"The texts are written as {title_of(baked)} and train so, but the recipe has Chat ask in "
                f"{title}. Set the chat template to the model's own, so that Chat asks as the texts do."
            )
        return TemplateUsed(part.chat_template, "recipe", sentence)
    if baked and baked not in TEMPLATES:
        return TemplateUsed(
            baked,
            "data",
            f"The texts are already written as {baked} and train as they are. The studio cannot write {baked} itself: "
            "Chat asks in the model's own template, and answers may differ from the texts.",
        )
    if baked:
        title = title_of(baked)
        return TemplateUsed(
            baked,
            "data",
            f"The texts are already written as {title}: they train as they are, and {title} is saved with the adapter.",
        )
    if tokenizer.chat_template is None:
        return TemplateUsed(
            "",
            "none",
            "This model has no chat template. For conversations choose one on the Model page, such as ChatML.",
        )
    return TemplateUsed("own", "tokenizer", "The model's own chat template writes the conversations.")


def title_of(name: str) -> str:
    """How people call a format: "Llama 2"; one that the studio only recognises goes by its short name."""
    return TEMPLATES[name].title if name in TEMPLATES else name


def choose_template(tokenizer: Any, part: ModelPart) -> None:
    """Give `tokenizer` the chat template that `part` names, with the tokens and the end that belong to it.

    Raises InvalidInput for a template of the recipe's own that is no Jinja.
    """
    if part.chat_template == "own":
        return
    if part.chat_template == "custom":
        tokenizer.chat_template = _checked(part.chat_template_jinja)
        return
    named = TEMPLATES[part.chat_template]
    special_tokens.add(tokenizer, named.tokens)
    knows_begin = bool(tokenizer.bos_token) and tokenizer.bos_token == named.begin
    begins = special_tokens.begins_by_itself(tokenizer)
    if named.tokens:
        tokenizer.eos_token = named.end
    # Where the format writes <s> at each turn, the tokenizer's own begin token takes its place
    begin = "bos_token" if knows_begin or (begins and named.begin) else "''"
    tokenizer.chat_template = _with_head(
        named, first="bos_token" if begins and not named.begin else "''", begin=begin, end="eos_token"
    )


def tokens_of(part: ModelPart) -> tuple[str, ...]:
    """The special tokens that the template chosen in `part` needs."""
    return TEMPLATES[part.chat_template].tokens if part.chat_template in TEMPLATES else ()


def adopt_baked_template(tokenizer: Any, name: str, sample: str = "") -> None:
    """Have `tokenizer` write conversations exactly as the texts do that carry the format `name` along.

    `sample` is one of the texts; it decides what the format leaves open (whether it begins with <s>, which words
    introduce human and assistant). No token is added: what the tokenizer does not know is plain text in training, too.
    """
    named = TEMPLATES[name]
    begin = named.begin if not sample or sample.startswith(named.begin) else ""
    begun = bool(tokenizer.bos_token) and (sample or begin).startswith(tokenizer.bos_token)
    first = "bos_token" if special_tokens.begins_by_itself(tokenizer) and not begun else "''"
    end = "eos_token" if not named.end else repr(named.end)
    tokenizer.chat_template = _with_head(named, first=first, begin=repr(begin), end=end, sample=sample)
    if named.end in tokenizer.added_tokens_encoder:
        tokenizer.eos_token = named.end
        special_tokens.choose_padding(tokenizer)


def plain_text_note(tokenizer: Any, name: str) -> str | None:
    """A sentence if the marks of the format `name` are ordinary text to this tokenizer, else None."""
    named = TEMPLATES[name]
    unknown = [mark for mark in (*named.tokens, named.end) if mark and mark not in tokenizer.added_tokens_encoder]
    if not unknown:
        return None
    return (
        f"The texts are written as {named.title}, whose {', '.join(dict.fromkeys(unknown))} this model does not know "
        f"as tokens. It learns them as ordinary text, and each answer ends with its own {tokenizer.eos_token} besides."
    )


def _with_head(named: NamedTemplate, *, first: str, begin: str, end: str, sample: str = "") -> str:
    """The template behind the values that it leaves open, each a Jinja expression."""
    head = {"first": first, "begin": begin, "end": end}
    if named is TEMPLATES["alpaca"]:
        before, found, _ = sample.partition("### Instruction:")
        head["preamble"] = repr(before if found and "### Input:" not in sample else ALPACA_PREAMBLE)
    if named is TEMPLATES["human-assistant"]:
        head |= _spoken_marks(sample)
    used = {name: value for name, value in head.items() if re.search(rf"\b{name}\b", named.jinja)}
    return "".join(f"{{% set {name} = {value} %}}" for name, value in used.items()) + named.jinja


def _spoken_marks(sample: str) -> dict[str, str]:
    """How a text introduces its speakers: "### Human:", and what stands before it and between the turns."""
    human = re.search(r"(?:### )?(?:Human|USER|User):", sample)
    assistant = re.search(r"(\s*)((?:### )?(?:Assistant|ASSISTANT):)", sample[human.end() :]) if human else None
    if human is None or assistant is None:
        return {"begin": "''", "human": "'Human:'", "assistant": "'Assistant:'", "gap": repr("\n\n")}
    before = sample[: human.start()]
    return {
        "begin": repr(before if before.isspace() else ""),
        "human": repr(human.group()),
        "assistant": repr(assistant.group(2)),
        "gap": repr(assistant.group(1)),
    }


def _checked(jinja: str) -> str:
    """The recipe's own template, if it is one. It runs in transformers' sandbox, here as in training."""

    def refuse(reason: str) -> InvalidInput:
        return InvalidInput(f"The chat template cannot be used: {reason}.", field="model.chat_template_jinja")

    if not jinja.strip():
        raise refuse("it is empty. Paste one, or choose another chat template")
    greeting = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    try:
        rendered, _ = render_jinja_template([greeting], chat_template=jinja, bos_token="", eos_token="")
    except TemplateSyntaxError as error:
        raise refuse(f"line {error.lineno} is no Jinja ({error.message})") from error
    except (TemplateError, *WRONG_IN_A_TEMPLATE) as error:
        raise refuse(f"it fails on one question and its answer ({error})") from error
    if "Hello" not in rendered[0]:
        raise refuse("it does not write the answer of a conversation")
    return jinja
