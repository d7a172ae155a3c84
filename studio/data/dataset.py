"""A dataset as it will be trained: read, recognised, repaired, sifted, split and mixed, each step counted.

Training, preview, audit and evaluation all read through `load`, so that they see the same rows. Nothing here holds more
than a batch of rows in memory; what is kept for each row is a few bytes. Knows no tokenizer.

    data = load(recipe, settings)
    for example in data.train: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from studio.data import sifting
from studio.data.cleaning import choose, hold_out, repair
from studio.data.duplicates import first_of_each, is_among
from studio.data.formats.conversations import read_row
from studio.data.formats.formats import Format, recognise
from studio.data.sifting import Indices, Sifted, StepCount
from studio.data.store import RowStore, open_store
from studio.errors import InvalidInput
from studio.messages import Example
from studio.recipe import CleaningPart, DataPart, DataSource, MixedSource, Recipe
from studio.settings import Settings

SAMPLED_ROWS = 200
"""Rows by which a format is recognised."""
BATCH_ROWS = 1000

Told = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""


def tell_nobody(doing: str, done: int, total: int) -> None:
    """For who does not watch."""


class Rows(Sequence[Example]):
    """Some rows of a store as examples, read when they are asked for."""

    def __init__(self, store: RowStore, form: Format, cleaning: CleaningPart, indices: Indices) -> None:
        self.store = store
        self.form = form
        self.cleaning = cleaning
        self.indices = indices
        """Where each stands in the store, from 0."""

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        if isinstance(at, slice):
            return self._read(self.indices[at])
        return self._read(self.indices[[at]])[0]

    def __iter__(self) -> Iterator[Example]:
        for _, batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[tuple[Indices, list[Example]]]:
        """(where they stand in the store, the examples) of a batch after the other."""
        for start in range(0, len(self.indices), BATCH_ROWS):
            some = self.indices[start : start + BATCH_ROWS]
            yield some, self._read(some)

    def _read(self, indices: Indices) -> list[Example]:
        raw = self.store.rows([int(index) for index in indices])
        return [repair(read_row(row, self.form), self.cleaning)[0] for row in raw]


class Mixed(Sequence[Example]):
    """Several of them, one behind the other; the trainer shuffles."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number = at + len(self) if at < 0 else at
        for part in self.parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(at)

    def __iter__(self) -> Iterator[Example]:
        for part in self.parts:
            yield from part


@dataclass(frozen=True)
class Data:
    """A dataset, ready to be trained."""

    train: Mixed
    held_out: Rows
    form: Format
    others: tuple[Format, ...]
    """Formats that would fit too, best first."""
    store: RowStore
    sifted: Sifted
    steps: tuple[StepCount, ...]
    """The cleaning steps that are on, in their order."""
    fingerprint: str
    """Of the content of all sources: the same content has the same one."""
    held_out_digests: Indices
    """64-bit digests of the rows held out."""

    parts_sifted: tuple[Sifted, ...]
    """Of each part of `train`: what one pass over all its rows found, also over those that a step drops."""

    @property
    def sample(self) -> str:
        """The first text of a set whose texts carry a chat format along; it shows the format's details. Else empty."""
        return baked_sample(self.form, self.store.rows([0]))

    @property
    def digests(self) -> tuple[Indices, Indices]:
        """(digests of the rows to train on that equal one held out, digests of those held out), 64 bits each."""
        digests = self.sifted.digests
        places = np.flatnonzero(is_among(digests, self.held_out_digests))
        return digests[places[np.isin(places, self.main.indices)]], self.held_out_digests

    @property
    def main(self) -> Rows:
        """The rows to train on of the dataset itself, without what is mixed in."""
        return self.train.parts[0]


def load(recipe: Recipe, settings: Settings, told: Told = tell_nobody) -> Data:
    """Read what the recipe names, clean it and hold out its rows.

    Rows that cannot be read are counted, not refused: `refuse_bad_rows` does that. Raises StudioError in a sentence.
    """
    part, cleaning, seed = recipe.data, recipe.cleaning, recipe.training.seed
    store, form, others = open_recognised(part, settings, told)
    sifted = sifting.sift(store, form, cleaning, settings, told, group_by=part.held_out_by)
    if part.held_out_by and part.held_out_by not in store.facts.columns:
        raise InvalidInput(
            f"There is no column {part.held_out_by} to keep rows together by. There are: "
            f"{', '.join(store.facts.columns[:40])}.",
            field="data.held_out_by",
        )
    indices, steps = _left(store, form, cleaning, sifted, seed)
    held: Rows
    if store.held_out is not None and part.held_out_rows:
        held, held_digests = _own_held_out(store.held_out, part, cleaning, settings, told)
    else:
        groups = sifted.groups[indices] if part.held_out_by else None
        indices, held_indices = hold_out(indices, groups, part.held_out_rows, seed)
        held, held_digests = Rows(store, form, cleaning, held_indices), sifted.digests[held_indices]
    if cleaning.dedupe != "no":
        indices, steps = _without_held_out(indices, sifted.digests[indices], held_digests, steps)
    parts, passes = [Rows(store, form, cleaning, indices)], [sifted]
    for source in part.mix:
        mixed, its_pass = _mixed_in(source, cleaning, seed, settings, told)
        parts.append(mixed)
        passes.append(its_pass)
    prints = [rows.store.facts.fingerprint for rows in parts]
    fingerprint = prints[0] if len(prints) == 1 else sifting.key_of(prints)
    return Data(Mixed(parts), held, form, tuple(others), store, sifted, steps, fingerprint, held_digests, tuple(passes))


