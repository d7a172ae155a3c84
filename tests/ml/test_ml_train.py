"""Whole trainings of the toy model: what they leave on disk, what they tell, and how they end."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from studio.data.dataset import load
from studio.errors import InvalidInput, StudioError
from studio.ml import devices, loading, models
from studio.ml.callbacks import checkpoint_folders
from studio.ml.devices import Precision
from studio.ml.generate import encode
from studio.ml.loss import AnswersOnlyHead
from studio.ml.prepare import Prepared, prepare
from studio.ml.train import lora_config, sft_config, train
from studio.recipe import AdapterPart, ModelPart, QuantizationPart, Recipe, read_recipe
from studio.run_folder import RunFolder
from studio.runs import Run, RunStatus
from studio.settings import Settings
from studio.worker import run_training

MakeRun = Callable[..., RunFolder]

TRAINABLE = 16 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
"""r=16 on two blocks: q and o are 32x32, k and v 32x16, gate, up and down 32x64."""


@pytest.fixture
def trained(make_run: MakeRun, quick_recipe: Recipe, settings: Settings) -> RunFolder:
    """A finished training of four steps."""
    folder = make_run(quick_recipe)
    train(folder, settings)
    return folder


def losses(folder: RunFolder, name: str = "loss") -> list[float]:
    """One metric over the steps."""
    return [metric.value for metric in folder.metrics()[0] if metric.name == name]


def statuses(folder: RunFolder) -> list[str]:
    """The run's statuses in order."""
    return [event["status"] for event in folder.events()[0] if event["event"] == "status"]


def train_of(make_run: MakeRun, settings: Settings, recipe: Recipe, name: str = "other") -> RunFolder:
    """A finished run of `recipe`."""
    folder = make_run(recipe, name)
    train(folder, settings)
    return folder


# -- what is left ---------------------------------------------------------------------------------------------


