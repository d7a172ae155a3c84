"""Tokens that a template brings: given a row, trained, saved, and the same answers wherever the adapter is asked."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from studio.errors import InvalidInput
from studio.messages import Example
from studio.ml import devices, loading, models
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.ml.loss import AnswersOnlyHead, answer_for_the_bias
from studio.ml.merge import export
from studio.ml.text import special_tokens
from studio.ml.text.collate import collator_for
from studio.ml.text.tokens import render, tokenize
from studio.ml.train import train
from studio.recipe import ModelPart, QuantizationPart, Recipe
from studio.run_folder import RunFolder
from studio.settings import Settings

MakeRun = Callable[..., RunFolder]

LLAMA_3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
QUESTIONS = ["Hi", "What is the capital of France?", "Is this good or bad?"]
GREETING = Example(({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}))


@pytest.fixture
def bare_model(talking_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a base model without a chat template: `bare_model(tied=True, spare_rows=2)`."""

    def make(*, tied: bool = False, spare_rows: int = 0) -> Path:
        folder = Path(shutil.copytree(talking_model, tmp_path / f"bare-{tied}-{spare_rows}"))
        (folder / "chat_template.jinja").unlink()
        config = LlamaConfig.from_pretrained(folder)
        config.tie_word_embeddings, config.vocab_size = tied, 259 + spare_rows
        torch.manual_seed(3)
        LlamaForCausalLM(config).save_pretrained(folder)
        return folder

    return make


def prepared(folder: Path, template: Any = "llama-3", method: Any = "none") -> tuple[Any, Any, list[int]]:
    """(model, tokenizer, rows to train), as training has them."""
    part = ModelPart(base_model=str(folder), chat_template=template)
    tokenizer = models.load_tokenizer(folder, part)
    device = devices.detect()
    model = loading.load_model(folder, QuantizationPart(method=method), device, devices.Precision("float32", "no"))
    loading.keep_trainable(model)
    return model, tokenizer, loading.learn_tokens(model, tokenizer, folder, part)


# -- rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_new_tokens_get_rows_that_are_the_mean_of_the_others(bare_model: Callable[..., Path], tied: bool) -> None:
    folder = bare_model(tied=tied)
    model, tokenizer, rows = prepared(folder)

    assert rows == [259, 260, 261] == [tokenizer.convert_tokens_to_ids(token) for token in LLAMA_3]
    assert model.config.vocab_size == 262
    known = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    grown = model.get_input_embeddings().weight
    assert grown[:259].equal(known)
    torch.testing.assert_close(grown[259:], known.mean(dim=0).expand(3, -1))
    assert model.get_output_embeddings().weight.shape[0] == 262
    assert (model.get_output_embeddings().weight is grown) is tied


def test_spare_rows_are_used_before_the_model_grows(bare_model: Callable[..., Path]) -> None:
    model, _, rows = prepared(bare_model(spare_rows=2))
    assert (rows, model.config.vocab_size) == ([259, 260, 261], 262)

    roomy, _, rows = prepared(bare_model(spare_rows=5))
    assert (rows, roomy.config.vocab_size) == ([259, 260, 261], 264)
    weights = roomy.get_input_embeddings().weight
    torch.testing.assert_close(weights[259:262], weights[:259].mean(dim=0).expand(3, -1))


def test_tokens_that_a_base_model_has_reserved_are_trained_too(bare_model: Callable[..., Path]) -> None:
    """It knows them by name, but without a chat template it has seen them in no text."""
    model, _, rows = prepared(bare_model(), "chatml")

    assert (rows, model.config.vocab_size) == ([1, 2], 259)


@pytest.mark.parametrize("template", ["own", "llama-2", "alpaca"])
def test_a_template_without_tokens_trains_none(bare_model: Callable[..., Path], template: str) -> None:
    model, _, rows = prepared(bare_model(), template)

    assert rows == []
    assert special_tokens.trainable_indices(model, rows) is None


def test_a_model_with_a_template_has_learned_its_tokens(talking_model: Path) -> None:
    assert prepared(talking_model, "chatml")[2] == []
    assert prepared(talking_model, "llama-3")[2] == [259, 260, 261]


