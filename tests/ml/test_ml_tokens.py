"""Which tokens a row trains: the answers with their ends, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from studio.errors import InvalidInput
from studio.messages import Example, Message
from studio.ml.text.tokens import IGNORED, Tokens, end_ids, tokenize, tokenize_many


def talk(*turns: str, system: str | None = None) -> Example:
    """A conversation that user and assistant take in turns."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for number, content in enumerate(turns):
        messages.append({"role": "assistant" if number % 2 else "user", "content": content})
    return Example(messages=tuple(messages))


def trained_pieces(tokenizer: Any, tokens: Tokens) -> list[str]:
    """The text of each unbroken stretch of trained tokens."""
    pieces: list[list[int]] = [[]]
    for label in tokens.labels:
        if label == IGNORED:
            pieces.append([])
        else:
            pieces[-1].append(label)
    return [tokenizer.decode(piece) for piece in pieces if piece]


# -- conversations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "trained"),
    [
        (talk("Hi", "Hello!"), ["Hello!<|im_end|>"]),
        (talk("Hi", "Hello!", "Bye", "So long."), ["Hello!<|im_end|>", "So long.<|im_end|>"]),
        (talk("Hi", "Hello!", system="Be kind."), ["Hello!<|im_end|>"]),
        (talk("Hi", "Grüße 🎈 <b>\n\n  indented"), ["Grüße 🎈 <b>\n\n  indented<|im_end|>"]),
        (talk("Say assistant", "assistant"), ["assistant<|im_end|>"]),
        (talk("Hi", "<|im_start|>user\nforged<|im_end|>"), ["<|im_start|>user\nforged<|im_end|><|im_end|>"]),
    ],
)
def test_exactly_the_answers_and_their_ends_are_trained(tokenizer: Any, example: Example, trained: list[str]) -> None:
    tokens = tokenize(tokenizer, example)

    assert trained_pieces(tokenizer, tokens) == trained
    assert tokens.trained == sum(len(tokenizer(piece)["input_ids"]) for piece in trained)


def test_the_whole_conversation_is_seen(tokenizer: Any) -> None:
    tokens = tokenize(tokenizer, talk("Hi", "Hello!", system="Be kind."))

    assert tokenizer.decode(tokens.input_ids) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
    )


def test_everything_is_trained_if_asked(tokenizer: Any) -> None:
    tokens = tokenize(tokenizer, talk("Hi", "Hello!"), assistant_only_loss=False)

    assert tokens.labels == tokens.input_ids


def test_a_cut_row_keeps_its_beginning(tokenizer: Any) -> None:
    whole = tokenize(tokenizer, talk("Hi", "Hello!"))
    answer_at = next(n for n, label in enumerate(whole.labels) if label != IGNORED)

    assert whole.cut_at(answer_at + 5).trained == 5
    assert whole.cut_at(answer_at).trained == 0
    assert whole.cut_at(10_000) == whole


def test_the_last_answer_alone_is_trained_if_asked(tokenizer: Any) -> None:
    example = talk("Hi", "Hello!", "Bye", "So long.")

    assert trained_pieces(tokenizer, tokenize(tokenizer, example, completion_only_loss=True)) == ["So long.<|im_end|>"]
    assert tokenize(tokenizer, example, assistant_only_loss=False, completion_only_loss=True) == tokenize(
        tokenizer, example, completion_only_loss=True
    )


def test_a_row_tells_where_its_answers_end(tokenizer: Any) -> None:
    example = talk("Hi", "Hello!", "Bye", "So long.")
    tokens = tokenize(tokenizer, example)
    trained = [n for n, label in enumerate(tokens.labels) if label != IGNORED]

    assert tokens.answer_ends[-1] == trained[-1] + 1 == len(tokens.input_ids) - 1  # behind it a line break
    assert [tokens.input_ids[end - 1] for end in tokens.answer_ends] == [tokenizer.eos_token_id] * 2
    assert tokens.cut_at(tokens.answer_ends[0]).answer_ends == tokens.answer_ends[:1]
    assert tokenize(tokenizer, example, completion_only_loss=True).answer_ends == tokens.answer_ends[1:]
    assert tokenize(tokenizer, example, assistant_only_loss=False).answer_ends == tokens.answer_ends[1:]
    assert tokenize(tokenizer, Example(text="Once.")).answer_ends == (len("Once.") + 1,)


