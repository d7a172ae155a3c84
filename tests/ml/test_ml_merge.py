"""Exports load in the libraries that others use, and answer as the chat did."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.errors import NotFound, Refused
from studio.ml import devices
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.ml.merge import export
from studio.ml.train import train
from studio.recipe import Recipe, read_recipe
from studio.run_folder import RunFolder
from studio.settings import Settings

MakeRun = Callable[..., RunFolder]

QUESTIONS = ["Hi", "What is the capital of France?", "Is this good or bad?"]


def chat_answers(run: RunFolder, settings: Settings) -> list[str]:
    """What the chat says."""
    chat, sampling = ChatModel(settings), Sampling(max_new_tokens=32)
    return [
        "".join(chat.answer(f"run:{run.id}", [{"role": "user", "content": q}], sampling, threading.Event()))
        for q in QUESTIONS
    ]


def library_answers(model: Any, tokenizer: Any) -> list[str]:
    """What the libraries say, called as their documentation does."""
    answers = []
    for question in QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=32, do_sample=False)
        answers.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


def exported(run: RunFolder, kind: str, settings: Settings, target: Path) -> tuple[Path, dict[str, Any]]:
    """The export of `kind` and its report."""
    return target, export(run, kind, target, settings)


def test_the_adapter_zip_loads_in_plain_peft_and_answers_as_the_chat(
    talking_run: RunFolder, talking_model: Path, settings: Settings, tmp_path: Path
) -> None:
    file, report = exported(talking_run, "adapter", settings, tmp_path / "adapter.zip")
    with zipfile.ZipFile(file) as archive:
        assert set(archive.namelist()) == {path.name for path in talking_run.adapter.iterdir()}
        archive.extractall(tmp_path / "unpacked")

    base = AutoModelForCausalLM.from_pretrained(talking_model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, tmp_path / "unpacked")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "unpacked")

    assert library_answers(model, tokenizer) == chat_answers(talking_run, settings)
    assert report == {"base_model": str(talking_model), "dtype": "float32"}


def test_the_merged_model_loads_in_plain_transformers_and_answers_as_the_chat(
    talking_run: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    folder, report = exported(talking_run, "merged", settings, tmp_path / "merged")

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert type(model).__name__ == "LlamaForCausalLM"
    assert library_answers(model, tokenizer) == chat_answers(talking_run, settings)
    assert report["dtype"] == "float32"


def test_a_merge_is_no_copy_of_the_base(
    talking_run: RunFolder, talking_model: Path, settings: Settings, tmp_path: Path
) -> None:
    folder, _ = exported(talking_run, "merged", settings, tmp_path / "merged")

    before, after = load_file(talking_model / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name.split(".")[-2] for name in before if not before[name].equal(after[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture
def finished(make_run: MakeRun, settings: Settings, quick_recipe: Recipe) -> RunFolder:
    """A finished run on the bfloat16 toy model, trained in 4-bit."""
    folder = make_run(quick_recipe.changed(**{"quantization.method": "nf4"}))
    train(folder, settings)
    return folder


def test_a_merge_has_the_number_format_that_the_chat_answers_in(
    finished: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    folder, report = exported(finished, "merged", settings, tmp_path / "merged")

    tensors = load_file(folder / "model.safetensors")
    expected = devices.choose_answering_precision(devices.detect(), 1000).weights
    assert report["dtype"] == expected
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, expected)}
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_a_merged_models_card_says_how_to_load_it(finished: RunFolder, settings: Settings, tmp_path: Path) -> None:
    folder, _ = exported(finished, "merged", settings, tmp_path / "merged")

    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "Merged LoRA fine-tuning of `HuggingFaceTB/SmolLM2-135M-Instruct`" in card
    assert "PeftModel" not in card
    assert str(tmp_path) not in card


def test_a_merged_model_ends_its_answers_as_it_was_trained(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, toy_copy: Path, tmp_path: Path
) -> None:
    """A base model that ends with another token learned ChatML: plain `generate` has to stop at ChatML's end."""
    for name in ("config.json", "generation_config.json"):
        content = json.loads((toy_copy / name).read_text())
        (toy_copy / name).write_text(json.dumps({**content, "eos_token_id": 0}))
    content = json.loads((toy_copy / "tokenizer_config.json").read_text())
    (toy_copy / "tokenizer_config.json").write_text(json.dumps({**content, "eos_token": "<|endoftext|>"}))
    (toy_copy / "chat_template.jinja").unlink()
    run = make_run(quick_recipe.changed(**{"model.base_model": str(toy_copy), "model.chat_template": "chatml"}))
    train(run, settings)

    folder, _ = exported(run, "merged", settings, tmp_path / "merged")

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.chat_template is not None
    assert tokenizer.eos_token_id in model.generation_config.eos_token_id


# -- refusing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_a_run_without_an_adapter_cannot_be_exported(
    kind: str, make_run: MakeRun, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="Run tidy-otter has no adapter yet"):
        export(make_run(Recipe()), kind, tmp_path / "export", settings)


def test_a_merge_that_does_not_fit_on_the_disk_is_refused_with_both_numbers(
    finished: RunFolder, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))

    with pytest.raises(Refused, match=r"needs about 0\.0 GB of disk, 0\.0 GB are free"):
        export(finished, "merged", tmp_path / "merged", settings)
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_breaks_off_leaves_no_export(finished: RunFolder, settings: Settings, tmp_path: Path) -> None:
    (finished.adapter / "adapter_model.safetensors").write_bytes(b"broken")

    with pytest.raises(Exception, match="header"):
        export(finished, "merged", tmp_path / "merged", settings)
    assert not (tmp_path / "merged").exists()


def test_the_recipe_decides_the_base_not_the_adapters_own_words(
    finished: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    config = finished.adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "evil/model"}))

    _, report = exported(finished, "merged", settings, tmp_path / "merged")

    assert report["base_model"] == read_recipe(finished.recipe_file).model.base_model == "starter"
