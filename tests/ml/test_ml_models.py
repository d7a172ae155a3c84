"""Base models: what is accepted, what is refused before it can do harm, and what their cards say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from studio.errors import InvalidInput, Refused, Unavailable
from studio.ml import devices, loading, models
from studio.ml.devices import Precision
from studio.ml.text.tokens import render, tokenize
from studio.recipe import STARTER_MODEL, ModelPart, QuantizationPart
from studio.settings import Settings, read_settings

HI = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})


def part(folder: Path | str) -> ModelPart:
    """A recipe's model part that names `folder`."""
    return ModelPart(base_model=str(folder))


def load(folder: Path, method: Any = "none") -> Any:
    """The model in `folder`, on this machine's device."""
    return loading.load_model(folder, QuantizationPart(method=method), devices.detect(), Precision("float32", "no"))


def change_json(file: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


# -- finding --------------------------------------------------------------------------------------------------


def test_a_name_means_the_starter_or_a_folder(settings: Settings, toy_model: Path) -> None:
    assert models.resolve(part(STARTER_MODEL), settings)[0] == settings.starter_model
    assert models.resolve(part(toy_model), settings)[0] == toy_model


def test_a_missing_starter_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="Run `studio starter`"):
        models.resolve(part(STARTER_MODEL), read_settings(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere", "~nobody/x", "word", "a/b/c", "x.gguf"])
def test_a_folder_that_is_not_there_is_named(name: str, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match=r"There is no folder .* or a Hub name like owner/name") as caught:
        models.resolve(part(name), settings)

    assert name in str(caught.value)
    assert caught.value.field == "model.base_model"


@pytest.mark.parametrize("weights", [True, False])
def test_a_hub_name_without_a_network_is_told_as_such(settings: Settings, weights: bool) -> None:
    with pytest.raises(Unavailable, match=r"owner/name is not on this machine and the Hub cannot be reached"):
        models.resolve(part("owner/name"), settings, weights=weights)


def test_a_broken_gguf_file_is_refused_and_leaves_nothing_behind(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and then nothing")

    with pytest.raises(InvalidInput, match=r"broken\.gguf cannot be converted"):
        models.resolve(part(tmp_path / "broken.gguf"), settings)

    assert list(settings.models.iterdir()) == [settings.starter_model]
    assert list(settings.temporary.iterdir()) == []


# -- refusing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "instead", "fragment"),
    [
        ("config.json", None, "config.json is missing, so this is no model folder"),
        ("model.safetensors", None, "no *.safetensors weights are in it"),
        ("model.safetensors", "pytorch_model.bin", "Reading them can run code"),
        ("tokenizer.json", None, "the tokenizer is missing (tokenizer.json)"),
    ],
)
def test_an_incomplete_folder_is_refused_by_the_missing_file(
    gone: str, instead: str | None, fragment: str, toy_copy: Path, settings: Settings
) -> None:
    (toy_copy / gone).unlink()
    if instead:
        (toy_copy / instead).write_bytes(b"\x80\x04.")

    with pytest.raises(InvalidInput) as caught:
        models.describe(part(toy_copy), settings)

    assert str(caught.value).startswith("toy-copy: ")
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "custom", "auto_map": {"AutoConfig": "custom_code.Config"}}),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Custom", "auto_map": {"AutoTokenizer": ["custom_code.Custom", None]}},
        ),
    ],
)
def test_code_that_comes_with_a_model_is_never_run(
    file: str, values: dict[str, object], toy_copy: Path, tmp_path: Path, settings: Settings
) -> None:
    change_json(toy_copy / file, **values)
    (toy_copy / "custom_code.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")

    with pytest.raises(InvalidInput, match="needs Python code that comes with it, which the studio never runs"):
        models.describe(part(toy_copy), settings)

    assert not (tmp_path / "it-ran").exists()


def test_code_is_not_run_by_loading_the_weights_either(toy_copy: Path, tmp_path: Path) -> None:
    change_json(toy_copy / "config.json", model_type="custom", auto_map={"AutoModelForCausalLM": "custom_code.Model"})
    (toy_copy / "custom_code.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")

    with pytest.raises(InvalidInput, match=r"its config\.json cannot be used"):
        load(toy_copy)

    assert not (tmp_path / "it-ran").exists()


def test_a_known_kind_of_model_needs_no_code_of_its_own(toy_copy: Path, tmp_path: Path) -> None:
    change_json(toy_copy / "config.json", auto_map={"AutoModelForCausalLM": "custom_code.Model"})
    (toy_copy / "custom_code.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")

    assert type(load(toy_copy)) is LlamaForCausalLM
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model_type": "llama99"}'])
def test_a_config_that_cannot_be_used_is_told_in_one_line(content: str, toy_copy: Path) -> None:
    (toy_copy / "config.json").write_text(content)

    with pytest.raises(InvalidInput, match=r"toy-copy: its config\.json cannot be used") as caught:
        models.read_config(toy_copy)

    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith("..")


def test_a_broken_tokenizer_is_told_in_one_line(toy_copy: Path) -> None:
    (toy_copy / "tokenizer.json").write_text('{"version":')

    with pytest.raises(InvalidInput, match="toy-copy: its tokenizer cannot be read"):
        models.load_tokenizer(toy_copy, ModelPart())


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 538090408\n"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99, LFS_POINTER], ids=str)
def test_weights_that_are_not_whole_are_refused(share: float | bytes, toy_copy: Path, settings: Settings) -> None:
    file = toy_copy / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(share if isinstance(share, bytes) else whole[: int(share * len(whole))])

    with pytest.raises(InvalidInput, match="fetch it again"):
        models.describe(part(toy_copy), settings)
    with pytest.raises(InvalidInput, match="fetch it again"):
        load(toy_copy)


