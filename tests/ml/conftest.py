"""What the tests of the ml room share: a private datasets cache, runs to train, and copies of the toy model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.ml import loading, models
from studio.recipe import ModelPart, QuantizationPart, Recipe
from studio.run_folder import RunFolder, now
from studio.settings import Settings

MakeRun = Callable[..., RunFolder]


@pytest.fixture(autouse=True, scope="session")
def private_datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The `datasets` library keeps a copy of every file it reads: not in the developer's home."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets-cache"))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """A toy gains nothing from threads, and beside another busy process they wait for each other (20 times slower)."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_run(settings: Settings) -> MakeRun:
    """Queue a run of a recipe in the test's own home: `make_run(recipe)`."""

    def make(recipe: Recipe, name: str = "tidy-otter") -> RunFolder:
        folder = RunFolder(settings.runs / name)
        folder.create({"id": name, "name": f"Run {name}", "created_at": now().isoformat()}, recipe.to_yaml())
        return folder

    return make


@pytest.fixture
def toy_copy(toy_model: Path, tmp_path: Path) -> Path:
    """A copy of the toy model that a test may damage."""
    return Path(shutil.copytree(toy_model, tmp_path / "toy-copy"))


@pytest.fixture
def tokenizer(toy_model: Path) -> Any:
    """The toy model's tokenizer as the studio loads it: one token a byte, ChatML."""
    return models.load_tokenizer(toy_model, ModelPart())


@pytest.fixture
def model(toy_model: Path) -> Any:
    """The toy model in float32."""
    from studio.ml import devices

    device = devices.detect()
    return loading.load_model(toy_model, QuantizationPart(), device, devices.Precision("float32", "no"))


@pytest.fixture(scope="session")
def talking_model(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model with large random weights in float32: it answers long nonsense instead of nothing."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = Path(shutil.copytree(toy_model, tmp_path_factory.mktemp("models") / "talking"))
    torch.manual_seed(3)
    config = LlamaConfig.from_pretrained(
        toy_model, initializer_range=0.5, tie_word_embeddings=False, pad_token_id=0, dtype="float32"
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that computes in float32, so that two ways to the same answer give the same tokens."""
    from studio.ml import devices

    found = devices.detect()
    plain = devices.Device(
        kind="cpu",
        name="CPU",
        memory_total_bytes=found.memory_total_bytes,
        memory_free_bytes=found.memory_free_bytes,
    )
    monkeypatch.setattr(devices, "detect", lambda: plain)


@pytest.fixture
def talking_run(
    plain_cpu: None, talking_model: Path, settings: Settings, make_run: MakeRun, quick_recipe: Recipe
) -> RunFolder:
    """A finished run on the talking model, whose adapter learned enough to answer differently."""
    from studio.ml.train import train

    folder = make_run(
        quick_recipe.changed(
            **{
                "model.base_model": str(talking_model),
                "training.learning_rate": 0.05,
                "data.held_out_rows": 0,
                "training.dtype": "float32",
            }
        )
    )
    train(folder, settings)
    return folder
