"""The promise of the Data page: its colours are what the trainer's collator hands to the model, for every format.

Rows of every format go from a file through the studio's own reading, once to the preview and once into TRL's trainer,
with chat templates of the common families and each choice of loss. Token for token, label for label.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTTrainer

from studio.data import dataset
from studio.errors import InvalidInput
from studio.messages import Example
from studio.ml import devices
from studio.ml.looking.dataset_view import token_values
from studio.ml.loss import AnswersOnlyHead
from studio.ml.models import load_tokenizer, load_tokenizer_for
from studio.ml.text.collate import collator_for, seen_by_trainer
from studio.ml.text.tokens import IGNORED, render, tokenize
from studio.ml.train import lora_config, prepare, sft_config
from studio.recipe import Recipe
from studio.run_folder import RunFolder
from studio.settings import Settings, read_settings

WEATHER = {"type": "function", "function": {"name": "weather_in", "description": "The weather", "parameters": {}}}
CALL = {"type": "function", "function": {"name": "weather_in", "arguments": {"city": "Oslo"}}}


def turns(*contents: str, system: str | None = None) -> dict[str, Any]:
    """A raw row of messages that user and assistant take in turns."""
    first = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    return {"messages": [*first, *({"role": roles[n % 2], "content": c} for n, c in enumerate(contents))]}


TOOL_TURNS = [
    {"role": "user", "content": "Oslo?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather_in", "content": "4 degrees"},
    {"role": "assistant", "content": "Cold."},
]
FORMATS: dict[str, list[dict[str, Any]]] = {
    "messages": [turns("Hi", "Hello!"), turns("2 + 2?", "4"), turns("Grüße?", "Grüße 🎈\n\n  indented")],
    "several turns": [turns("Hi", "Hello!", "Bye", "So long."), turns("1", "one", "2", "two", "3", "three")],
    "system": [turns("Hi", "Hello!", system="Be kind."), turns("Hi", "Yo", "Bye", "Ciao", system="Be brief.")],
    "tools": [{"messages": TOOL_TURNS, "tools": [WEATHER]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}],
    "prompt and completion": [
        {"prompt": "Hi", "completion": "Hello!"},
        {"prompt": "A long one " * 20, "completion": "x"},
    ],
    "alpaca": [
        {"instruction": "Greet.", "input": "", "output": "Hello!"},
        {"instruction": "Translate.", "input": "Hi", "output": "Salut !"},
    ],
    "question and answer": [{"question": "Capital of France?", "answer": "Paris"}],
    "classification": [{"text": "A delight.", "label": "positive"}, {"text": "A bore.", "label": "negative"}],
    "preference": [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}],
    "kto": [
        {"prompt": "Hi", "completion": "Hello!", "label": True},
        {"prompt": "Bye", "completion": "Go", "label": True},
    ],
    "text": [{"text": "Once upon a time there was a studio."}, {"text": "The end."}],
    "text with a format": [{"text": "<s>[INST] What is 1+1? [/INST] It is 2. </s>"}],
}
"""Raw rows as they stand in a file, by what is special about them."""

CHOSEN = {
    "chatml": "<|im_end|>",
    "llama-3": "<|eot_id|>",
    "llama-2": "</s>",
    "mistral": "</s>",
    "gemma": "<end_of_turn>",
    "alpaca": "</s>",
}
"""Templates that a recipe can name, with the mark that ends an answer."""
FROM_MODELS = {
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "phi3": "<|end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
}
"""Templates as models bring them (TRL carries copies), likewise."""
TEMPLATES = [*(("recipe", name) for name in CHOSEN), *(("model", name) for name in FROM_MODELS)]

LOSSES: dict[str, dict[str, bool]] = {
    "answers": {"assistant_only_loss": True},
    "last answer": {"assistant_only_loss": True, "completion_only_loss": True},
    "everything": {"assistant_only_loss": False},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home for the rows that are read."""
    made = read_settings(tmp_path_factory.mktemp("preview") / "home")
    made.make_folders()
    return made


