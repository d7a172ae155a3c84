"""Everything that a user can ask for, as the verbs of one object that pages and the command line are handed.

Knows settings, the history, the supervisor and the model server; no page and no model library.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from studio.errors import HistoryError, InvalidInput, NotFound, Refused
from studio.history import History, is_damaged, set_aside
from studio.recipe import Recipe, recipe_from_dict
from studio.run_folder import RunFolder, now
from studio.runs import Export, Metric, Run, RunStatus
from studio.services import datasets, names, supervisor, trash, workers
from studio.services.datasets import RegisteredDataset
from studio.services.model_server import ModelServer
from studio.services.paths import check_recipe_paths
from studio.services.supervisor import Supervisor, take
from studio.settings import Settings

log = logging.getLogger("studio")

LEAST_FREE_BYTES = 500_000_000
"""Free disk without which no run is taken: checkpoints, logs and the adapter of a small model."""
EXPORT_KINDS = ("adapter", "merged")


@dataclass(frozen=True)
class Studio:
    """One open studio."""

    settings: Settings
    history: History
    server: ModelServer
    _supervisor: Supervisor
    notice: str | None = None
    """A sentence for the start page, such as that the database was rebuilt."""

    @classmethod
    def open(cls, settings: Settings, *, start_runs: bool = True) -> Self:
        """Open the home, the database (set aside and rebuilt if it is damaged) and begin to supervise.

        With `start_runs` False queued runs stay queued: for commands that look and go away.
        """
        settings.make_folders()
        lock = FileLock(settings.home / "supervisor.lock", thread_local=False)
        take(lock)
        try:
            history, notice = _open_history(settings, may_rebuild=lock.is_locked)
        except BaseException:
            lock.release()
            raise
        keeper = Supervisor(settings, history, lock, start_runs=start_runs)
        keeper.start()
        return cls(settings, history, ModelServer(settings), keeper, notice)

    def close(self) -> None:
        """Stop supervising and serving; running trainings go on."""
        self._supervisor.close()
        self.server.close()
        self.history.close()

    @property
    def supervisor(self) -> Supervisor | None:
        """The supervisor; None while another process supervises this home. When that ends, this studio goes on."""
        return self._supervisor if self._supervisor.leads else None

    def sync(self) -> None:
        """Wait until the history shows what the folders say now, unless another process supervises this home."""
        if self.supervisor is not None:
            self.supervisor.sync()

    # -- runs -------------------------------------------------------------------------------------------------

    def folder(self, run_id: str) -> RunFolder:
        """The folder of a run. Raises NotFound; an id can never lead out of the runs' folder."""
        folder = RunFolder(self.settings.runs / run_id)
        inside = run_id and not run_id.startswith(".") and folder.path.parent == self.settings.runs
        if not inside or not os.path.isfile(folder.path / "run.json"):
            raise NotFound("This run does not exist any more. It may have been deleted in another window.")
        return folder

    def start_run(self, recipe: Recipe, name: str = "") -> str:
        """Queue a run of `recipe`; returns its id. Raises StudioError before anything is written."""
        check_recipe_paths(recipe, self.settings)
        free = shutil.disk_usage(self.settings.runs).free
        if free < LEAST_FREE_BYTES:
            raise Refused(
                f"The disk has {free / 1e9:.1f} GB free, a run needs about {LEAST_FREE_BYTES / 1e9:.1f} GB. "
                "Delete old runs on the History page and empty the trash there."
            )
        taken = {run.name for run in self.history.runs(limit=1000)}
        name = names.one_line(name) or names.new_name(taken)
        created_at = now()
        run_id = names.new_id(name, created_at.strftime("%Y%m%d-%H%M%S"))
        identity = {"id": run_id, "name": name, "created_at": created_at.isoformat()}
        RunFolder(self.settings.runs / run_id).create(identity, recipe.to_yaml())
        self.sync()
        return run_id

    def stop_run(self, run_id: str) -> None:
        """Ask a run to stop at its next step, keeping what it learned; takes a queued one out of the queue."""
        self.folder(run_id).ask_to_stop()
        self.sync()

    def delete_run(self, run_id: str) -> None:
        """Move a run to the trash. Raises Refused while it is running."""
        folder = self.folder(run_id)
        status = folder.status()
        if status.is_live:
            raise Refused(f"This run is {status}. Stop it first, then delete it.")
        trash.put(folder, self.settings)
        self.sync()

    def undo_delete(self, run_id: str) -> None:
        """Bring a run back from the trash. Raises NotFound when it is not there any more."""
        trash.take_back(run_id, self.settings)
        self.sync()

    def trash_bytes(self) -> int:
        """Disk that deleted runs still take."""
        return trash.size_bytes(self.settings)

    def empty_trash(self) -> int:
        """Remove deleted runs for good; returns the bytes freed."""
        return trash.empty(self.settings)

    def rename_run(self, run_id: str, name: str) -> None:
        """Give a run another name."""
        cleaned = names.one_line(name)
        if not cleaned:
            raise InvalidInput("A run needs a name.", field="name")
        self.folder(run_id).add_event("renamed", name=cleaned)
        self.sync()

    def recipe_of(self, run_id: str) -> Recipe:
        """The recipe of a run, to clone it into the form."""
        return recipe_from_dict(self.history.run(run_id).recipe)

    def live_run(self) -> Run | None:
        """The run that has a worker now, else the next in the queue, else None."""
        live = [s for s in RunStatus if s.is_live]
        runs = self.history.runs(statuses=live, limit=1) or self.history.runs(statuses=[RunStatus.QUEUED], limit=100)
        return runs[-1] if runs else None

    def curves(self, run_id: str, metric_names: Sequence[str]) -> dict[str, list[Metric]]:
        """All values of some metrics, each in step order."""
        curves: dict[str, list[Metric]] = {name: [] for name in metric_names}
        for metric in self.history.metrics(run_id, names=metric_names):
            curves[metric.name].append(metric)
        return curves

    # -- exports ----------------------------------------------------------------------------------------------

    def export(self, run_id: str, kind: str) -> Export:
        """Make an export and wait for it. Raises StudioError with the cause when it cannot be made."""
        if kind not in EXPORT_KINDS:
            raise InvalidInput(f"An export is one of {', '.join(EXPORT_KINDS)}, not {kind}.", field="kind")
        folder = self.folder(run_id)
        run = folder.read_run()
        if not folder.adapter.is_dir():
            raise Refused(f"{run.name} has no adapter yet: let it finish, or stop it, then export.")
        name = f"{names.slug(run.name)}-{kind}-{uuid.uuid4().hex[:6]}" + (".zip" if kind == "adapter" else "")
        workers.start_worker(self.settings, folder, "--export", kind, "--to", name).wait()
        events, _ = folder.events()
        for event in reversed(events):
            if event.get("id") == name:
                if event["event"] == "export_failed":
                    raise Refused(event["cause"])
                self.sync()
                return supervisor.exports_of([event])[0]
        raise Refused("The export ended without a word; the run's log may say why.")

    def export_path(self, run_id: str, export: Export) -> Path:
        """Where an export lies on disk."""
        return self.folder(run_id).path / export.path

    # -- datasets ---------------------------------------------------------------------------------------------

    def take_upload(self, source: Path, original_name: str) -> Path:
        """Keep an uploaded file in the studio's datasets under a harmless name; an equal name gets a number."""
        return datasets.take_upload(self.settings, source, original_name)

    def uploads(self) -> list[Path]:
        """The files that were uploaded, newest first."""
        return datasets.uploads(self.settings)

    def datasets(self) -> list[RegisteredDataset]:
        """The registered datasets, newest first."""
        return datasets.registered(self.settings)

    def save_dataset(self, name: str, licence: str, recipe: Recipe, fingerprint: str, rows: int) -> RegisteredDataset:
        """Register the data and cleaning of `recipe` under a name. Raises StudioError before anything is written."""
        check_recipe_paths(recipe, self.settings)
        return datasets.register(self.settings, name, licence, recipe, fingerprint, rows)

    def forget_dataset(self, slug: str) -> None:
        """Take a registered dataset off the list; its files stay. Raises NotFound when it is not on it."""
        datasets.forget(self.settings, slug)

    def runs_of_dataset(self, entry: RegisteredDataset) -> list[Run]:
        """The runs that learned from a registered dataset, newest first."""
        return datasets.runs_of(self.history, entry)

    def versions(self, run: Run) -> dict[str, Any]:
        """Library versions that a run was made with."""
        return dict(run.facts.get("versions", {}))


def _open_history(settings: Settings, *, may_rebuild: bool) -> tuple[History, str | None]:
    """The history, and what to tell of it. A damaged one is set aside, but never while another process has it open."""
    try:
        return History.open(settings.database_url), None
    except HistoryError:
        if not may_rebuild or not is_damaged(settings.database_url):
            raise
    aside = set_aside(settings.database_url)
    notice = f"The history database was damaged. It was set aside as {aside} and rebuilt from the run folders."
    log.warning(notice)
    return History.open(settings.database_url), notice


def refuse_if_supervised(settings: Settings) -> None:
    """Raise Refused while a studio is open on this home: its database is in use."""
    try:
        with FileLock(settings.home / "supervisor.lock", timeout=0):
            return
    except Timeout:
        raise Refused("A studio is open on this home. Close it first; its database is in use.") from None
