"""The same training on a CUDA device, wherever torch sees one: LoRA in the device's best format, and QLoRA."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from studio.ml import devices
from studio.ml.train import train
from studio.recipe import Recipe
from studio.run_folder import RunFolder
from studio.runs import RunStatus
from studio.settings import Settings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")]

MakeRun = Callable[..., RunFolder]


def test_the_device_is_described_with_its_free_memory() -> None:
    device = devices.detect()
    assert device.kind == "cuda"
    assert 0 < device.memory_free_bytes <= device.memory_total_bytes
    assert device.fast_bfloat16 == (device.compute_capability is not None and device.compute_capability >= (8, 0))


@pytest.mark.parametrize("method", ["none", "int8", "nf4"])
def test_a_training_runs_to_its_end(make_run: MakeRun, settings: Settings, quick_recipe: Recipe, method: str) -> None:
    folder = make_run(quick_recipe.changed(**{"quantization.method": method, "training.dtype": "auto"}))
    train(folder, settings)
    run = folder.read_run()
    assert run.status is RunStatus.FINISHED
    assert run.result["memory_bytes"] > 0
    assert run.result["eval_loss_last"] < run.result["eval_loss_first"]
