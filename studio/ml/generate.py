"""Ask a loaded model: many prompts at once (greedy), or one conversation as a stream of text.

Knows a model and a tokenizer; not runs, adapters or servers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from studio.errors import InvalidInput
from studio.messages import Message
from studio.ml.text.special_tokens import rows_needed, rows_of
from studio.ml.text.tokens import end_ids, render


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token. temperature 0 is greedy: always the most likely, the same answer each time."""

    max_new_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `generate`."""
        if self.temperature <= 0:
            return {"max_new_tokens": self.max_new_tokens, "do_sample": False}
        return {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": True,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }


def encode(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation that the model is to answer."""
    text = render(tokenizer, messages, for_answer=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _tokens_of(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Where an answer ends, and what is never said: rows that belong to no token (or to another adapter's)."""
    unused = range(rows_needed(tokenizer), rows_of(model))
    return {
        "eos_token_id": end_ids(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "suppress_tokens": list(unused) or None,
    }


def answer_all(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int,
    batch_size: int = 20,
) -> list[str]:
    """Greedy answers to `prompts`, in their order. Batches are of similar length, padded on the left."""
    encoded = [encode(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number]))
    answers = [""] * len(encoded)
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = max(len(encoded[number]) for number in chosen)
        ids = torch.full((len(chosen), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, number in enumerate(chosen):
            ids[row, width - len(encoded[number]) :] = torch.tensor(encoded[number])
            mask[row, width - len(encoded[number]) :] = 1
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            **_tokens_of(model, tokenizer),
        )
        texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        for number, text in zip(chosen, texts, strict=True):
            answers[number] = text.strip()
    model.train(was_training)
    return answers


def check_length(model: Any, tokens: int) -> None:
    """Raise InvalidInput where no room is left for an answer: beyond its context a model talks rubbish."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and tokens >= limit:
        raise InvalidInput(
            f"The conversation has {tokens:,} tokens and this model reads at most {limit:,}. Clear the chat, "
            "or ask with a shorter text."
        )


class _StopWhenAsked(StoppingCriteria):
    def __init__(self, asked: threading.Event) -> None:
        self.asked = asked

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full((input_ids.shape[0],), self.asked.is_set(), device=input_ids.device)


def stream(
    model: Any, tokenizer: Any, messages: Sequence[Message], sampling: Sampling, stop: threading.Event
) -> Iterator[str]:
    """Pieces of the answer as they come. Setting `stop`, or closing the iterator, ends it at the next token.

    Errors of the model are raised here, in the caller's thread; InvalidInput for a conversation that is too long.
    """
    ids = torch.tensor([encode(tokenizer, messages)], device=model.device)
    check_length(model, ids.shape[1])
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            if sampling.temperature > 0:
                torch.manual_seed(sampling.seed)
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([_StopWhenAsked(stop)]),
                **_tokens_of(model, tokenizer),
                **sampling.arguments(),
            )
        except BaseException as error:
            failures.append(error)
            streamer.end()

    thread = threading.Thread(target=work, name="generate", daemon=True)
    thread.start()
    try:
        yield from (piece for piece in streamer if piece)
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