def open_recognised(
    part: DataSource, settings: Settings, told: Told = tell_nobody
) -> tuple[RowStore, Format, list[Format]]:
    """(the rows of `part`, their format, formats that would fit too)."""
    store = open_store(part, settings, lambda done, total: told("Reading the file", done, total))
    sample = store.rows(range(min(SAMPLED_ROWS, len(store))))
    form, *others = recognise(sample, part, store.facts.label_names)
    return store, form, others


def baked_sample(form: Format, rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of the first of `rows` if the format says that the texts carry a chat format along, else empty."""
    if form.template is None or not rows:
        return ""
    return read_row(rows[0], form).text or ""


def _left(
    store: RowStore, form: Format, cleaning: CleaningPart, sifted: Sifted, seed: int
) -> tuple[Indices, tuple[StepCount, ...]]:
    """What is left after all steps, and what each of them did."""
    indices = sifted.kept
    steps = list(sifted.steps)
    if cleaning.dedupe != "no":
        before = len(indices)
        indices = indices[first_of_each(sifted.digests[indices])]
        if cleaning.dedupe == "near":
            rows = Rows(store, form, cleaning, indices)
            indices = sifting.without_near_duplicates(rows.batches(), indices, cleaning.near_duplicate_similarity)
        steps.append(StepCount("dedupe", dropped=before - len(indices), left=len(indices)))
    if cleaning.shuffle or cleaning.sample_rows:
        before = len(indices)
        indices = np.sort(choose(indices, cleaning, seed))
        if cleaning.sample_rows:
            steps.append(StepCount("sample_rows", dropped=before - len(indices), left=len(indices)))
    return indices, tuple(steps)


def _without_held_out(
    indices: Indices, digests: Indices, held_out: Indices, steps: tuple[StepCount, ...]
) -> tuple[Indices, tuple[StepCount, ...]]:
    """Rows that are held out as well (a set may bring its own held-out part) count as duplicates, too."""
    twice = is_among(digests, held_out)
    more = int(np.count_nonzero(twice))
    counted = [
        replace(step, dropped=step.dropped + more, left=step.left - more) if step.name == "dedupe" else step
        for step in steps
    ]
    return indices[~twice], tuple(counted)


def _own_held_out(
    store: RowStore, part: DataPart, cleaning: CleaningPart, settings: Settings, told: Told
) -> tuple[Rows, Indices]:
    """The held-out rows that a dataset brings along: sifted like the others, the first ones taken."""
    sample = store.rows(range(min(SAMPLED_ROWS, len(store))))
    form = recognise(sample, part, store.facts.label_names)[0]
    own = cleaning.model_copy(update={"drop_rows": ()})  # those are numbers of the rows to train on
    sifted = sifting.sift(store, form, own, settings, told)
    chosen = sifted.kept[: part.held_out_rows]
    return Rows(store, form, own, chosen), sifted.digests[chosen]


def _mixed_in(
    source: MixedSource, cleaning: CleaningPart, seed: int, settings: Settings, told: Told
) -> tuple[Rows, Sifted]:
    """(the rows of a further dataset, each as often as its weight says; what one pass over all of them found).

    Repairs, drop_empty and dedupe hold for it too; the other steps speak of the main dataset's rows and columns.
    """
    store, form, _ = open_recognised(source, settings, told)
    own = cleaning.model_copy(update={"drop_rows": (), "keep_if": "", "shuffle": False, "sample_rows": 0})
    sifted = sifting.sift(store, form, own, settings, told)
    if source.bad_rows == "stop":
        refuse_unreadable(source.dataset, store, sifted)
    indices, _ = _left(store, form, own, sifted, seed)
    whole, rest = divmod(round(source.weight * len(indices)), max(1, len(indices)))
    some = np.random.default_rng(seed).choice(indices, rest, replace=False) if rest else indices[:0]
    return Rows(store, form, own, np.sort(np.concatenate([*[indices] * whole, some]))), sifted


def refuse_bad_rows(data: Data, part: DataPart) -> None:
    """Raise InvalidInput where rows cannot be read and the recipe does not say to skip them, where the format is only a
    guess, or where the content changed since it was chosen.
    """
    if part.fingerprint and part.fingerprint != data.fingerprint:
        raise InvalidInput(
            f"{part.dataset} has changed since it was chosen: its content is not what the Data page showed. Look at it "
            "again there and use it anew.",
            field="data.fingerprint",
        )
    if data.form.sureness == "guess":
        raise InvalidInput(
            f"What the columns of {part.dataset} mean is only a guess: {data.form.reason}. Say on the Data page which "
            "column is the question and which the answer (data.mapping), or confirm the guess there.",
            field="data.mapping",
        )
    if part.bad_rows == "stop":
        refuse_unreadable(part.dataset, data.store, data.sifted)


def refuse_unreadable(name: str, store: RowStore, sifted: Sifted) -> None:
    """Raise InvalidInput naming the first row that cannot be read, if there is one."""
    skip = "Correct them, or skip them on the Data page (data.bad_rows: skip)."
    if store.facts.bad_rows:
        first = store.facts.bad[0].sentence if store.facts.bad else ""
        raise InvalidInput(
            f"{store.facts.bad_rows:,} rows of {name} cannot be read. The first: {first} {skip}", field="data.bad_rows"
        )
    if sifted.unreadable:
        row = sifted.unreadable_rows[0]
        raise InvalidInput(
            f"{sifted.unreadable:,} rows of {name} do not fit the format. The first: row {row.number:,}, "
            f"{row.reason}. {skip}",
            field="data.bad_rows",
        )
