"""What the worker tells while it trains, and what it obeys: metrics, heartbeat, checkpoints, Stop, and NaN.

Writes to the run's folder only. Knows the Trainer's callback interface; nothing of models or data.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from studio.ml.devices import Device, peak_memory_bytes
from studio.run_folder import RunFolder
from studio.runs import RunStatus

HEARTBEAT_SECONDS = 2.0
OVERFLOWS_TOLERATED = 20
"""Steps in a row whose gradient may overflow in float16: the loss scale starts at 65536 and halves at each."""
PROMISE_SECONDS = 120.0
"""Longest time that a single step or save is expected to take; a longer silence is shown as "no sign of life"."""

LOGGED = {
    "loss": "loss",
    "eval_loss": "eval_loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "mean_token_accuracy": "mean_token_accuracy",
    "eval_mean_token_accuracy": "eval_mean_token_accuracy",
    "num_tokens": "num_tokens",
    "epoch": "epoch",
}
"""The Trainer's log keys that are kept, under their own names."""


class Reporter(TrainerCallback):
    """Appends what the Trainer logs to the run's folder, and ends the training when it is asked to or must."""

    def __init__(self, folder: RunFolder, device: Device, keep_checkpoints: int) -> None:
        self.folder = folder
        self.device = device
        self.keep_checkpoints = keep_checkpoints
        self.stopped = False
        self.not_finite: str | None = None
        self.training_seconds = 0.0
        self._began = time.monotonic()
        self._step_began = 0.0
        self._last_beat = 0.0
        self._last_tokens = 0.0
        self._last_seconds = 0.0
        self._overflows = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say that it runs, and for how many steps."""
        self._began = time.monotonic()
        self.folder.add_event("facts", total_steps=state.max_steps)
        self.folder.add_event("status", status=RunStatus.RUNNING)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the step's clock; evaluation and saving do not count as training time."""
        self._step_began = time.monotonic()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Beat between the batches of an accumulated step."""
        self._beat()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Obey Stop: save a checkpoint and end."""
        self.training_seconds += time.monotonic() - self._step_began
        self._beat()
        if self.folder.stop_asked() and not self.stopped:
            self.stopped = True
            self.folder.add_event("status", status=RunStatus.STOPPING)
            control.should_save = True
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep the numbers; a loss that is no number any more ends the run at once."""
        values = {ours: float(logs[theirs]) for theirs, ours in LOGGED.items() if logs and theirs in logs}
        if not values or "train_runtime" in (logs or {}):
            return
        if "loss" in values:
            values["memory_bytes"] = float(peak_memory_bytes(self.device))
            speed = self._tokens_per_second(values.get("num_tokens", 0.0))
            if speed is not None:
                values["tokens_per_second"] = speed
        values["elapsed_seconds"] = time.monotonic() - self._began
        self.folder.add_metrics(state.global_step, values)
        print(_log_line(state.global_step, values), flush=True)
        for name in ("loss", "grad_norm"):
            if self._is_the_end(name, values.get(name), args) and self.not_finite is None:
                self.not_finite = f"{name} became {values[name]} at step {state.global_step}"
                control.should_training_stop = True

    def _is_the_end(self, name: str, value: float | None, args: Any) -> bool:
        """Whether `value` is no number any more; an overflow in float16 is none: that step is skipped."""
        if value is None:
            return False
        if name == "grad_norm" and args.fp16:
            self._overflows = 0 if math.isfinite(value) else self._overflows + 1
            return self._overflows > OVERFLOWS_TOLERATED
        return not math.isfinite(value)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the checkpoint and remove the oldest ones, by step number: file times change with the clock."""
        newest = self.folder.checkpoints / f"checkpoint-{state.global_step}"
        (newest / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody needs to resume from
        size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
        self.folder.add_event(
            "checkpoint", step=state.global_step, folder=f"checkpoints/{newest.name}", size_bytes=size
        )
        for old in checkpoint_folders(self.folder.checkpoints)[: -self.keep_checkpoints]:
            shutil.rmtree(old)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Beat while the held-out loss is measured."""
        self._beat()

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat >= HEARTBEAT_SECONDS:
            self._last_beat = time.monotonic()
            self.folder.beat(PROMISE_SECONDS)

    def _tokens_per_second(self, tokens: float) -> float | None:
        """Real (not padding) tokens a second since the last log; None where no time has passed."""
        seconds = self.training_seconds - self._last_seconds
        new = tokens - self._last_tokens
        self._last_seconds, self._last_tokens = self.training_seconds, tokens
        return new / seconds if seconds > 0 and new > 0 else None


def _log_line(step: int, values: dict[str, float]) -> str:
    """One line for people, as the run's page shows it."""
    if "eval_loss" in values:
        return f"step {step}  held-out loss {values['eval_loss']:.3f}"
    told = f"step {step}  loss {values.get('loss', math.nan):.3f}  grad_norm {values.get('grad_norm', math.nan):.2f}"
    return f"{told}  lr {values.get('learning_rate', 0):.1e}  {values.get('tokens_per_second', 0):.0f} tokens/s"


def checkpoint_folders(output: Path) -> list[Path]:
    """The Trainer's checkpoint folders, oldest step first."""
    found = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))
