"""Where answers stand: by marks, by TRL's training variants, by prefixes; and what is refused instead of guessed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trl
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models
from transformers import PreTrainedTokenizerFast
from trl.chat_template_utils import get_training_chat_template

from studio.errors import InvalidInput
from studio.messages import Example, Message
from studio.ml.text import masking
from studio.ml.text.masking import masking_of
from studio.ml.text.tokens import IGNORED, tokenize

TRLS = Path(trl.__file__).parent / "chat_templates"

ONE = Example(({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}))
TWO = Example((*ONE.messages, {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "So long."}))


def tokenizer_for(template: str, eos: str = "<|stop|>") -> Any:
    """One token a byte, and one for each mark that stands in the template."""
    marks = re.findall(r"<[｜|][^<>{}']{1,30}[｜|]>|<(?:start|end)_of_turn>", template)
    special = list(dict.fromkeys(["<pad>", "<bos>", eos, *marks]))
    letters = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(token_models.BPE(vocab={token: n for n, token in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token=eos, pad_token="<pad>")
    made.chat_template = template
    return made


def trained(tokenizer: Any, example: Example, **loss: bool) -> list[str]:
    """The text of each unbroken stretch of trained tokens."""
    pieces: list[list[int]] = [[]]
    for label in tokenize(tokenizer, example, **loss).labels:
        if label == IGNORED:
            pieces.append([])
        else:
            pieces[-1].append(label)
    return [tokenizer.decode(piece) for piece in pieces if piece]


# -- the libraries' templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("qwen2_5", ["Hello!<|im_end|>", "So long.<|im_end|>"]),
        ("qwen3_instruct_2507", ["Hello!<|im_end|>", "So long.<|im_end|>"]),
        ("llama3", ["Hello!<|eot_id|>", "So long.<|eot_id|>"]),
        ("llama3_2", ["Hello!<|eot_id|>", "So long.<|eot_id|>"]),
        ("gemma", ["Hello!<end_of_turn>", "So long.<end_of_turn>"]),
        ("phi3", ["Hello!<|end|>", "So long.<|end|>"]),
        ("cohere2", ["Hello!<|END_RESPONSE|><|END_OF_TURN_TOKEN|>", "So long.<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"]),
        ("lfm2_2_5", ["Hello!<|im_end|>", "So long.<|im_end|>"]),
    ],
)
def test_answers_and_their_ends_are_found_in_known_templates(name: str, answers: list[str]) -> None:
    """Without the line breaks that TRL's marks take in, and without the <|endoftext|> that Phi-3 writes at the end."""
    tokenizer = tokenizer_for((TRLS / f"{name}.jinja").read_text())

    assert trained(tokenizer, TWO) == answers
    assert trained(tokenizer, TWO, completion_only_loss=True) == answers[1:]


def test_a_thinking_template_trains_one_answer_or_the_last_and_refuses_more() -> None:
    """Qwen3 writes an empty thought before the last answer only: what the first was given with is gone by then."""
    tokenizer = tokenizer_for((TRLS / "qwen3.jinja").read_text())

    assert trained(tokenizer, ONE) == ["<think>\n\n</think>\n\nHello!<|im_end|>"]
    assert trained(tokenizer, TWO, completion_only_loss=True) == ["<think>\n\n</think>\n\nSo long.<|im_end|>"]
    with pytest.raises(InvalidInput, match=r"Train the last answer only \(completion_only_loss\)") as caught:
        tokenize(tokenizer, TWO)
    assert caught.value.field == "training.assistant_only_loss"


def test_the_training_variants_are_those_that_trl_would_take() -> None:
    """Read from TRL's folder instead of asked for, because importing TRL costs seconds and 200 MB."""
    known = masking._training_variants()

    assert len(known) > 20
    for plain, variant in known.items():
        assert get_training_chat_template(tokenizer_for(plain)) == variant


def test_marks_and_prefixes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways to the same answers: what TRL's variant marks is what follows the rendered question."""
    for name in ("qwen2_5", "llama3", "gemma", "phi3", "qwen3_instruct_2507", "lfm2"):
        tokenizer = tokenizer_for((TRLS / f"{name}.jinja").read_text())
        by_marks = tokenize(tokenizer, TWO)
        with monkeypatch.context() as patch:
            patch.setattr(masking, "_training_variants", dict)
            assert tokenize(tokenizer, TWO) == by_marks, name