@pytest.fixture(scope="module")
def rows(home: Settings) -> dict[str, dataset.Data]:
    """Every format, read from a file of its own as a run reads it."""
    read = {}
    for name, raw in FORMATS.items():
        file = home.home / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in raw), encoding="utf-8")
        read[name] = dataset.load(Recipe().changed(**{"data.dataset": str(file), "data.held_out_rows": 0}), home)
    return read


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The models here are too small for two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tokenizer_folder(folder: Path, source: str, name: str) -> Path:
    """A tokenizer of one token a byte, with a model's chat template and its marks; without if the recipe names one."""
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text() if source == "model" else ""
    marks = re.findall(r"<\|[^<>{}']{1,30}\|>|<(?:start|end)_of_turn>", template)
    special = list(dict.fromkeys(["<unk>", "<s>", "</s>", "<pad>", *marks]))
    letters = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    made.chat_template = template or None
    made.save_pretrained(folder)
    return folder


def recipe_for(source: str, name: str, loss: str, **values: Any) -> Recipe:
    """What the pages would hand on."""
    changes: dict[str, Any] = {f"training.{field}": value for field, value in LOSSES[loss].items()}
    changes |= {"model.chat_template": name if source == "recipe" else "own", "data.bad_rows": "skip"}
    return Recipe().changed(**{**changes, "training.dtype": "float32", "training.max_length": 512, **values})


def trainer_for(tokenizer: Any, data: Any, recipe: Recipe, folder: Path) -> AnswersOnlyHead:
    """The trainer as a run makes it, around a model of one layer."""
    config = LlamaConfig(
        vocab_size=400, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8
    )
    model = LlamaForCausalLM(config)
    return AnswersOnlyHead(
        model=model,
        args=sft_config(
            recipe, devices.detect(), devices.Precision("float32", "no"), RunFolder(folder), has_held_out=False
        ),
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=None if recipe.training.packing else collator_for(tokenizer),
        peft_config=lora_config(recipe.adapter, model),
    )


Row = tuple[tuple[int, ...], tuple[int, ...]]


def first_batch(trainer: AnswersOnlyHead) -> list[Row]:
    """(ids, labels) of its rows without the padding, sorted: the trainer has an order of its own."""
    batch = next(iter(trainer.get_train_dataloader()))
    found = []
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        length = int(mask.sum())
        assert (labels[length:] == IGNORED).all()
        found.append((tuple(ids[:length].tolist()), tuple(labels[:length].tolist())))
    return sorted(found)


def previewed(tokenizer: Any, examples: list[Example], recipe: Recipe) -> tuple[list[Row], int]:
    """What the page is told of these rows, and how many it refuses. Rows without a trained token are left out."""
    shown, refused = [], 0
    for example in examples:
        try:
            values = token_values(tokenizer, example, recipe)
        except InvalidInput:
            refused += 1
            continue
        loss = recipe.training
        whole = tokenize(
            tokenizer,
            example,
            assistant_only_loss=loss.assistant_only_loss,
            completion_only_loss=loss.completion_only_loss,
        )
        (seen,) = seen_by_trainer(tokenizer, [whole], loss.max_length)
        colours = [kind for _, kind in values["tokens"]]
        assert colours[: len(seen.labels)] == ["context" if label == IGNORED else "trained" for label in seen.labels]
        assert set(colours[len(seen.labels) :]) <= {"cut"}
        if seen.trained:
            shown.append((tuple(seen.input_ids), tuple(seen.labels)))
    return sorted(shown), refused


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("source", "name"), TEMPLATES)
def test_the_preview_shows_what_the_trainer_gets(
    rows: dict[str, dataset.Data], tmp_path: Path, source: str, name: str, loss: str
) -> None:
    recipe = recipe_for(source, name, loss, **{"training.per_device_train_batch_size": 100})
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", source, name), recipe.model)
    parts = [part for data in rows.values() for part in data.train.parts]
    examples = [example for part in parts for example in part]

    shown, refused = previewed(tokenizer, examples, recipe)
    prepared = prepare(tokenizer, parts, recipe, tmp_path / "rows.arrow")
    trained = first_batch(trainer_for(tokenizer, prepared.rows, recipe, tmp_path))

    assert len(examples) == sum(map(len, FORMATS.values()))
    assert trained == shown
    assert prepared.not_rendered == refused < len(examples) / 2
    assert len(shown) + refused + prepared.untrained == len(examples)


