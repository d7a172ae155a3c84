"""Which device there is and what suits it: every CUDA decision of the studio is made here.

A `Device` is a plain value, so that a T4 can be tested on a laptop. Knows nothing of models and recipes beyond the
number format. Source of the rules: measurements on the pinned versions (docs/design.md) and NVIDIA's capability table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psutil
import torch

DtypeName = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device that can train. Memory in bytes; on the CPU it is the machine's own memory."""

    kind: Literal["cpu", "cuda", "mps"]
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    compute_capability: tuple[int, int] | None = None
    """CUDA only: (7, 5) is a T4, (8, 0) an A100."""
    fast_bfloat16: bool = False
    """Whether the device itself computes in bfloat16; torch also says yes to emulation, ten times slower."""
    cores: int = 1

    @property
    def sentence(self) -> str:
        """The badge in the page's header: "CPU, 2 cores, 19 GB free"."""
        free, total = self.memory_free_bytes / 1e9, self.memory_total_bytes / 1e9
        if self.kind == "cpu":
            return f"{self.name}, {self.cores} cores, {free:.0f} GB free"
        return f"{self.name}, {free:.1f} of {total:.0f} GB free"


@dataclass(frozen=True)
class Precision:
    """In which number formats one training computes."""

    weights: DtypeName
    """Format of the frozen base weights in memory."""
    autocast: Literal["no", "bf16", "fp16"]
    """What the Trainer's automatic mixed precision does. "no" where the weights already have the fast format: on a
    CPU autocast only adds copies (measured: 139 -> 210 tokens/s without it and with grouping by length)."""


def detect() -> Device:
    """The best device of this machine: CUDA, else Apple's GPU, else the CPU."""
    memory = psutil.virtual_memory()
    cores = psutil.cpu_count(logical=False) or 1
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        capability = torch.cuda.get_device_capability()
        return Device(
            kind="cuda",
            name=torch.cuda.get_device_name(),
            memory_total_bytes=total,
            memory_free_bytes=free,
            compute_capability=capability,
            fast_bfloat16=capability >= (8, 0),
            cores=cores,
        )
    kind: Literal["cpu", "mps"] = "mps" if torch.backends.mps.is_available() else "cpu"
    return Device(
        kind=kind,
        name="Apple GPU" if kind == "mps" else "CPU",
        memory_total_bytes=memory.total,
        memory_free_bytes=memory.available,
        fast_bfloat16=kind == "cpu" and _cpu_computes_bfloat16(),
        cores=cores,
    )


def _cpu_computes_bfloat16() -> bool:
    """Whether the CPU has bfloat16 products (AMX or AVX512-BF16), not only the conversion."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def choose_precision(device: Device, asked: str = "auto") -> Precision:
    """Number formats for `device`; `asked` is the recipe's dtype.

    auto: bfloat16 where the device computes it, float16 with loss scaling on older GPUs (a T4 emulates bfloat16 and
    TRL would take it), float32 elsewhere.
    """
    if asked == "auto":
        asked = "bfloat16" if device.fast_bfloat16 else "float16" if device.kind == "cuda" else "float32"
    if asked == "float16" and device.kind != "cuda":
        asked = "float32"  # float16 needs loss scaling, which only CUDA has
    if asked == "bfloat16":
        return Precision("bfloat16", "bf16" if device.kind == "cuda" else "no")
    if asked == "float16":
        return Precision("float16", "fp16")
    return Precision("float32", "no")


def choose_answering_precision(device: Device, parameters: int) -> Precision:
    """Number formats for answering with a model of `parameters`, in the chat and in a merged export alike.

    On a CPU float32 where it takes at most half of the free memory: one token at a time it was two to three times as
    fast there as bfloat16 (observed: docs/design.md), and a merged model then answers as base and adapter do, token
    for token; rounding the merged weights to bfloat16 changes an answer here and there. Elsewhere as in training.
    """
    if device.kind == "cpu" and parameters * 4 <= device.memory_free_bytes / 2:
        return Precision("float32", "no")
    return choose_precision(device)


def peak_memory_bytes(device: Device) -> int:
    """Most memory this process held so far: of the GPU, else of the whole process."""
    if device.kind == "cuda":
        return int(torch.cuda.max_memory_allocated())
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
