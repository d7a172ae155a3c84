"""Texts that carry a chat template are known by their markers."""

from __future__ import annotations

import pytest

from studio.data.formats.baked import baked_template


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>"),
        ("llama-3", "<|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"),
        ("llama-4", "<|header_start|>user<|header_end|>\n\nq<|eot|>"),
        ("gemma", "<start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\na<end_of_turn>"),
        ("phi-3", "<|user|>\nq<|end|>\n<|assistant|>\na<|end|>"),
        ("zephyr", "<|user|>\nq</s>\n<|assistant|>\na</s>"),
        ("deepseek", "<｜User｜>q<｜Assistant｜>a"),
        ("harmony", "<|start|>user<|message|>q<|end|>"),
        ("command-r", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>q"),
        ("alpaca", "Below is an instruction.\n\n### Instruction:\nq\n\n### Response:\na"),
        ("human-assistant", "Human: q\n\nAssistant: a"),
        ("human-assistant", "### Human: q### Assistant: a"),
        ("vicuna", "A chat. USER: q ASSISTANT: a</s>"),
        ("llama-2", "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nq [/INST] a </s>"),
        ("llama-2", "<s>[INST] q [/INST] a </s><s>[INST] q [/INST] a </s>"),
        ("llama-2", "<s>[INST] q [/INST] a </s>"),
        ("mistral", "<s>[INST] q [/INST] a</s>[INST] q [/INST] a</s>"),
    ],
)
def test_each_template_is_known_by_its_markers(name: str, text: str) -> None:
    found = baked_template([text] * 10)

    assert found is not None
    assert found[:2] == (name, "certain")


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["Once upon a time."],
        ["The Human: a study. The Assistant: a play."],
        ["He said USER and left."],
        ["Only <|im_start|> here"],
    ],
)
def test_plain_texts_carry_no_template(texts: list[str]) -> None:
    assert baked_template(texts) is None


@pytest.mark.parametrize(
    ("carry", "sureness"), [(100, "certain"), (90, "certain"), (89, "likely"), (50, "likely"), (49, "guess")]
)
def test_the_share_of_texts_says_how_sure(carry: int, sureness: str) -> None:
    texts = ["<|im_start|>user\nq<|im_end|>"] * carry + ["plain"] * (100 - carry)
    found = baked_template(texts)

    assert found is not None
    assert found[1] == sureness
    assert (f"{carry} of 100 texts carry" in found[2]) == (carry < 100)


def test_a_few_texts_about_templates_are_no_template() -> None:
    assert baked_template(["<|im_start|>q<|im_end|>"] * 19 + ["plain"] * 81) is None


def test_llama_2_and_mistral_are_told_apart_only_where_they_differ() -> None:
    found = baked_template(["[INST] q [/INST] a"] * 5)

    assert found == (
        "llama-2",
        "likely",
        "every text carries [INST] and [/INST]; nothing in them tells Llama 2 from Mistral",
    )