@pytest.mark.parametrize("max_length", [16, 40])
def test_what_is_cut_in_the_preview_is_cut_in_training(
    rows: dict[str, dataset.Data], tmp_path: Path, max_length: int
) -> None:
    values = {"training.per_device_train_batch_size": 100, "training.max_length": max_length}
    recipe = recipe_for("recipe", "chatml", "answers", **values)
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", "recipe", "chatml"), recipe.model)
    parts = [part for data in rows.values() for part in data.train.parts]

    shown, _ = previewed(tokenizer, [example for part in parts for example in part], recipe)
    prepared = prepare(tokenizer, parts, recipe, tmp_path / "rows.arrow")

    assert first_batch(trainer_for(tokenizer, prepared.rows, recipe, tmp_path)) == shown
    assert max(len(ids) for ids, _ in shown) == max_length
    assert prepared.untrained > 0


@pytest.mark.parametrize("packing", [False, True])
def test_the_collator_is_the_one_that_trl_would_make(
    rows: dict[str, dataset.Data], tmp_path: Path, packing: bool
) -> None:
    recipe = recipe_for("recipe", "chatml", "answers", **{"training.packing": packing})
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", "recipe", "chatml"), recipe.model)
    prepared = prepare(tokenizer, rows["messages"].train.parts, recipe, tmp_path / "rows.arrow")
    theirs = SFTTrainer(
        model=LlamaForCausalLM(
            LlamaConfig(vocab_size=400, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
        ),
        args=sft_config(
            recipe, devices.detect(), devices.Precision("float32", "no"), RunFolder(tmp_path), has_held_out=False
        ),
        train_dataset=prepared.rows,
        processing_class=tokenizer,
    )

    assert collator_for(tokenizer, packing=packing) == theirs.data_collator
    assert type(collator_for(tokenizer)) is type(theirs.data_collator)


def test_packed_rows_hold_the_tokens_of_the_preview_one_behind_the_other(
    rows: dict[str, dataset.Data], tmp_path: Path
) -> None:
    """Apart from the first label of a row, which nothing could predict: the collator takes it out."""
    values = {"training.packing": True, "training.per_device_train_batch_size": 100}
    recipe = recipe_for("recipe", "chatml", "answers", **values)
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", "recipe", "chatml"), recipe.model)
    parts = [part for name in ("messages", "text", "several turns") for part in rows[name].train.parts]

    shown, _ = previewed(tokenizer, [example for part in parts for example in part], recipe)
    prepared = prepare(tokenizer, parts, recipe, tmp_path / "rows.arrow")
    batch = next(iter(trainer_for(tokenizer, prepared.rows, recipe, tmp_path).get_train_dataloader()))

    packed = []
    for start, stop in itertools.pairwise(batch["cu_seq_lens_q"].tolist()):
        ids, labels = batch["input_ids"][0, start:stop].tolist(), batch["labels"][0, start:stop].tolist()
        packed.append((tuple(ids), tuple(labels)))
    assert sorted(packed) == sorted((ids, (IGNORED, *labels[1:])) for ids, labels in shown)


# -- what is trained is what was meant ------------------------------------------------------------------------


def trained_texts(tokenizer: Any, example: Example, loss: str) -> list[str]:
    """The text of each unbroken stretch of trained tokens."""
    (seen,) = seen_by_trainer(tokenizer, [tokenize(tokenizer, example, **LOSSES[loss])], 10_000)
    pieces: list[list[int]] = [[]]
    for label in seen.labels:
        if label == IGNORED:
            pieces.append([])
        else:
            pieces[-1].append(label)
    return [tokenizer.decode(piece) for piece in pieces if piece]


def thought(name: str) -> str:
    """What Qwen3 writes before an answer."""
    return "<think>\n\n</think>\n\n" if name == "qwen3" else ""


@pytest.mark.parametrize(("source", "name"), TEMPLATES)
def test_the_trained_tokens_are_the_answers_with_their_ends(
    rows: dict[str, dataset.Data], tmp_path: Path, source: str, name: str
) -> None:
    recipe = recipe_for(source, name, "answers")
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", source, name), recipe.model)
    end = (CHOSEN if source == "recipe" else FROM_MODELS)[name]
    looked_at = 0
    for form in set(FORMATS) - {"tools", "text", "text with a format"}:
        for example in rows[form].train:
            answers = [m["content"] for m in example.messages if m["role"] == "assistant"]
            for loss, wanted in (("answers", answers), ("last answer", answers[-1:])):
                try:
                    pieces = trained_texts(tokenizer, example, loss)
                except InvalidInput as problem:
                    assert_refused_for_a_reason(str(problem), form, name, loss)
                    continue
                # Llama 2 and Mistral put a blank around an answer
                assert [piece.replace(f" {end}", end).lstrip() for piece in pieces] == [
                    f"{thought(name)}{answer}{end}" for answer in wanted
                ]
                looked_at += 1
    assert looked_at >= 22


def assert_refused_for_a_reason(problem: str, form: str, name: str, loss: str) -> None:
    """Gemma knows no system prompt; Qwen3 rewrites earlier answers."""
    if form == "system" and name == "gemma":
        assert "system" in problem.lower()
    else:
        assert (name, loss) == ("qwen3", "answers")
        assert form in ("several turns", "system")
        assert "completion_only_loss" in problem


def test_everything_means_everything(rows: dict[str, dataset.Data], tmp_path: Path) -> None:
    recipe = recipe_for("recipe", "chatml", "everything")
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", "recipe", "chatml"), recipe.model)
    example = next(iter(rows["system"].train))

    assert trained_texts(tokenizer, example, "everything") == [render(tokenizer, example.messages)]


def test_texts_train_whole_whatever_the_loss(rows: dict[str, dataset.Data], tmp_path: Path) -> None:
    recipe = recipe_for("model", "phi3", "answers")
    tokenizer = load_tokenizer(tokenizer_folder(tmp_path / "tokenizer", "model", "phi3"), recipe.model)

    for loss in LOSSES:
        for form in ("text", "text with a format"):
            for example in rows[form].train:
                assert example.text is not None
                assert trained_texts(tokenizer, example, loss) == [example.text.removesuffix("</s>") + "</s>"]


def test_calls_of_functions_are_trained_and_their_results_are_not(
    rows: dict[str, dataset.Data], tmp_path: Path
) -> None:
    example = next(iter(rows["tools"].train))
    for source, name in (("recipe", "chatml"), ("model", "qwen2_5")):
        recipe = recipe_for(source, name, "answers")
        tokenizer = load_tokenizer(tokenizer_folder(tmp_path / name, source, name), recipe.model)

        call, answer = trained_texts(tokenizer, example, "answers")

        assert call.strip() == (
            '<tool_call>\n{"name": "weather_in", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
        )
        assert answer == "Cold.<|im_end|>"
        assert "4 degrees" in tokenizer.decode(tokenize(tokenizer, example).input_ids)


def test_texts_with_a_format_are_asked_as_they_are_trained(rows: dict[str, dataset.Data], tmp_path: Path) -> None:
    data = rows["text with a format"]
    recipe = recipe_for("model", "phi3", "answers")
    folder = tokenizer_folder(tmp_path / "tokenizer", "model", "phi3")
    tokenizer = load_tokenizer_for(folder, recipe.model, data.form.template, data.sample)
    (row,) = (tokenize(tokenizer, example) for example in data.train)

    prompt = render(tokenizer, [{"role": "user", "content": "What is 1+1?"}], for_answer=True)

    assert tokenizer.decode(row.input_ids) == f"{prompt} It is 2. </s>"
    assert not row.begins_twice