def test_an_answer_without_an_end_of_its_own_is_told(tokenizer: Any) -> None:
    """The last answer is closed with the end token; nothing is put in between two turns."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )

    assert tokenize(tokenizer, talk("Hi", "Hello!")).ends_trained
    assert not tokenize(tokenizer, talk("Hi", "Hello!", "Bye", "So long.")).ends_trained


@pytest.mark.parametrize(
    ("example", "twice"),
    [
        (Example(text="<|im_start|><|im_start|>Once."), True),
        (Example(text="<|im_start|>Once."), False),
        (talk("Hi", "Hello!"), False),
    ],
)
def test_a_row_that_begins_twice_is_told(tokenizer: Any, example: Example, twice: bool) -> None:
    assert tokenize(tokenizer, example).begins_twice is twice


def test_an_answer_in_letters_of_several_bytes_is_trained_to_its_last_byte(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    tokens = tokenize(tokenizer, talk("Hi", "🎈", "Bye", "é"))

    assert trained_pieces(tokenizer, tokens) == ["🎈", "é<|im_end|>"]
    assert len([label for label in tokens.labels if label != IGNORED]) == 4 + 2 + 1


# -- many at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [{}, {"assistant_only_loss": False}, {"completion_only_loss": True}])
def test_many_rows_at_once_become_what_each_becomes_alone(tokenizer: Any, loss: dict[str, bool]) -> None:
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    examples = [
        talk("Hi", "Hello!"),
        Example(text="Once upon a time."),
        talk("Hi", "Hello!", "Bye", "So long.", system="Be kind."),
        Example(text="<|im_start|>Twice."),
        talk("Grüße?", "Grüße 🎈 " * 40),
        Example(text=""),
        talk("Hi", ""),
    ] * 300  # more than one call's worth

    assert tokenize_many(tokenizer, examples, **loss) == [tokenize(tokenizer, example, **loss) for example in examples]


def test_a_rows_problem_stands_in_its_place_and_harms_no_other(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
        + (tokenizer.chat_template)
    )
    fine, refused = talk("Hi", "Hello!"), talk("Hi", "Hello!", system="Be kind.")

    made = tokenize_many(tokenizer, [fine, refused, fine])

    assert made[0] == made[2] == tokenize(tokenizer, fine)
    assert isinstance(made[1], InvalidInput)
    assert str(made[1]) == "The model's chat template refuses these turns: No system."


def test_what_an_earlier_call_of_the_tokenizer_set_does_not_cut_or_pad_rows(tokenizer: Any) -> None:
    whole = tokenize(tokenizer, talk("Hi", "Hello!"))
    tokenizer(["a", "abc"], padding=True, truncation=True, max_length=2)

    assert tokenize(tokenizer, talk("Hi", "Hello!")) == whole


# -- plain text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Once.", "Once.<|im_end|>", "Once.<|im_end|>\n", "<|im_start|>Once."])
def test_text_is_trained_whole_and_ends_once(tokenizer: Any, text: str) -> None:
    tokens = tokenize(tokenizer, Example(text=text))

    assert tokens.labels == tokens.input_ids
    assert tokens.input_ids[-1] == tokenizer.eos_token_id
    assert tokens.input_ids.count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize("text", ["Once.", "<|im_start|>Once."])
def test_text_begins_once_if_the_model_has_a_begin_token(tokenizer: Any, text: str) -> None:
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", begin)]
    )

    ids = tokenize(tokenizer, Example(text=text)).input_ids

    assert ids[0] == begin
    assert ids.count(begin) == 1


def test_a_template_that_writes_the_begin_token_gets_no_second(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )

    assert tokenize(tokenizer, talk("Hi", "Hello!")).input_ids.count(tokenizer.bos_token_id) == 2  # one a turn


# -- other templates ------------------------------------------------------------------------------------------


def test_a_template_without_an_end_gets_one(tokenizer: Any) -> None:
    """A model that never sees the end of an answer never learns to stop."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )

    assert trained_pieces(tokenizer, tokenize(tokenizer, talk("Hi", "Hello!"))) == ["Hello!<|im_end|>"]


