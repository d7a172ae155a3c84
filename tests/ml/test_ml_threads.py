"""The model server plans in one thread while it loads in another: neither may disturb the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from studio.ml import devices, loading, memory
from studio.recipe import QuantizationPart


def test_planning_and_loading_at_once_give_whole_models_and_right_shapes(toy_model: Path) -> None:
    device = devices.detect()
    precision = devices.choose_precision(device, "float32")

    def load(_: int) -> bool:
        model = loading.load_model(toy_model, QuantizationPart(), device, precision)
        return all(p.device.type != "meta" and p.dtype == torch.float32 for p in model.parameters())

    def plan(_: int) -> int:
        memory.shape_of.cache_clear()
        return memory.shape_of(toy_model).parameters

    expected = plan(0)
    with ThreadPoolExecutor(4) as threads:
        loaded = [threads.submit(load, number) for number in range(12)]
        planned = [threads.submit(plan, number) for number in range(12)]
        assert all(future.result() for future in loaded)
        assert {future.result() for future in planned} == {expected}