# -- marks of the template's own ------------------------------------------------------------------------------

MARKED = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ ANSWER }}{% endgeneration %}{{ AFTER }}{% else %}{{ m['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def marked(answer: str, after: str) -> Any:
    """A tokenizer whose template marks `answer`, and writes `after` behind it."""
    template = MARKED.replace("ANSWER", answer).replace("AFTER", after)
    return tokenizer_for(template + "{# <|user|><|assistant|><|system|><|end|> #}")


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        ("m['content'] + '<|end|>\\n'", "''"),
        ("m['content']", "'<|end|>\\n'"),  # without its end the model would never learn to stop
        ("m['content'] + '\\n'", "'<|end|>'"),
    ],
)
def test_a_marked_answer_is_trained_with_its_end(answer: str, after: str) -> None:
    pieces = trained(marked(answer, after), TWO)

    assert [piece.replace("\n", "") for piece in pieces] == ["Hello!<|end|>", "So long.<|end|>"]


def test_marks_that_do_not_hold_the_answer_are_not_believed() -> None:
    """They stand around something else here; the prefixes tell the truth."""
    tokenizer = marked("'thinking'", "m['content'] + '<|end|>'")

    assert trained(tokenizer, ONE) == ["thinkingHello!<|end|>"]


def test_a_way_of_masking_has_plain_words() -> None:
    assert "itself marks" in masking_of(marked("m['content'] + '<|end|>'", "''"))
    assert "training variant" in masking_of(tokenizer_for((TRLS / "llama3.jinja").read_text()))
    assert "up to each answer" in masking_of(tokenizer_for((TRLS / "llama3_2.jinja").read_text()))
    assert "completion_only_loss" in masking_of(tokenizer_for((TRLS / "qwen3.jinja").read_text()))
    assert "does not write the answer" in masking_of(tokenizer_for((TRLS / "smolvlm.jinja").read_text()))
    unmaskable = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}now{% endif %}"
    assert "cannot be told apart" in masking_of(tokenizer_for(unmaskable))
    without = tokenizer_for("")
    without.chat_template = None
    assert "no chat template" in masking_of(without)


# -- what a template leaves out -------------------------------------------------------------------------------


def test_a_template_that_does_not_write_the_answer_is_refused() -> None:
    """Templates of picture models write lists of parts and skip plain text in silence."""
    tokenizer = tokenizer_for((TRLS / "idefics3.jinja").read_text())

    for loss in ({}, {"assistant_only_loss": False}, {"completion_only_loss": True}):
        with pytest.raises(InvalidInput, match="does not write the answer as it is"):
            tokenize(tokenizer, ONE, **loss)


WEATHER = {"type": "function", "function": {"name": "weather_in", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "function": {"name": "weather_in", "arguments": {"city": "Oslo"}}}
ASKED: Message = {"role": "user", "content": "Oslo?"}
CALLS: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RETURNS: Message = {"role": "tool", "name": "weather_in", "content": "4 degrees"}
SAYS: Message = {"role": "assistant", "content": "Cold."}


def test_calls_are_answers_and_what_functions_return_is_not() -> None:
    tokenizer = tokenizer_for((TRLS / "qwen2_5.jinja").read_text())

    pieces = trained(tokenizer, Example((ASKED, CALLS, RETURNS, SAYS), tools=(WEATHER,)))

    call = '<tool_call>\n{"name": "weather_in", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
    assert [piece.strip() for piece in pieces] == [call, "Cold.<|im_end|>"]


@pytest.mark.parametrize(
    ("example", "lost"),
    [
        (Example((ASKED, SAYS), tools=(WEATHER,)), "the functions"),
        (Example((ASKED, CALLS)), "calls to functions"),
        (Example((ASKED, CALLS, RETURNS, SAYS), tools=(WEATHER,)), "the functions (tools) or calls to functions"),
    ],
)
@pytest.mark.parametrize("assistant_only_loss", [True, False])
def test_a_template_that_skips_tools_in_silence_is_refused(
    tokenizer: Any, example: Example, lost: str, assistant_only_loss: bool
) -> None:
    """The toy's ChatML writes roles and contents, like that of the starter model."""
    with pytest.raises(InvalidInput, match=re.escape(lost)) as caught:
        tokenize(tokenizer, example, assistant_only_loss=assistant_only_loss)

    assert caught.value.field == "model.chat_template"
    assert "Choose ChatML" in str(caught.value)
