"""Which number formats suit which device, told with made-up devices."""

from __future__ import annotations

from typing import Any

import pytest

from studio.ml.devices import Device, Precision, choose_precision, detect, peak_memory_bytes


def device(**values: Any) -> Device:
    """A CPU with plain float32, changed by `values`."""
    plain: dict[str, Any] = {"kind": "cpu", "name": "CPU", "memory_total_bytes": 32 * 10**9}
    return Device(**{**plain, "memory_free_bytes": 19 * 10**9, **values})


PLAIN_CPU = device(cores=2)
BF16_CPU = device(fast_bfloat16=True)
T4 = device(kind="cuda", name="Tesla T4", compute_capability=(7, 5))
A100 = device(kind="cuda", name="A100", compute_capability=(8, 0), fast_bfloat16=True)
APPLE = device(kind="mps", name="Apple GPU")


@pytest.mark.parametrize(
    ("machine", "weights", "autocast"),
    [
        (PLAIN_CPU, "float32", "no"),
        (BF16_CPU, "bfloat16", "no"),
        (T4, "float16", "fp16"),
        (A100, "bfloat16", "bf16"),
        (APPLE, "float32", "no"),
    ],
    ids=lambda value: value.name if isinstance(value, Device) else value,
)
def test_auto_takes_what_the_device_computes_itself(machine: Device, weights: Any, autocast: Any) -> None:
    assert choose_precision(machine) == Precision(weights, autocast)


@pytest.mark.parametrize(
    ("machine", "asked", "weights", "autocast"),
    [
        (A100, "float32", "float32", "no"),
        (A100, "float16", "float16", "fp16"),
        (T4, "bfloat16", "bfloat16", "bf16"),
        (BF16_CPU, "float32", "float32", "no"),
        (PLAIN_CPU, "bfloat16", "bfloat16", "no"),
    ],
)
def test_a_format_that_is_asked_for_is_given(machine: Device, asked: str, weights: Any, autocast: Any) -> None:
    assert choose_precision(machine, asked) == Precision(weights, autocast)


@pytest.mark.parametrize("machine", [PLAIN_CPU, BF16_CPU, APPLE])
def test_float16_without_loss_scaling_becomes_float32(machine: Device) -> None:
    assert choose_precision(machine, "float16") == Precision("float32", "no")


def test_the_badge_tells_what_matters_on_each_kind() -> None:
    assert PLAIN_CPU.sentence == "CPU, 2 cores, 19 GB free"
    assert T4.sentence == "Tesla T4, 19.0 of 32 GB free"


def test_this_machine_has_a_device_with_memory() -> None:
    here = detect()

    assert 0 < here.memory_free_bytes <= here.memory_total_bytes
    assert here.cores >= 1
    assert here.sentence
    assert choose_precision(here).weights in ("float32", "bfloat16", "float16")


def test_peak_memory_is_this_processs_own() -> None:
    held = bytearray(50_000_000)

    assert peak_memory_bytes(PLAIN_CPU) > len(held)
