"""The whole look at a dataset: every row read, cleaned, surveyed and tokenized, as plain values for page and terminal.

A scan of the same rows with the same tokenizer and options is answered from the cache. `Scans` runs one in the
background for the model server and says how far it is; a large one gets a process of its own, so that a chat answers
meanwhile. Everything goes through what training uses: `data.dataset.load`, `tokens.tokenize_many`.
"""

from __future__ import annotations

import functools
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from studio.data import sifting
from studio.data.dataset import Data, Told, load, tell_nobody
from studio.data.formats.formats import Format
from studio.data.sifting import key_of
from studio.data.sources import find_source
from studio.data.survey import survey
from studio.data.survey.findings import Finding
from studio.errors import StudioError
from studio.ml import models
from studio.ml.looking import audit, lengths
from studio.ml.text.chat_formats import TEMPLATES
from studio.ml.text.masking import masking_of
from studio.ml.text.templates import plain_text_note, template_used
from studio.recipe import ModelPart, Recipe
from studio.run_folder import write_json
from studio.settings import Settings

log = logging.getLogger("studio.scan")

OWN_PROCESS_FROM_BYTES = 64_000_000
"""Larger sources are scanned in a process of their own."""
DECIDING = (
    "max_length",
    "packing",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "assistant_only_loss",
    "completion_only_loss",
    "seed",
)
"""Fields of the recipe's training part that change what a scan says."""
SEVERITIES = ("bad", "warn", "note")


def scan(recipe: Recipe, settings: Settings, told: Told = tell_nobody) -> dict[str, Any]:
    """Everything there is to say about the recipe's dataset. Raises StudioError when it cannot be read at all."""
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    data = load(recipe, settings, told)
    seen = surveyed(data, settings, told)  # before tokenizer and lengths are in memory: each takes its share of it
    tokenizer = tokenizer_of(folder, recipe.model, data.form.template, data.sample)
    rows = lengths.measured(data, tokenizer, recipe, settings, told)
    context = getattr(models.read_config(folder).get_text_config(), "max_position_embeddings", None)
    found = [
        *audit.findings(data, rows, recipe, context),
        *survey.findings(seen, recipe.cleaning),
        *filter(None, [survey.overlap(*data.digests)]),
    ]
    return {
        "state": "done",
        **_counts(data, recipe),
        "findings": [_told(finding) for finding in sorted(found, key=lambda f: SEVERITIES.index(f.severity))],
        "template": template_value(tokenizer, recipe, data.form),
        "lengths": lengths.at_max_length(rows, recipe),
        "charts": seen.charts(),
    }


def tokenizer_of(folder: Path, part: ModelPart, baked: str | None, sample: str) -> Any:
    """The tokenizer that training would use; the last few are kept as long as their files do not change.

    Only for tokenizing: whoever changes one (a training, a chat) loads its own.
    """
    return _tokenizer(folder, part.model_dump_json(), baked, sample, tuple(_stamp(folder)))


@functools.lru_cache(maxsize=4)
def _tokenizer(folder: Path, part: str, baked: str | None, sample: str, _stamp: tuple[Any, ...]) -> Any:
    return models.load_tokenizer_for(folder, ModelPart.model_validate_json(part), baked, sample)


def surveyed(data: Data, settings: Settings, told: Told = tell_nobody) -> survey.SurveyResult:
    """What the survey finds in the rows to train on; kept in the cache."""
    rows = data.main
    asked = [rows.store.key, asdict(rows.form), rows.cleaning.model_dump(mode="json"), sifting.hash_of(rows.indices)]
    file = settings.data_cache / "surveys" / f"{sifting.key_of(asked)}.json"
    if file.is_file():
        return survey.SurveyResult.from_json(json.loads(file.read_text(encoding="utf-8")))
    looked = survey.Survey()
    done = 0
    for indices, examples in rows.batches():
        told("Looking for trouble", done, len(rows))
        done += len(indices)
        for index, example in zip(indices, examples, strict=True):
            looked.add(int(index) + 1, example)
    file.parent.mkdir(parents=True, exist_ok=True)
    result = looked.result()
    write_json(file, asdict(result))
    return result


def template_value(tokenizer: Any, recipe: Recipe, form: Format | None) -> dict[str, Any]:
    """Which chat template is used, who chose it, how answers are told from the rest, and what is worth a note."""
    baked = form.template if form else None
    note = plain_text_note(tokenizer, baked) if baked in TEMPLATES else None
    whole = form is not None and form.name == "text"
    masking = "Plain text is trained whole." if whole else masking_of(tokenizer)
    return {**asdict(template_used(tokenizer, recipe.model, baked)), "masking": masking, "note": note}


