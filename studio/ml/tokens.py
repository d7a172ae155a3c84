"""From an example to the tokens the model sees, and which of them are trained.

The one code path for training and for the pictures of it. Answers are found by rendering the conversation up to each
answer and checking that this is a prefix of the whole: exact, or refused with a sentence, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from studio.errors import InvalidInput
from studio.messages import Example, Message

IGNORED = -100
"""Label of a token that is not trained (PyTorch's cross entropy skips it)."""


@dataclass(frozen=True)
class Tokens:
    """One row for the trainer: `labels[i]` is `input_ids[i]` where it is trained, else -100."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """Number of trained tokens."""
        return sum(label != IGNORED for label in self.labels)

    def cut_at(self, max_length: int) -> Tokens:
        """What is left after truncation, as the trainer does it: from the end."""
        return Tokens(self.input_ids[:max_length], self.labels[:max_length])


def render(tokenizer: Any, messages: Sequence[Message], *, for_answer: bool = False) -> str:
    """The conversation as one text; `for_answer` ends it where the model is to speak.

    Raises InvalidInput if there is no template or the template refuses these turns.
    """
    if tokenizer.chat_template is None:
        raise InvalidInput(
            "This model has no chat template, so it does not say how a conversation is written. Choose ChatML as the "
            "chat template on the Model page; it is then trained and saved with the adapter.",
            field="model.chat_template",
        )
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=for_answer)
    except TemplateError as error:
        raise InvalidInput(f"The model's chat template refuses these turns: {error}.", field="data.dataset") from error
    return str(text)


def tokenize(tokenizer: Any, example: Example, *, assistant_only_loss: bool = True) -> Tokens:
    """The tokens of one example, not yet cut.

    A conversation trains its answers with the token that ends each, or everything if `assistant_only_loss` is off.
    Plain text trains whole, with the end token added and no second begin token.
    """
    if example.text is not None:
        return _tokenize_text(tokenizer, example.text)
    text = render(tokenizer, example.messages)
    if not text.rstrip().endswith(tokenizer.eos_token):
        text = text.rstrip("\n") + tokenizer.eos_token  # a template without an end mark would teach never to stop
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    if not assistant_only_loss:
        return Tokens(ids, list(ids))
    spans = _answer_spans(tokenizer, example.messages, text)
    labels = []
    for token, (start, end) in zip(ids, encoded["offset_mapping"], strict=True):
        inside = any(start < span_end and end > span_start for span_start, span_end in spans)
        if any(start < span_start < end for span_start, _ in spans):
            raise InvalidInput(
                "One token holds the end of the question and the start of the answer, so the answer cannot be trained "
                "alone with this template. Turn off assistant_only_loss.",
                field="training.assistant_only_loss",
            )
        labels.append(token if inside else IGNORED)
    return Tokens(ids, labels)


def _tokenize_text(tokenizer: Any, text: str) -> Tokens:
    if text.rstrip().endswith(tokenizer.eos_token):
        text = text.rstrip()  # the end is marked already; a line break behind it would earn it a second mark
    has_begin = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    ids: list[int] = tokenizer(text, add_special_tokens=not has_begin)["input_ids"]
    if ids[-1] != tokenizer.eos_token_id:
        ids = [*ids, tokenizer.eos_token_id]
    return Tokens(ids, list(ids))


def _answer_spans(tokenizer: Any, messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
    """Where in `text` each answer stands, from its first character to the end of its end-of-turn mark."""
    spans = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:number], for_answer=True)
        through = text if number == len(messages) - 1 else render(tokenizer, messages[: number + 1])
        if not text.startswith(before) or not text.startswith(through.rstrip()):
            raise InvalidInput(
                "The model's chat template writes a conversation differently once an answer follows, so the answer's "
                "place is not certain. Turn off assistant_only_loss to train the whole conversation.",
                field="training.assistant_only_loss",
            )
        spans.append((len(before), len(through.rstrip())))
    return spans
