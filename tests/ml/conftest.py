"""What the tests of the ml room share: a private datasets cache, runs to train, and copies of the toy model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.ml import models
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
    return models.load_model(toy_model, QuantizationPart(), device, devices.Precision("float32", "no"))