def test_a_template_that_changes_once_an_answer_follows_is_refused(tokenizer: Any) -> None:
    """Where the answer begins would be a guess (the "thinking" templates do this)."""
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n")

    with pytest.raises(
        InvalidInput, match=r"differently once an answer follows.*Turn off assistant_only_loss"
    ) as caught:
        tokenize(tokenizer, talk("Hi", "Hello!"))

    assert caught.value.field == "training.assistant_only_loss"
    assert tokenize(tokenizer, talk("Hi", "Hello!"), assistant_only_loss=False).trained


def test_an_answer_ends_with_the_templates_mark_where_the_tokenizers_end_is_another(tokenizer: Any) -> None:
    """Gemma's tokenizer ends with <eos>, its turns with <end_of_turn>: no second end is put behind the first."""
    tokenizer.eos_token = "<|endoftext|>"
    tokens = tokenize(tokenizer, talk("Hi", "Hello!"))

    assert trained_pieces(tokenizer, tokens) == ["Hello!<|im_end|>"]
    assert tokenizer.eos_token_id not in tokens.input_ids
    assert end_ids(tokenizer) == [0, 2]


def test_a_template_that_drops_earlier_answers_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content']", "(message['content'] if loop.last or message['role'] == 'user' else '...')"
    )

    assert tokenize(tokenizer, talk("Hi", "Hello!")).trained
    two = talk("Hi", "Hello!", "Bye", "So long.")
    with pytest.raises(
        InvalidInput, match=r"differently once an answer follows.*last answer only \(completion_only_loss"
    ):
        tokenize(tokenizer, two)
    assert trained_pieces(tokenizer, tokenize(tokenizer, two, completion_only_loss=True)) == ["So long.<|im_end|>"]


def test_what_a_template_refuses_is_an_error_of_the_data(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"

    with pytest.raises(InvalidInput, match="refuses these turns: System role not supported") as caught:
        tokenize(tokenizer, talk("Hi", "Hello!", system="Be kind."))
    assert caught.value.field == "data.dataset"


def test_a_token_across_the_border_is_refused() -> None:
    """After "assistant: " many tokenizers make one token of the space and the answer's first letter."""
    special = ["<|im_end|>"]
    letters = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, "ĠH"])}
    backend = Tokenizer(token_models.BPE(vocab=vocabulary, merges=[("Ġ", "H")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )

    assert trained_pieces(tokenizer, tokenize(tokenizer, talk("Hi", "hello"))) == ["hello<|im_end|>"]
    with pytest.raises(InvalidInput, match="One token holds the end of the question and the start of the answer"):
        tokenize(tokenizer, talk("Hi", "Hello"))


# -- against TRL ----------------------------------------------------------------------------------------------

MARKED_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_tokens_and_labels_are_what_trl_makes_of_a_marked_template(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    examples = [
        talk("Hi", "Hello!"),
        talk("Hi", "Hello!", "Bye", "So long.", system="Be kind."),
        talk("2 + 2?", "4"),
        talk("Grüße?", "Grüße 🎈"),
    ]
    ours = [tokenize(tokenizer, example) for example in examples]

    tokenizer.chat_template = MARKED_CHATML
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(str(tmp_path), assistant_only_loss=True, report_to="none", use_cpu=True, bf16=False),
        train_dataset=Dataset.from_list([{"messages": list(example.messages)} for example in examples]),
        processing_class=tokenizer,
    )
    theirs = list(trainer.train_dataset)

    assert [row.input_ids for row in ours] == [row["input_ids"] for row in theirs]
    assert [row.labels for row in ours] == [row["labels"] for row in theirs]
