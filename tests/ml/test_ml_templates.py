"""What each named template writes, which tokens it brings, and how texts that carry a format along are asked later."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from studio.errors import InvalidInput
from studio.messages import Example, Message
from studio.ml import models
from studio.ml.generate import encode
from studio.ml.text.special_tokens import begins_by_itself
from studio.ml.text.templates import TEMPLATES, adopt_baked_template, plain_text_note, template_used
from studio.ml.text.tokens import IGNORED, render, tokenize
from studio.recipe import ModelPart
from studio.recipe_fields import ChatTemplate

SYSTEM: Message = {"role": "system", "content": "Be kind."}
TALK: list[Message] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "So long."},
]


def chosen(toy_model: Path, name: Any) -> Any:
    """The toy's tokenizer with a template of the studio's. It begins nothing by itself and ends with <|im_end|>."""
    return models.load_tokenizer(toy_model, ModelPart(chat_template=name))


def llama_tokenizer(toy_model: Path, begin: str = "<s>", end: str = "</s>") -> Any:
    """A tokenizer that puts <s> in front of a text by itself and ends with </s>, like Llama's; without a template."""
    tokenizer = models.load_tokenizer(toy_model, ModelPart())
    tokenizer.add_special_tokens({"bos_token": begin, "eos_token": end})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = None
    return tokenizer


# -- chosen in the recipe -------------------------------------------------------------------------------------


def test_every_template_that_a_recipe_offers_is_there() -> None:
    assert {*get_args(ChatTemplate)} - {"own", "custom"} < set(TEMPLATES)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (
            "chatml",
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
            "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nSo long.<|im_end|>\n",
        ),
        (
            "llama-3",
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nSo long.<|eot_id|>",
        ),
        ("llama-2", "[INST] Hi [/INST] Hello! <|im_end|>[INST] Bye [/INST] So long. <|im_end|>"),
        ("mistral", "[INST] Hi [/INST] Hello!<|im_end|>[INST] Bye [/INST] So long.<|im_end|>"),
        (
            "gemma",
            "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\nSo long.<end_of_turn>\n",
        ),
        (
            "alpaca",
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nHi\n\n### Response:\nHello!<|im_end|>"
            "\n\n### Instruction:\nBye\n\n### Response:\nSo long.<|im_end|>",
        ),
    ],
)
def test_a_named_template_writes_its_format_and_trains_the_answers(toy_model: Path, name: str, written: str) -> None:
    tokenizer = chosen(toy_model, name)
    tokens = tokenize(tokenizer, Example(tuple(TALK)))

    assert render(tokenizer, TALK) == written
    assert written.startswith(render(tokenizer, TALK[:1], for_answer=True))
    learned = tokenizer.decode([label for label in tokens.labels if label != IGNORED])
    assert learned.replace(" ", "") == f"Hello!{tokenizer.eos_token}Solong.{tokenizer.eos_token}"
    assert tokens.ends_trained


@pytest.mark.parametrize("name", ["chatml", "llama-3", "llama-2", "mistral", "alpaca"])
def test_a_system_prompt_comes_first(toy_model: Path, name: str) -> None:
    text = render(chosen(toy_model, name), [SYSTEM, *TALK])

    assert -1 < text.index("Be kind.") < text.index("Hi")
    assert TEMPLATES[name].system


def test_gemma_refuses_a_system_prompt_in_a_sentence(toy_model: Path) -> None:
    with pytest.raises(InvalidInput, match="refuses these turns: it knows no system prompt"):
        render(chosen(toy_model, "gemma"), [SYSTEM, *TALK])
    assert not TEMPLATES["gemma"].system


@pytest.mark.parametrize("name", ["llama-2", "mistral", "gemma", "alpaca"])
def test_two_turns_of_one_speaker_are_refused(toy_model: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="user and assistant must alternate"):
        render(chosen(toy_model, name), [TALK[0], *TALK])


CALL = {"type": "function", "function": {"name": "weather_in", "arguments": {"city": "Oslo"}}}
TOOLS = ({"type": "function", "function": {"name": "weather_in", "description": "The weather"}},)
TOOL_TALK: tuple[Message, ...] = (
    {"role": "user", "content": "Oslo?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather_in", "content": "4 degrees"},
    {"role": "assistant", "content": "Cold."},
)


def test_chatml_writes_functions_calls_and_what_they_return(toy_model: Path) -> None:
    tokenizer = chosen(toy_model, "chatml")
    tokens = tokenize(tokenizer, Example((SYSTEM, *TOOL_TALK), tools=TOOLS))

    text = tokenizer.decode(tokens.input_ids)
    assert text.startswith("<|im_start|>system\nBe kind.\n\n")
    assert '"description": "The weather"' in text
    assert "<|im_start|>tool\n<tool_response>\n4 degrees\n</tool_response><|im_end|>\n" in text
    learned = tokenizer.decode([label for label in tokens.labels if label != IGNORED])
    call = '<tool_call>\n{"name": "weather_in", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
    assert learned == f"{call}Cold.<|im_end|>"


