"""What the tests share: a real model of two layers, a studio home that uses it as its starter, and the real one.

The toy model answers nonsense, but it is a real Llama with a real tokenizer and ChatML template: everything that the
studio does with a model happens to it for real, in seconds.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from studio.recipe import Recipe
from studio.settings import Settings, read_settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests of the Hub talk to a fake on loopback
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_toy_model(folder: Path, *, chat_template: str | None = CHATML) -> Path:
    """Write a 2-layer, 32-wide Llama with a byte-level tokenizer (no merges) to `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
    )
    fast.chat_template = chat_template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the toy model. Tests that change files copy it first."""
    return make_toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def settings(tmp_path: Path, toy_model: Path) -> Settings:
    """A studio home of its own, with the toy model in the starter model's place."""
    made = read_settings(tmp_path / "home")
    made.make_folders()
    shutil.copytree(toy_model, made.starter_model)
    return made


@pytest.fixture
def quick_recipe() -> Recipe:
    """Four steps on a few starter rows: the shortest training that has everything."""
    return Recipe().changed(
        **{
            "data.max_rows": 24,
            "data.held_out_rows": 8,
            "training.max_steps": 4,
            "training.eval_steps": 2,
            "training.save_steps": 2,
            "training.warmup_steps": 0,
            "training.per_device_train_batch_size": 4,
            "training.dtype": "float32",
        }
    )


@pytest.fixture(scope="session")
def starter_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the real starter model, fetched once a test session (or taken from STUDIO_TEST_MODEL_HOME)."""
    from studio.ml.starter import ensure_starter

    given = os.environ.get("STUDIO_TEST_MODEL_HOME")
    made = read_settings(Path(given) if given else tmp_path_factory.mktemp("starter") / "home")
    ensure_starter(made, lambda fraction, doing: print(f"{fraction:.0%} {doing}"))
    return made
