"""Asking a loaded model: many at once, or one as a stream."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.errors import InvalidInput
from studio.messages import Message
from studio.ml import devices, loading
from studio.ml.generate import Sampling, answer_all, encode, stream
from studio.recipe import QuantizationPart

QUESTIONS = ["Hi", "What is the capital of France, and why?", "x" * 50, "2 + 2?", "Grüße", "a", "b"]


@pytest.fixture
def talker(talking_model: Path) -> Any:
    """The talking toy in float32."""
    return loading.load_model(
        talking_model, QuantizationPart(), devices.detect(), devices.Precision("float32", "no")
    ).eval()


def ask(question: str) -> list[Message]:
    """A conversation of one question."""
    return [{"role": "user", "content": question}]


def streamed(model: Any, tokenizer: Any, question: str, **sampling: Any) -> list[str]:
    """The pieces of a streamed answer."""
    return list(stream(model, tokenizer, ask(question), Sampling(**sampling), threading.Event()))


def test_answers_come_in_the_order_of_the_questions_whatever_the_batches(talker: Any, tokenizer: Any) -> None:
    """Shorter ones are padded to the longest of their batch; no answer may notice."""
    prompts = [ask(question) for question in QUESTIONS]
    alone = [answer_all(talker, tokenizer, [prompt], max_new_tokens=24)[0] for prompt in prompts]

    assert len(set(alone)) == len(QUESTIONS), "each question has an answer of its own"
    for batch_size in (2, 3, 20):
        assert answer_all(talker, tokenizer, prompts, max_new_tokens=24, batch_size=batch_size) == alone


def test_no_questions_are_no_answers(talker: Any, tokenizer: Any) -> None:
    assert answer_all(talker, tokenizer, [], max_new_tokens=24) == []


@pytest.mark.parametrize("training", [True, False])
def test_asking_leaves_the_model_as_it_was(talker: Any, tokenizer: Any, training: bool) -> None:
    talker.train(training)

    answer_all(talker, tokenizer, [ask("Hi")], max_new_tokens=2)

    assert talker.training is training


def test_a_prompt_ends_where_the_model_is_to_speak(tokenizer: Any) -> None:
    text = tokenizer.decode(encode(tokenizer, ask("Hi")))

    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_pieces_of_a_stream_are_the_whole_answer(talker: Any, tokenizer: Any, question: str) -> None:
    whole = answer_all(talker, tokenizer, [ask(question)], max_new_tokens=40)[0]

    assert "".join(streamed(talker, tokenizer, question, max_new_tokens=40)).strip() == whole


def test_a_seed_repeats_a_sampled_answer(talker: Any, tokenizer: Any) -> None:
    one, again, other = (
        "".join(streamed(talker, tokenizer, "Hi", max_new_tokens=30, temperature=1.5, seed=seed)) for seed in (1, 1, 2)
    )

    assert one == again
    assert one != other


def test_stop_ends_the_answer_at_the_next_token(talker: Any, tokenizer: Any) -> None:
    stop = threading.Event()
    whole = "".join(streamed(talker, tokenizer, "Hi", max_new_tokens=300))

    pieces = stream(talker, tokenizer, ask("Hi"), Sampling(max_new_tokens=300), stop)
    stop.set()
    begun = "".join(pieces)

    assert len(tokenizer(begun, add_special_tokens=False)["input_ids"]) <= 4
    assert len(begun) < len(whole) / 10


def test_who_walks_away_leaves_no_thread_behind(talker: Any, tokenizer: Any) -> None:
    pieces = stream(talker, tokenizer, ask("Hi"), Sampling(max_new_tokens=800), threading.Event())
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]

    assert not [thread for thread in threading.enumerate() if thread.name == "generate"]


def test_an_error_of_the_model_is_raised_where_the_answer_is_read(talker: Any, tokenizer: Any) -> None:
    talker.lm_head.weight = torch.nn.Parameter(torch.zeros(259, 7))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        streamed(talker, tokenizer, "Hi", max_new_tokens=5)


def test_a_model_without_a_template_is_refused_before_anything_is_computed(talker: Any, tokenizer: Any) -> None:
    tokenizer.chat_template = None

    with pytest.raises(InvalidInput, match="Choose ChatML"):
        streamed(talker, tokenizer, "Hi")


def test_temperature_zero_is_greedy() -> None:
    assert Sampling(temperature=0.0).arguments() == {"max_new_tokens": 200, "do_sample": False}
    assert Sampling(temperature=0.7).arguments()["do_sample"] is True


def test_a_conversation_longer_than_the_model_can_read_is_refused(talker: Any, tokenizer: Any) -> None:
    limit = talker.config.max_position_embeddings
    with pytest.raises(InvalidInput, match=f"this model reads at most {limit:,}. Clear the chat".replace(".", r"\.")):
        streamed(talker, tokenizer, "x" * (limit + 1), max_new_tokens=4)


def test_rows_that_belong_to_no_token_are_never_said(talker: Any, tokenizer: Any) -> None:
    """Vocabularies are padded, and the embeddings of a base grow for the tokens of another run's adapter."""
    prompts = [ask(question) for question in QUESTIONS]
    before = answer_all(talker, tokenizer, prompts, 16)

    talker.resize_token_embeddings(262, mean_resizing=False)
    with torch.no_grad():  # two rows of which one always has a large score
        talker.lm_head.weight[259] = 100 * talker.lm_head.weight[40]
        talker.lm_head.weight[260] = -100 * talker.lm_head.weight[40]
    ids = torch.tensor([encode(tokenizer, prompts[0])])
    freely = talker.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False, pad_token_id=0
    )

    assert freely[0, -1] >= 259
    assert answer_all(talker, tokenizer, prompts, 16) == before