def test_a_model_that_lacks_a_tensor_is_refused_instead_of_filled_with_random_numbers(toy_copy: Path) -> None:
    file = toy_copy / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})

    with pytest.raises(InvalidInput, match=r"lack 1 of the model's tensors.* model\.layers\.1\.mlp\.up_proj\.weight"):
        load(toy_copy)


def test_a_tokenizer_without_an_end_token_is_refused(toy_copy: Path) -> None:
    change_json(toy_copy / "tokenizer_config.json", eos_token=None)

    with pytest.raises(InvalidInput, match="names no end token"):
        models.load_tokenizer(toy_copy, ModelPart())


# -- describing -----------------------------------------------------------------------------------------------


def test_the_card_says_what_the_model_is(toy_model: Path, settings: Settings) -> None:
    card = models.describe(part(toy_model), settings)

    assert card.architecture == "LlamaForCausalLM, 2 layers, width 32, 259 tokens"
    assert card.parameters == LlamaForCausalLM.from_pretrained(toy_model).num_parameters()
    assert card.context_length == 1024
    assert card.has_chat_template
    assert card.size_bytes == (toy_model / "model.safetensors").stat().st_size


def test_parameters_are_counted_from_the_header_alone(toy_model: Path) -> None:
    real = sum(tensor.numel() for tensor in load_file(toy_model / "model.safetensors").values())

    assert models.count_parameters(toy_model / "model.safetensors") == real


@pytest.mark.parametrize(
    ("readme", "licence"),
    [("---\nlanguage: en\nlicense: apache-2.0\n---\n# Toy\n", "apache-2.0"), ("# Toy\nNo head.\n", "")],
)
def test_the_licence_is_read_from_the_models_readme(
    readme: str, licence: str, toy_copy: Path, settings: Settings
) -> None:
    (toy_copy / "README.md").write_text(readme)

    assert models.describe(part(toy_copy), settings).licence == licence


# -- tokenizer and template -----------------------------------------------------------------------------------


def test_padding_is_never_the_end_of_a_turn(toy_model: Path) -> None:
    """The toy model's own tokenizer pads with its end of turn, as many do (trl#1623)."""
    assert json.loads((toy_model / "tokenizer_config.json").read_text())["pad_token"] == "<|im_end|>"

    tokenizer = models.load_tokenizer(toy_model, ModelPart())

    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_models_own_padding_is_kept(toy_copy: Path) -> None:
    change_json(toy_copy / "tokenizer_config.json", pad_token="<|endoftext|>", unk_token="<|im_start|>")

    assert models.load_tokenizer(toy_copy, ModelPart()).pad_token == "<|endoftext|>"


def test_a_model_without_a_template_is_offered_chatml(toy_copy: Path, settings: Settings) -> None:
    (toy_copy / "chat_template.jinja").unlink()

    assert not models.describe(part(toy_copy), settings).has_chat_template
    with pytest.raises(InvalidInput, match="Choose ChatML") as caught:
        render(models.load_tokenizer(toy_copy, ModelPart()), HI)
    assert caught.value.field == "model.chat_template"


def test_chatml_ends_each_turn_with_the_end_token(toy_copy: Path) -> None:
    (toy_copy / "chat_template.jinja").unlink()
    change_json(toy_copy / "tokenizer_config.json", eos_token="<|endoftext|>")

    tokenizer = models.load_tokenizer(toy_copy, ModelPart(chat_template="chatml"))

    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"
    assert render(tokenizer, HI).count("<|im_end|>") == 2
    assert tokenizer.eos_token_id in tokenize(tokenizer, example()).labels


def test_chatml_for_a_model_that_does_not_know_it_brings_its_tokens(toy_copy: Path) -> None:
    """A Llama or GPT-2 without ChatML's tokens: `<|im_end|>` would be ten pieces of text and never an end."""
    (toy_copy / "chat_template.jinja").unlink()
    (toy_copy / "tokenizer.json").write_text((toy_copy / "tokenizer.json").read_text().replace("<|im_end|>", "</s>"))
    change_json(toy_copy / "tokenizer_config.json", eos_token="</s>", pad_token="<|endoftext|>")

    tokenizer = models.load_tokenizer(toy_copy, ModelPart(chat_template="chatml"))

    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == 259  # behind the 259 tokens of the toy
    assert render(tokenizer, HI) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    assert tokenizer.eos_token_id in tokenize(tokenizer, example()).labels


def test_a_tokenizer_that_cannot_say_where_its_tokens_stand_is_refused(
    toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)

    with pytest.raises(InvalidInput, match=r"its tokenizer has no tokenizer\.json"):
        models.load_tokenizer(toy_model, ModelPart())


def example() -> Any:
    """The greeting as an example to train on."""
    from studio.messages import Example

    return Example(messages=HI)  # type: ignore[arg-type]


# -- loading --------------------------------------------------------------------------------------------------


def test_a_model_loads_with_the_weights_of_its_file(toy_model: Path) -> None:
    loaded = load(toy_model).state_dict()

    for name, tensor in load_file(toy_model / "model.safetensors").items():
        assert loaded[name].float().equal(tensor.float())


@pytest.mark.parametrize("method", ["int8", "nf4"])
def test_a_quantized_model_has_packed_layers(toy_model: Path, method: Any) -> None:
    model = load(toy_model, method)

    packed = type(model.model.layers[0].self_attn.q_proj).__name__
    assert packed == {"int8": "Linear8bitLt", "nf4": "Linear4bit"}[method]
