"""A job's folder: the truth about a run or an export, which the database only indexes.

    run.json         what never changes: id, name, created_at
    recipe.yaml      what was asked for
    events.jsonl     everything that happened, one JSON object a line, appended by supervisor and worker
    metrics.jsonl    one line a logged step: {"step": 3, "loss": 1.2, ...}, appended by the worker alone
    process.json     who works on it: pid, start ticks, boot id
    heartbeat.json   the worker's last sign of life and when it promised the next
    control/stop     exists when somebody asked the worker to stop
    worker.log       everything the worker and its libraries printed
    checkpoints/  adapter/  exports/

Lines are appended with one write each, so two appending processes never mix them; a torn last line (a crash, a full
disk) is passed over, and the next writer starts a line of its own. Knows files only: no database, no model library.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studio.runs import Metric, Run, RunStatus

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def now() -> datetime:
    """The current time, UTC and aware."""
    return datetime.now(UTC)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one job's folder; holds no open file and no state of its own."""

    path: Path

    @property
    def id(self) -> str:
        """The job's id: the folder's name."""
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        """What was asked for, as YAML."""
        return self.path / "recipe.yaml"

    @property
    def log_file(self) -> Path:
        """Output of the worker and its libraries."""
        return self.path / "worker.log"

    @property
    def adapter(self) -> Path:
        """The trained adapter in PEFT's layout; complete when it exists (it is renamed into place)."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """The trainer's output folder, with `checkpoint-N` inside."""
        return self.path / "checkpoints"

    @property
    def exports(self) -> Path:
        """Folder of this run's exports; each is a job folder of its own."""
        return self.path / "exports"

    @property
    def samples_file(self) -> Path:
        """The held-out prompts and the answers before and after."""
        return self.path / "samples.json"

    # -- making -----------------------------------------------------------------------------------------------

    def create(self, identity: dict[str, Any], recipe_yaml: str) -> None:
        """Make the folder with its identity and recipe, and the first event: queued.

        The folder appears whole: it is filled beside and renamed. Raises FileExistsError if the id is taken.
        """
        if self.path.exists():
            raise FileExistsError(self.path)
        beside = self.path.with_name(f".{self.path.name}.tmp")
        shutil.rmtree(beside, ignore_errors=True)  # a start that was killed halfway
        (beside / "control").mkdir(parents=True, mode=0o700)
        write_json(beside / "run.json", identity)
        (beside / "recipe.yaml").write_text(recipe_yaml, encoding="utf-8")
        RunFolder(beside).add_event("status", status=RunStatus.QUEUED)
        os.rename(beside, self.path)

    def identity(self) -> dict[str, Any]:
        """What run.json says. Raises OSError or ValueError where it is missing or broken."""
        value = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        if not isinstance(value, dict) or not {"name", "created_at"} <= value.keys():
            raise ValueError(f"{self.path / 'run.json'} lacks the run's name or time.")
        return value

    # -- appending --------------------------------------------------------------------------------------------

    def add_event(self, kind: str, /, **values: Any) -> None:
        """Append one event with the current time. Numbers that are NaN or infinite become null, JSON has none."""
        self._append("events.jsonl", {"at": now().isoformat(), "event": kind, **_finite(values)})

    def add_metrics(self, step: int, values: dict[str, float]) -> None:
        """Append the numbers of one optimizer step. NaN and infinities are written as words, JSON has none."""
        line: dict[str, Any] = {"step": step}
        for name, value in values.items():
            line[name] = value if math.isfinite(value) else str(float(value))
        self._append("metrics.jsonl", line)

    def _append(self, name: str, value: dict[str, Any]) -> None:
        line = (json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n").encode("utf-8")
        handle = os.open(self.path / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            if end and os.pread(handle, 1, end - 1) != b"\n":
                line = b"\n" + line  # the last writer was cut off: its half line must not swallow this one
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)  # a full disk takes the beginning only
        finally:
            os.close(handle)

    # -- reading ----------------------------------------------------------------------------------------------

    def events(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole events from byte `offset` on, and the offset to continue from."""
        return self._read("events.jsonl", offset)

    def metrics(self, offset: int = 0) -> tuple[list[Metric], int]:
        """Whole metric lines from byte `offset` on as records, and the offset to continue from."""
        lines, end = self._read("metrics.jsonl", offset)
        return list(_metrics_of(lines)), end

    def _read(self, name: str, offset: int) -> tuple[list[dict[str, Any]], int]:
        try:
            with open(self.path / name, "rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        end = data.rfind(b"\n") + 1
        values = []
        for line in data[:end].splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue  # torn by a crash or a full disk: the lines around it are whole
            if isinstance(value, dict):
                values.append(value)
        return values, offset + end

    def status(self) -> RunStatus:
        """The status that the events add up to; `queued` for a folder without events."""
        events, _ = self.events()
        return fold_status(events)

    def read_run(self) -> Run:
        """The whole run as the folder tells it, without its metrics.

        Raises OSError, ValueError or InvalidInput (a recipe that cannot be read) if it is no run.
        """
        from studio.recipe import read_recipe_dict

        identity = self.identity()
        run = Run(
            id=self.id,
            name=str(identity["name"]),
            status=RunStatus.QUEUED,
            created_at=datetime.fromisoformat(identity["created_at"]),
            recipe=read_recipe_dict(self.recipe_file),
        )
        events, _ = self.events()
        return apply_events(run, events)

    # -- the worker's process ---------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """Leave a request that the worker sees at its next step."""
        (self.path / "control").mkdir(exist_ok=True)
        (self.path / "control" / "stop").touch()

    def stop_asked(self) -> bool:
        """Whether somebody asked the worker to stop."""
        return (self.path / "control" / "stop").exists()

    def beat(self, next_within_seconds: float) -> None:
        """Sign of life, with a promise of the next."""
        write_json(
            self.path / "heartbeat.json",
            {"at": now().isoformat(), "next_within_seconds": next_within_seconds},
        )

    def log_tail(self, max_bytes: int = 8000) -> str:
        """The end of the worker's log."""
        try:
            with open(self.log_file, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - max_bytes))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def _finite(value: Any) -> Any:
    """`value` with None in the place of every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _metrics_of(lines: list[dict[str, Any]]) -> Iterator[Metric]:
    for line in lines:
        step = line.get("step")
        if not isinstance(step, int):
            continue
        for name, value in line.items():
            if name == "step":
                continue
            number = _NOT_FINITE.get(value) if isinstance(value, str) else value
            if isinstance(number, int | float):
                yield Metric(step=step, name=name, value=float(number))


def fold_status(events: list[dict[str, Any]], start: RunStatus = RunStatus.QUEUED) -> RunStatus:
    """The last status told by `events`, which wins over every earlier one."""
    for event in reversed(events):
        if event.get("event") == "status":
            return RunStatus(event["status"])
    return start


def apply_events(run: Run, events: list[dict[str, Any]]) -> Run:
    """`run` after `events`: the one place that says what each kind of event means."""
    from dataclasses import replace

    for event in events:
        match event.get("event"):
            case "status":
                status = RunStatus(event["status"])
                at = datetime.fromisoformat(event["at"])
                run = replace(run, status=status, cause=event.get("cause"))
                if status is RunStatus.STARTING:
                    run = replace(run, started_at=at, ended_at=None)
                if status.is_over:
                    run = replace(run, ended_at=at)
            case "facts":
                facts = {k: v for k, v in event.items() if k not in ("event", "at")}
                run = replace(run, facts={**run.facts, **facts}, total_steps=facts.get("total_steps", run.total_steps))
            case "result":
                result = {k: v for k, v in event.items() if k not in ("event", "at")}
                run = replace(run, result={**run.result, **result})
            case "samples":
                run = replace(run, samples=tuple(event["samples"]))
            case "renamed":
                run = replace(run, name=str(event["name"]))
    return run