def test_the_adapter_folder_is_pefts_with_tokenizer_and_card(trained: RunFolder) -> None:
    assert {file.name for file in trained.adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


def test_the_run_folder_holds_no_pickle_of_arguments_and_nothing_half_done(trained: RunFolder) -> None:
    names = {path.name for path in trained.path.rglob("*")}

    assert "training_args.bin" not in names
    assert not [name for name in names if name.endswith(".tmp")]


def test_the_adapter_names_its_base_model_for_others(trained: RunFolder) -> None:
    config = json.loads((trained.adapter / "adapter_config.json").read_text())
    card = (trained.adapter / "README.md").read_text()

    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card.startswith("---\nbase_model: HuggingFaceTB/SmolLM2-135M-Instruct\n")
    assert "learning_rate: 0.001" in card


def test_an_adapter_to_share_does_not_tell_about_this_machine(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, toy_model: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "my rows.jsonl"
    rows.write_text('{"prompt": "2 + 2?", "completion": "4"}\n' * 10)
    recipe = quick_recipe.changed(**{"model.base_model": str(toy_model), "data.dataset": str(rows)})

    folder = train_of(make_run, settings, recipe)

    for name in ("README.md", "adapter_config.json", "tokenizer_config.json"):
        text = (folder.adapter / name).read_text()
        assert str(tmp_path) not in text
        assert str(toy_model.parent) not in text
    assert json.loads((folder.adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "toy"
    assert "my rows.jsonl" in (folder.adapter / "README.md").read_text()


def test_the_adapter_learned_and_the_base_did_not(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings.starter_model / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    trained_models = []
    load_model = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *a: trained_models.append(load_model(*a)) or trained_models[0])

    folder = train_of(make_run, settings, quick_recipe)

    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    in_memory = {n.replace(".base_layer", ""): t for n, t in trained_models[0].state_dict().items()}
    for name, tensor in load_file(file).items():
        assert in_memory[name].equal(tensor.float())
    learned = load_file(folder.adapter / "adapter_model.safetensors")
    assert all("lora_" in name for name in learned)
    assert all(tensor.any() for name, tensor in learned.items() if "lora_B" in name), "B starts at zero"


def test_the_adapter_loads_in_plain_peft_with_every_weight(trained: RunFolder, settings: Settings) -> None:
    base = LlamaForCausalLM.from_pretrained(settings.starter_model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, trained.adapter)

    weights = {n.replace(".default", ""): t for n, t in loaded.named_parameters() if "lora_" in n}
    saved = load_file(trained.adapter / "adapter_model.safetensors")
    assert weights.keys() == saved.keys()
    assert sum(tensor.numel() for tensor in saved.values()) == TRAINABLE
    assert all(weights[name].equal(tensor) for name, tensor in saved.items())


def test_the_newest_checkpoints_are_kept(make_run: MakeRun, settings: Settings, quick_recipe: Recipe) -> None:
    recipe = quick_recipe.changed(**{"training.save_steps": 1, "training.save_total_limit": 2})

    folder = train_of(make_run, settings, recipe)

    assert [path.name for path in checkpoint_folders(folder.checkpoints)] == ["checkpoint-3", "checkpoint-4"]
    told = [event for event in folder.events()[0] if event["event"] == "checkpoint"]
    assert [event["step"] for event in told] == [1, 2, 3, 4]
    newest = folder.path / told[-1]["folder"]
    assert told[-1]["size_bytes"] == sum(file.stat().st_size for file in newest.iterdir())


# -- what is told ---------------------------------------------------------------------------------------------


def test_events_come_in_the_order_of_a_run(trained: RunFolder) -> None:
    kinds = [event["event"] for event in trained.events()[0]]

    assert kinds == [
        "status",  # queued
        "facts",  # versions, device, rows
        "samples",  # before
        "facts",  # parameters
        "facts",  # steps
        "status",  # running
        "checkpoint",
        "checkpoint",
        "samples",  # before and after
        "result",
        "status",  # finished
    ]
    assert statuses(trained) == ["queued", "running", "finished"]


def test_there_is_a_row_of_metrics_for_each_step(trained: RunFolder) -> None:
    rows = [json.loads(line) for line in (trained.path / "metrics.jsonl").read_text().splitlines()]

    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "eval_loss" in row] == [0, 2, 4]
    for row in rows:
        if "loss" in row:
            assert {"grad_norm", "learning_rate", "num_tokens", "epoch", "tokens_per_second", "memory_bytes"} <= set(
                row
            )
            assert row["memory_bytes"] > 50_000_000
        assert row["elapsed_seconds"] > 0
    assert losses(trained)[-1] < losses(trained)[0]


def test_the_facts_say_what_was_trained_on_what(trained: RunFolder) -> None:
    run = trained.read_run()

    assert run.status is RunStatus.FINISHED
    assert run.total_steps == 4
    assert run.facts["trainable_parameters"] == TRAINABLE
    assert run.facts["total_parameters"] == 26_880 + TRAINABLE
    assert (run.facts["train_rows"], run.facts["held_out_rows"]) == (24, 8)
    assert (run.facts["rows_cut"], run.facts["rows_untrained"]) == (0, 0)
    assert run.facts["precision"] == "float32"
    assert run.facts["dataset_format"] == "messages"
    assert re.fullmatch("[0-9a-f]{64}", run.facts["dataset_fingerprint"])
    assert run.facts["versions"]["torch"] == torch.__version__


def test_the_result_adds_it_up(trained: RunFolder) -> None:
    result = trained.read_run().result
    loss, held = losses(trained), losses(trained, "eval_loss")

    assert result["steps"] == 4
    assert result["loss_first"] == loss[0]
    assert result["loss_last"] == pytest.approx(sum(loss) / 4)
    assert (result["eval_loss_first"], result["eval_loss_last"]) == (held[0], held[-1])
    assert result["num_tokens"] == losses(trained, "num_tokens")[-1]
    assert result["tokens_per_second"] == pytest.approx(result["num_tokens"] / result["training_seconds"])
    assert result["elapsed_seconds"] >= result["training_seconds"] > 0
    assert result["accuracy_rows"] == 8
    assert {"accuracy_before", "accuracy_after", "named_before", "named_after", "memory_bytes"} <= set(result)


def test_samples_hold_what_was_wanted_before_and_after(trained: RunFolder) -> None:
    samples = trained.read_run().samples

    assert len(samples) == 5
    for sample in samples:
        assert sample["prompt"][-1]["role"] == "user"
        assert sample["wanted"] in ("positive", "negative")
        assert isinstance(sample["before"], str)
        assert isinstance(sample["after"], str)


def test_a_training_without_held_out_rows_measures_nothing(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = train_of(make_run, settings, quick_recipe.changed(**{"data.held_out_rows": 0}))

    result = folder.read_run().result
    assert losses(folder, "eval_loss") == []
    assert (result["eval_loss_first"], result["eval_loss_last"]) == (None, None)
    assert "accuracy_after" not in result
    assert folder.read_run().samples == ()


def test_plain_text_is_trained_without_questions_to_ask(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = train_of(make_run, settings, quick_recipe.changed(**{"data.dataset": "starter:llama2-text"}))

    assert statuses(folder)[-1] == "finished"
    assert len(losses(folder, "eval_loss")) == 3
    assert "accuracy_after" not in folder.read_run().result


def test_chat_asks_in_the_form_that_the_texts_carry(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    """Texts in Llama-2's form train as they are; asked in another form, the adapter would answer as if untrained."""
    folder = train_of(make_run, settings, quick_recipe.changed(**{"data.dataset": "starter:llama2-text"}))

    text = load(read_recipe(folder.recipe_file), settings).train[0].text
    assert text is not None
    question, _, answer = text.removeprefix("<s>[INST] ").partition(" [/INST]")
    saved = models.load_tokenizer(folder.adapter, ModelPart())
    asked = saved.decode(encode(saved, [{"role": "user", "content": question}]))
    assert asked == f"<s>[INST] {question} [/INST]"
    facts = folder.read_run().facts
    assert (facts["chat_template"], facts["chat_template_from"]) == ("llama-2", "data")
    assert text == asked + answer


# -- how it trains --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(
    trained: RunFolder, make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    again = train_of(make_run, settings, quick_recipe, "again")
    other = train_of(make_run, settings, quick_recipe.changed(**{"training.seed": 1}), "other-seed")

    assert losses(again) == losses(trained)
    assert losses(again, "eval_loss") == losses(trained, "eval_loss")
    assert losses(other) != losses(trained)


@pytest.mark.parametrize(
    "values",
    [
        {"training.gradient_checkpointing": True},
        {"training.gradient_accumulation_steps": 2, "training.per_device_train_batch_size": 2},
    ],
    ids=["checkpointing", "accumulation"],
)
def test_what_saves_memory_changes_no_result(
    values: dict[str, Any], trained: RunFolder, make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = train_of(make_run, settings, quick_recipe.changed(**values))

    assert losses(folder) == pytest.approx(losses(trained), rel=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {"quantization.method": "nf4"},
        {"quantization.method": "int8"},
        {"quantization.method": "nf4", "training.dtype": "bfloat16", "training.packing": True},
        {"training.packing": True},
        {"training.dtype": "bfloat16"},
        {"adapter.target_modules": ["q_proj", "v_proj"], "adapter.lora_dropout": 0.1},
        {"training.optim": "adafactor", "training.lr_scheduler_type": "polynomial"},
    ],
    ids=lambda values: " ".join(map(str, values.values())),
)
def test_each_kind_of_training_learns(
    values: dict[str, Any], make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = train_of(make_run, settings, quick_recipe.changed(**values))

    assert statuses(folder)[-1] == "finished"
    held = losses(folder, "eval_loss")
    assert held[-1] < held[0]
    card = (folder.adapter / "README.md").read_text()
    assert f'dtype="{values.get("training.dtype", "float32")}"' in card


def test_epochs_decide_the_steps_if_no_steps_are_given(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    recipe = quick_recipe.changed(**{"training.max_steps": 0, "training.num_train_epochs": 1.5})

    folder = train_of(make_run, settings, recipe)

    assert folder.read_run().total_steps == 9  # 24 rows, 4 at once, one and a half times
    assert len(losses(folder)) == 9
    assert losses(folder, "epoch")[-1] == pytest.approx(1.5)


def trainer_for(recipe: Recipe, settings: Settings, folder: RunFolder, tokenizer: Any) -> AnswersOnlyHead:
    """The trainer that `train` would build for `recipe`."""
    device, precision = devices.detect(), Precision("float32", "no")
    model = loading.load_model(settings.starter_model, recipe.quantization, device, precision)
    rows = prepare(tokenizer, load(recipe, settings).train.parts, recipe, folder.path / "train.arrow")
    return AnswersOnlyHead(
        model=model,
        args=sft_config(recipe, device, precision, folder, has_held_out=False),
        train_dataset=rows.rows,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter, model),
    )


def test_every_row_of_a_batch_learns_to_stop(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, tokenizer: Any
) -> None:
    trainer = trainer_for(quick_recipe, settings, make_run(quick_recipe), tokenizer)

    batch = next(iter(trainer.get_train_dataloader()))

    assert len(batch["labels"]) == 4
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        trained = labels[labels != -100]
        assert trained[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(trained) in ("positive<|im_end|>", "negative<|im_end|>")
        assert (labels[ids == tokenizer.pad_token_id] == -100).all()


def test_packed_rows_do_not_see_each_other(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, tokenizer: Any
) -> None:
    """The packed batch has the loss of its rows taken one by one."""
    recipe = quick_recipe.changed(**{"training.packing": True})
    trainer = trainer_for(recipe, settings, make_run(recipe), tokenizer)
    packed = next(iter(trainer.get_train_dataloader()))
    model = trainer.model.eval()

    with torch.no_grad():
        together = model(**packed, fused_lm_head=True)
        starts = [*(packed["position_ids"][0] == 0).nonzero().flatten().tolist(), packed["input_ids"].shape[1]]
        alone = []
        for start, end in pairwise(starts):
            ids, labels = packed["input_ids"][:, start:end], packed["labels"][:, start:end]
            alone.append(model(input_ids=ids, labels=labels, fused_lm_head=True))

    assert len(alone) > 8
    trained = sum(int(row.label_mask.sum()) for row in alone)
    assert trained == int(together.label_mask.sum())
    assert together.log_probs.sum() == pytest.approx(sum(row.log_probs.sum().item() for row in alone), rel=1e-5)


@pytest.fixture
def wide_model(tmp_path: Path, toy_copy: Path) -> Path:
    """Wide enough for the packed 4-bit kernels, which want multiples of 64."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(toy_copy)
    return toy_copy


@pytest.mark.parametrize("method", ["none", "int8", "nf4"])
def test_asking_a_model_first_does_not_change_what_it_learns(wide_model: Path, method: Any) -> None:
    """The held-out questions are asked before the training and in between (on some CPUs, 4-bit weights were then packed
    for a kernel without a backward pass, and the gradients were wrong)."""
    ids = torch.randint(3, 259, (2, 12), generator=torch.Generator().manual_seed(1))

    def gradients(*, asked_first: bool) -> list[torch.Tensor]:
        model = loading.load_model(
            wide_model, QuantizationPart(method=method), devices.detect(), Precision("float32", "no")
        )
        loading.keep_trainable(model)
        if asked_first:
            with torch.inference_mode():
                model.eval()(ids)
        torch.manual_seed(0)
        adapted = get_peft_model(model, lora_config(AdapterPart(), model)).train()
        trainable = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        for parameter in trainable:
            torch.nn.init.normal_(parameter, std=0.05)
        adapted(input_ids=ids, labels=ids).loss.backward()
        return [parameter.grad for parameter in trainable if parameter.grad is not None]

    fresh, asked = gradients(asked_first=False), gradients(asked_first=True)

    assert len(fresh) == len(asked) == 2 * 7 * 2
    for one, other in zip(fresh, asked, strict=True):
        torch.testing.assert_close(one, other)


# -- how it ends ----------------------------------------------------------------------------------------------


def test_stop_leaves_a_checkpoint_and_an_adapter(make_run: MakeRun, settings: Settings, quick_recipe: Recipe) -> None:
    folder = make_run(quick_recipe.changed(**{"training.save_steps": 100}))
    folder.ask_to_stop()

    train(folder, settings)

    assert statuses(folder) == ["queued", "running", "stopping", "stopped"]
    assert [path.name for path in checkpoint_folders(folder.checkpoints)] == ["checkpoint-1"]
    assert (folder.checkpoints / "checkpoint-1" / "optimizer.pt").is_file()
    assert folder.adapter.is_dir()
    assert folder.read_run().result["steps"] == 1


@pytest.fixture
def poisoned(toy_copy: Path) -> Path:
    """The toy model with one weight that is no number."""
    weights = load_file(toy_copy / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, toy_copy / "model.safetensors", metadata={"format": "pt"})
    return toy_copy


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, poisoned: Path
) -> None:
    folder = make_run(quick_recipe.changed(**{"model.base_model": str(poisoned)}))

    assert run_training(folder.path, settings) == 1

    run: Run = folder.read_run()
    assert run.status is RunStatus.FAILED
    assert run.cause is not None
    assert "loss became nan at step 1" in run.cause
    assert "Halve the learning rate" in run.cause
    assert [math.isnan(value) for value in losses(folder)] == [True], "told as it is, and nothing after it"
    assert not folder.adapter.exists()


def test_rows_that_are_cut_before_their_answers_are_refused(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = make_run(quick_recipe.changed(**{"training.max_length": 16}))

    with pytest.raises(InvalidInput, match="None of the 24 rows has a trained token within max_length 16"):
        train(folder, settings)


def test_rows_that_would_teach_nothing_are_counted_and_left_out(
    tokenizer: Any, quick_recipe: Recipe, settings: Settings, tmp_path: Path
) -> None:
    def prepared(recipe: Recipe, *questions: str) -> Prepared:
        file = tmp_path / f"rows-{len(questions)}.jsonl"
        file.write_text("".join(json.dumps({"prompt": q, "completion": "yes"}) + "\n" for q in questions))
        data = load(recipe.changed(**{"data.dataset": str(file), "data.held_out_rows": 0}), settings)
        return prepare(tokenizer, data.train.parts, recipe, tmp_path / f"rows-{len(questions)}.arrow")

    whole = len(prepared(quick_recipe, "?").rows[0]["input_ids"])
    cut_answer = quick_recipe.changed(**{"training.max_length": whole - 3})

    rows = prepared(cut_answer, "?", "?" * 100, "?")

    assert (len(rows.rows), rows.cut, rows.untrained) == (2, 2, 1)


def test_a_row_that_the_template_refuses_stops_the_run_unless_it_is_skipped(
    make_run: MakeRun, settings: Settings, quick_recipe: Recipe, tmp_path: Path
) -> None:
    good = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "yes"}]} for q in "abcd"]
    twice = {"messages": [{"role": "user", "content": "e"}, *good[0]["messages"]]}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*good, twice]))
    gemma = quick_recipe.changed(
        **{"data.dataset": str(file), "data.held_out_rows": 0, "model.chat_template": "gemma", "training.max_steps": 1}
    )

    with pytest.raises(InvalidInput, match=r"^Row 5: .*alternate"):
        train(make_run(gemma), settings)
    folder = train_of(make_run, settings, gemma.changed(**{"data.bad_rows": "skip"}))

    facts = folder.read_run().facts
    assert (facts["train_rows"], facts["rows_not_rendered"]) == (4, 1)


@pytest.mark.parametrize("name", ["query", "lm_head", "embed_tokens", "input_layernorm"])
def test_a_layer_that_cannot_be_adapted_is_refused_with_those_that_can(
    name: str, make_run: MakeRun, settings: Settings, quick_recipe: Recipe
) -> None:
    folder = make_run(quick_recipe.changed(**{"adapter.target_modules": [name, "v_proj"]}))

    with pytest.raises(StudioError, match=f"no linear layers called {name}\\. It has: down_proj, gate_proj") as caught:
        train(folder, settings)
    assert getattr(caught.value, "field", None) == "adapter.target_modules"