@pytest.mark.parametrize("name", ["llama-3", "llama-2", "mistral", "gemma", "alpaca"])
def test_formats_without_tools_refuse_them(toy_model: Path, name: str) -> None:
    tokenizer = chosen(toy_model, name)

    with pytest.raises(InvalidInput, match="it cannot write turns of tools or calls"):
        render(tokenizer, TOOL_TALK)
    with pytest.raises(InvalidInput, match="it cannot write functions"):
        render(tokenizer, TALK, tools=TOOLS)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("llama-3", "<s><|start_header_id|>"),
        ("llama-2", "<s>[INST] "),
        ("mistral", "<s>[INST] "),
        ("gemma", "<s><start_of_turn>"),
        ("chatml", "<s><|im_start|>"),
        ("alpaca", "<s>Below"),
    ],
)
def test_a_model_that_knows_texts_with_a_begin_token_gets_one(toy_copy: Path, name: str, start: str) -> None:
    llama_tokenizer(toy_copy).save_pretrained(toy_copy)
    (toy_copy / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = chosen(toy_copy, name)
    tokens = tokenize(tokenizer, Example(tuple(TALK)))

    assert begins_by_itself(tokenizer)
    assert render(tokenizer, TALK).startswith(start)
    assert tokens.input_ids[0] == tokenizer.bos_token_id
    assert not tokens.begins_twice


@pytest.mark.parametrize(
    ("name", "end"), [("llama-3", "<|eot_id|>"), ("gemma", "<end_of_turn>"), ("chatml", "<|im_end|>")]
)
def test_tokens_that_a_format_needs_become_one_token_each(toy_model: Path, name: str, end: str) -> None:
    tokenizer = chosen(toy_model, name)

    assert tokenizer.eos_token == end
    for token in TEMPLATES[name].tokens:
        assert len(tokenizer(f"a{token}b", add_special_tokens=False)["input_ids"]) == 3
    assert tokenizer.pad_token != end


# -- the recipe's own -----------------------------------------------------------------------------------------


def custom(jinja: str) -> ModelPart:
    """A recipe with its own template."""
    return ModelPart(chat_template="custom", chat_template_jinja=jinja)


def test_a_template_of_the_recipes_own_is_used(toy_model: Path) -> None:
    part = custom("{% for m in messages %}{{ m['role'] }}={{ m['content'] }};{% endfor %}")

    assert render(models.load_tokenizer(toy_model, part), TALK[:2]) == "user=Hi;assistant=Hello!;"


@pytest.mark.parametrize(
    ("jinja", "reason"),
    [
        ("", "it is empty"),
        ("{% for m in messages %}\n{{ m['content'] }}\n{% endfo %}", "line 3 is no Jinja"),
        ("{{ messages[0]['content'] + 1 }}", "it fails on one question and its answer"),
        ("{{ nowhere.at.all }}", "it fails on one question and its answer"),
        ("{{ ''.__class__.__mro__ }}", "it fails on one question and its answer"),
        ("Good morning", "it does not write the answer"),
    ],
)
def test_a_template_that_cannot_work_is_refused(toy_model: Path, jinja: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=f"The chat template cannot be used: {reason}") as caught:
        models.load_tokenizer(toy_model, custom(jinja))

    assert caught.value.field == "model.chat_template_jinja"


# -- carried along by the texts -------------------------------------------------------------------------------

GUANACO = "<s>[INST] What is 2+2? [/INST] It is 4. </s>"


def asked_as_trained(tokenizer: Any, text: str, question: str) -> str:
    """What the model has to say to `question` so that question and answer are the row's tokens."""
    row = tokenize(tokenizer, Example(text=text)).input_ids
    prompt = encode(tokenizer, [{"role": "user", "content": question}])
    assert row[: len(prompt)] == prompt
    return str(tokenizer.decode(row[len(prompt) :]))


@pytest.mark.parametrize("begin", ["<s>", "<|begin_of_text|>"])
def test_texts_written_as_llama_2_are_asked_in_just_that_form(toy_model: Path, begin: str) -> None:
    """With Llama's own tokens <s> is the begin token; to a model with another one it is text, behind its own."""
    tokenizer = llama_tokenizer(toy_model, begin)
    adopt_baked_template(tokenizer, "llama-2", GUANACO)

    assert asked_as_trained(tokenizer, GUANACO, "What is 2+2?") == " It is 4. </s>"
    assert not tokenize(tokenizer, Example(text=GUANACO)).begins_twice
    assert render(tokenizer, TALK[:2]).endswith("<s>[INST] Hi [/INST] Hello! </s>")


def test_a_model_that_lacks_the_marks_learns_them_as_text_and_says_so(tokenizer: Any) -> None:
    adopt_baked_template(tokenizer, "llama-2", GUANACO)

    assert asked_as_trained(tokenizer, GUANACO, "What is 2+2?") == " It is 4. </s><|im_end|>"
    assert tokenizer.eos_token == "<|im_end|>"
    note = plain_text_note(tokenizer, "llama-2")
    assert note is not None
    assert "</s> this model does not know as tokens" in note


def test_a_model_that_knows_the_marks_needs_no_note(toy_model: Path, tokenizer: Any) -> None:
    assert plain_text_note(llama_tokenizer(toy_model), "llama-2") is None
    assert plain_text_note(tokenizer, "chatml") is None
    assert plain_text_note(tokenizer, "alpaca") is None


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("llama-2", "[INST] Hi [/INST] Hello! </s>", " Hello! </s>"),
        ("chatml", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>", "Hello!<|im_end|>"),
        (
            "llama-3",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>",
            "Hello!<|eot_id|>",
        ),
        (
            "gemma",
            "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>",
            "Hello!<end_of_turn>",
        ),
        ("alpaca", "Answer well.\n\n### Instruction:\nHi\n\n### Response:\nHello!", "Hello!"),
        ("alpaca", "### Instruction:\nHi\n\n### Response:\nHello!", "Hello!"),
        ("human-assistant", "### Human: Hi### Assistant: Hello!", " Hello!"),
        ("human-assistant", "\n\nHuman: Hi\n\nAssistant: Hello!", " Hello!"),
        ("human-assistant", "USER: Hi\nASSISTANT: Hello!", " Hello!"),
        ("zephyr", "<|user|>\nHi</s>\n<|assistant|>\nHello!</s>", "Hello!</s>"),
        ("phi-3", "<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>", "Hello!<|end|>"),
    ],
)
@pytest.mark.parametrize("kind", ["toy", "llama"])
def test_each_carried_format_is_asked_as_its_texts_are_written(
    toy_model: Path, kind: str, name: str, text: str, answer: str
) -> None:
    tokenizer = llama_tokenizer(toy_model) if kind == "llama" else models.load_tokenizer(toy_model, ModelPart())
    adopt_baked_template(tokenizer, name, text)

    said = asked_as_trained(tokenizer, text, "Hi")

    assert said in (answer, answer + tokenizer.eos_token)
    assert said.endswith(tokenizer.eos_token)