def test_an_output_layer_with_a_bias_is_refused(bare_model: Callable[..., Path]) -> None:
    model, _, rows = prepared(bare_model())
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(262))

    with pytest.raises(InvalidInput, match="the output layer of this model has a bias"):
        special_tokens.trainable_indices(model, rows)


# -- the loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["none", "int8", "nf4"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_sees_the_trained_rows_as_trls_does(
    bare_model: Callable[..., Path], tmp_path: Path, tied: bool, method: str
) -> None:
    """TRL's own trainer stumbles over PEFT's wrapper (it asks for a bias); with that answered, both agree."""
    folder = bare_model(tied=tied)
    results = []
    for kind in (SFTTrainer, AnswersOnlyHead):
        model, tokenizer, rows = prepared(folder, method=method)
        row = tokenize(tokenizer, GREETING)
        torch.manual_seed(0)
        trainer = kind(
            model=model,
            args=SFTConfig(
                str(tmp_path), use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False, max_steps=1
            ),
            train_dataset=Dataset.from_dict({"input_ids": [row.input_ids], "labels": [row.labels]}),
            processing_class=tokenizer,
            data_collator=collator_for(tokenizer),
            peft_config=LoraConfig(
                r=2,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
                trainable_token_indices=special_tokens.trainable_indices(model, rows),
            ),
        )
        special_tokens.settle(trainer.model)
        answer_for_the_bias(trainer.model.get_base_model())
        trained = {n: p for n, p in trainer.model.named_parameters() if "trainable_tokens_delta" in n}
        with torch.no_grad():
            for parameter in trained.values():
                parameter += 0.1 * torch.arange(3)[:, None]  # otherwise the base's own rows would do
        batch = collator_for(tokenizer)([{"input_ids": row.input_ids, "labels": row.labels}])
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        assert len(trained) == (1 if tied else 2)
        assert {p.dtype for p in trained.values()} == {torch.float32}
        results.append((loss.item(), [p.grad for p in trained.values()]))

    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    for theirs, ours in zip(results[0][1], results[1][1], strict=True):
        assert ours.abs().sum() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


# -- from training to every place where it is asked -----------------------------------------------------------


@pytest.fixture
def trained_run(
    plain_cpu: None, settings: Settings, make_run: MakeRun, quick_recipe: Recipe
) -> Callable[..., RunFolder]:
    """Trains: `trained_run(folder, "name", **changes)`."""

    def run(base: Path, name: str, **changes: Any) -> RunFolder:
        values = {
            "model.base_model": str(base),
            "model.chat_template": "llama-3",
            "training.learning_rate": 0.05,
            "data.held_out_rows": 0,
        }
        folder = make_run(quick_recipe.changed(**{**values, **changes}), name)
        train(folder, settings)
        return folder

    return run


def ask(chat: ChatModel, model: str) -> list[str]:
    """The greedy answers of `model`."""
    sampling = Sampling(max_new_tokens=24)
    return [
        "".join(chat.answer(model, [{"role": "user", "content": q}], sampling, threading.Event())) for q in QUESTIONS
    ]


def library_answers(model: Any, tokenizer: Any, **arguments: Any) -> list[str]:
    """What the libraries say, called as the adapter's card shows."""
    answers = []
    for question in QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False, **arguments)
        answers.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_with_new_tokens_answers_alike_everywhere(
    bare_model: Callable[..., Path],
    trained_run: Callable[..., RunFolder],
    settings: Settings,
    tmp_path: Path,
    tied: bool,
) -> None:
    base = bare_model(tied=tied)
    run = trained_run(base, "grown")
    answers = ask(ChatModel(settings), f"run:{run.id}")
    assert any(answers)

    # the card's script
    tokenizer = AutoTokenizer.from_pretrained(run.adapter)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.resize_token_embeddings(262)
    model = PeftModel.from_pretrained(model, run.adapter)
    assert library_answers(model, tokenizer, eos_token_id=tokenizer.eos_token_id) == answers
    card = (run.adapter / "README.md").read_text()
    assert "model.resize_token_embeddings(262)" in card
    assert "eos_token_id = tokenizer.eos_token_id" in card

    # PEFT's own way, which grows the model by the tokenizer that lies beside the adapter
    config = run.adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": str(base)}))
    model = AutoPeftModelForCausalLM.from_pretrained(run.adapter, dtype=torch.float32)
    assert library_answers(model, tokenizer, eos_token_id=tokenizer.eos_token_id) == answers

    # merged: one model, which ends its answers by itself
    export(run, "merged", tmp_path / "merged", settings)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert merged.config.vocab_size == 262
    assert library_answers(merged, AutoTokenizer.from_pretrained(tmp_path / "merged")) == answers