def _counts(data: Data, recipe: Recipe) -> dict[str, Any]:
    facts = data.store.facts
    return {
        "rows": len(data.store),
        "bad_rows": facts.bad_rows,
        "bad": [{**asdict(row), "sentence": row.sentence} for row in facts.bad[:20]],
        "unreadable": data.sifted.unreadable,
        "unreadable_rows": [asdict(row) for row in data.sifted.unreadable_rows],
        "train_rows": len(data.train),
        "held_out_rows": len(data.held_out),
        "steps": [asdict(step) for step in data.steps],
        "fingerprint": data.fingerprint,
        "changed_since": bool(recipe.data.fingerprint) and recipe.data.fingerprint != data.fingerprint,
        "columns": list(facts.columns),
        "format": asdict(data.form),
    }


def _told(finding: Finding) -> dict[str, Any]:
    return {
        **asdict(finding),
        "rows": list(finding.rows),
        "fixes": [{"label": f.label, "changes": dict(f.changes)} for f in finding.fixes],
    }


def key(recipe: Recipe, settings: Settings) -> str:
    """The same for two recipes exactly when a scan of them says the same."""
    folder, _ = models.resolve(recipe.model, settings, weights=False)
    tree = recipe.model_dump(mode="json")
    training = [tree["training"][name] for name in DECIDING]
    return key_of([tree["model"], tree["data"], tree["cleaning"], training, identities(recipe), _stamp(folder)])


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the files that make the tokenizer and its template."""
    files = (folder / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def identities(recipe: Recipe) -> list[str]:
    """What tells whether the content of the recipe's sources may have changed."""
    return [find_source(part).identity for part in (recipe.data, *recipe.data.mix)]


@dataclass
class Running:
    """One scan that is going on or over."""

    doing: str = "Starting"
    done: int = 0
    total: int = 0
    answer: dict[str, Any] | None = None
    error: StudioError | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def told(self, doing: str, done: int, total: int) -> None:
        """Note how far it is."""
        self.doing, self.done, self.total = doing, done, total


class Scans:
    """The scans of one model server. One at a time: two would only slow each other down."""

    KEPT = 16
    QUICK_SECONDS = 0.5

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._known: dict[str, Running] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def ask(self, recipe: Recipe) -> dict[str, Any]:
        """The scan's answer if it is over, else how far it is; the first question starts it. Raises its StudioError."""
        name = key(recipe, self.settings)
        with self._lock:
            running = self._known.get(name)
            if running is None or (running.error is not None and running.ended.is_set()):
                running = self._known[name] = Running()
                threading.Thread(target=self._run, args=(running, recipe, name), name="scan", daemon=True).start()
                while len(self._known) > self.KEPT:
                    self._known.pop(next(iter(self._known)))
        running.ended.wait(self.QUICK_SECONDS)  # most are over so soon that nobody needs to ask twice
        if running.error is not None:
            raise running.error
        if running.answer is not None:
            return running.answer
        return {"state": "running", "doing": running.doing, "done": running.done, "total": running.total}

    def _run(self, running: Running, recipe: Recipe, name: str) -> None:
        try:
            with self._turn:
                if find_source(recipe.data).size_bytes >= OWN_PROCESS_FROM_BYTES:
                    self._scan_elsewhere(running, recipe, name)
                running.answer = scan(recipe, self.settings, running.told)
        except StudioError as error:
            running.error = error
        except Exception as error:  # told to whoever asks; this thread has nobody else to tell
            log.exception("The scan failed")
            running.error = StudioError(f"The scan failed: {type(error).__name__}: {error}. server.log has more.")
        finally:
            running.ended.set()

    def _scan_elsewhere(self, running: Running, recipe: Recipe, name: str) -> None:
        """Fill the cache from a process of its own; what it refuses is found again, and said, by the scan here."""
        folder = self.settings.temporary / f"scan-{name}"
        folder.mkdir(exist_ok=True)
        recipe_file, progress = folder / "recipe.yaml", folder / "progress.json"
        recipe_file.write_text(recipe.to_yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "studio", "--home", str(self.settings.home), "data", "scan"]
        with subprocess.Popen(
            [*command, str(recipe_file), str(progress)],
            stdin=subprocess.PIPE,  # never written to: its end tells the process that we are gone
            stdout=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                if progress.is_file():
                    running.told(*json.loads(progress.read_text(encoding="utf-8")))
                time.sleep(0.3)
        for file in (recipe_file, progress):
            file.unlink(missing_ok=True)
        folder.rmdir()


def teller(file: Path, every_seconds: float = 0.3) -> Told:
    """Writes how far a scan is to `file`, at most a few times a second."""
    last = 0.0

    def told(doing: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_seconds:
            last = time.monotonic()
            write_json(file, [doing, done, total])

    return told