def test_without_a_sample_the_format_stands_as_it_is_described(toy_model: Path) -> None:
    tokenizer = models.load_tokenizer_for(toy_model, ModelPart(), "llama-2")

    assert render(tokenizer, TALK[:1], for_answer=True) == "<s>[INST] Hi [/INST]"


def test_a_template_chosen_in_the_recipe_is_kept_whatever_the_texts_carry(toy_model: Path) -> None:
    part = ModelPart(chat_template="alpaca")

    assert "### Instruction" in models.load_tokenizer_for(toy_model, part, "llama-2", GUANACO).chat_template


def test_an_adopted_template_is_saved_with_the_tokenizer(toy_model: Path, tmp_path: Path) -> None:
    tokenizer = llama_tokenizer(toy_model)
    adopt_baked_template(tokenizer, "llama-2", GUANACO)
    tokenizer.save_pretrained(tmp_path)

    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)

    assert render(loaded, TALK) == render(tokenizer, TALK)


def test_signs_of_jinja_in_a_sample_are_text(tokenizer: Any) -> None:
    text = "{{ 1 }} {% if 'x' %}\n\n### Instruction:\nHi\n\n### Response:\nHello!"
    adopt_baked_template(tokenizer, "alpaca", text)

    assert asked_as_trained(tokenizer, text, "Hi") == "Hello!<|im_end|>"


# -- which is used --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "baked", "name", "source", "words"),
    [
        (ModelPart(), None, "own", "tokenizer", "The model's own chat template"),
        (ModelPart(chat_template="llama-3"), None, "llama-3", "recipe", "Llama 3, chosen in the recipe"),
        (ModelPart(), "llama-2", "llama-2", "data", "already written as Llama 2"),
        (ModelPart(chat_template="chatml"), "llama-2", "chatml", "recipe", "has Chat ask in ChatML"),
        (custom("{{ messages }}"), None, "custom", "recipe", "own chat template"),
    ],
)
def test_it_is_told_which_template_is_used_and_who_chose_it(
    tokenizer: Any, part: ModelPart, baked: str | None, name: str, source: str, words: str
) -> None:
    used = template_used(tokenizer, part, baked)

    assert (used.name, used.source) == (name, source)
    assert words in used.sentence


def test_a_model_without_a_template_is_told(tokenizer: Any) -> None:
    tokenizer.chat_template = None

    assert template_used(tokenizer, ModelPart()).source == "none"