def test_an_adapter_holds_the_new_rows_and_not_the_whole_embeddings(
    bare_model: Callable[..., Path], trained_run: Callable[..., RunFolder]
) -> None:
    run = trained_run(bare_model(), "grown")

    for folder in (run.adapter, *run.checkpoints.glob("checkpoint-*")):
        tensors = load_file(folder / "adapter_model.safetensors")
        embeddings = {name: tensor for name, tensor in tensors.items() if "embed" in name or "lm_head" in name}
        assert {tuple(tensor.shape) for tensor in embeddings.values()} == {(3, 32)}
        assert len(embeddings) == 2
    tokenizer = models.load_tokenizer(run.adapter, ModelPart())
    assert tokenizer.eos_token == "<|eot_id|>"
    assert render(tokenizer, GREETING.messages).startswith("<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>")


@pytest.mark.parametrize("method", ["int8", "nf4"])
def test_new_tokens_are_trained_on_a_quantized_base(
    bare_model: Callable[..., Path], trained_run: Callable[..., RunFolder], settings: Settings, method: str
) -> None:
    run = trained_run(bare_model(), "grown", **{"quantization.method": method})

    rows = load_file(run.adapter / "adapter_model.safetensors")
    deltas = [tensor for name, tensor in rows.items() if "trainable_tokens_delta" in name]
    assert len(deltas) == 2
    for delta in deltas:  # they all began at the same mean
        assert not delta[0].equal(delta[2])
        assert delta.dtype == torch.float32
    assert all(isinstance(answer, str) for answer in ask(ChatModel(settings), f"run:{run.id}"))


def test_runs_with_and_without_new_tokens_share_one_chat_model(
    bare_model: Callable[..., Path], trained_run: Callable[..., RunFolder], settings: Settings
) -> None:
    """Whatever order they are asked in: PEFT cannot grow embeddings under an adapter, and a base that grew for one
    run must not say the tokens of that run in the name of another."""
    base = bare_model()
    plain = trained_run(base, "plain", **{"model.chat_template": "alpaca"})
    grown = trained_run(base, "grown")
    more = trained_run(base, "gemma", **{"model.chat_template": "gemma", "training.seed": 5})
    models_asked = [f"{kind}:{run.id}" for run in (plain, grown, more) for kind in ("run", "base")]
    alone = {model: ask(ChatModel(settings), model) for model in models_asked}
    assert len({tuple(answers) for answers in alone.values()}) == len(alone)

    for order in (models_asked, models_asked[::-1], models_asked[2:] + models_asked[:2]):
        chat = ChatModel(settings)
        assert {model: ask(chat, model) for model in order} == alone
        assert {model: ask(chat, model) for model in order} == alone


def test_a_run_on_texts_with_a_format_of_their_own_is_asked_in_that_form(
    bare_model: Callable[..., Path], trained_run: Callable[..., RunFolder], settings: Settings, tmp_path: Path
) -> None:
    texts = tmp_path / "guanaco.jsonl"
    lines = [json.dumps({"text": f"<s>[INST] What is {n}+1? [/INST] It is {n + 1}. </s>"}) for n in range(20)]
    texts.write_text("\n".join(lines))
    run = trained_run(bare_model(), "guanaco", **{"model.chat_template": "own", "data.dataset": str(texts)})

    tokenizer = models.load_tokenizer(run.adapter, ModelPart())

    row = tokenize(tokenizer, Example(text=json.loads(lines[3])["text"])).input_ids
    prompt = render(tokenizer, [{"role": "user", "content": "What is 3+1?"}], for_answer=True)
    assert tokenizer.decode(row).startswith(f"{prompt} It is 4. </s>")
    assert any(ask(ChatModel(settings), f"run:{run.id}"))
    assert any(ask(ChatModel(settings), f"base:{run.id}"))
