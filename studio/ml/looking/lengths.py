"""How long each row is in tokens, where its answers end, what of it is trained: measured once, asked often.

The numbers come from `tokens.tokenize_many`, which is what training uses. They take 17 bytes a row and lie in the
cache, one file for each dataset, tokenizer, template and loss option; so a slider over max_length costs milliseconds.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.data import sifting
from studio.data.cleaning import REPAIRS
from studio.data.dataset import Data, Rows, Told, tell_nobody
from studio.data.sifting import Indices, Sifted
from studio.data.survey.findings import ROWS_NAMED
from studio.ml.text.tokens import IGNORED, Tokens, tokenize_many
from studio.recipe import Recipe
from studio.settings import Settings

NOT_RENDERED, BEGINS_TWICE, END_UNTRAINED, HAS_SYSTEM = 1, 2, 4, 8
"""Bits of `flags`."""
SIMULATED_ROWS = 100_000
"""Rows whose batches are laid out to see the padding; more change the share in its third digit only."""
MEGABATCH = 50
"""Batches that transformers sorts by length together (`trainer_pt_utils.get_length_grouped_indices`)."""
BINS = 40
PIECE = 250_000
"""Rows that are counted at once."""
LONG_TAIL = 1.25
"""Rows longer than this times the 99th percentile share one bar."""


@dataclass(frozen=True)
class Lengths:
    """One entry a row; `problems` are the sentences of the first rows that cannot be written in the template."""

    total: Indices
    trained: Indices
    first_trained: Indices
    """Position of the first trained token; where there is none, `total`."""
    last_end: Indices
    """Position behind the last answer with the token that ends it; where there is none, 0."""
    flags: Indices
    problems: tuple[tuple[int, str], ...] = ()
    """(index in the store, sentence)."""

    @classmethod
    def of(cls, arrays: Sequence[Indices], problems: Sequence[tuple[int, str]] = ()) -> Lengths:
        """From the arrays in the order of `arrays`."""
        total, trained, first_trained, last_end, flags = arrays
        return cls(total, trained, first_trained, last_end, flags, tuple(problems))

    @property
    def arrays(self) -> tuple[Indices, ...]:
        """All that has one entry a row."""
        return self.total, self.trained, self.first_trained, self.last_end, self.flags

    def has(self, flag: int) -> Indices:
        """A mask of the rows that have a flag."""
        return (self.flags & flag) != 0


_FINGERPRINTS: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Of tokenizers seen before: writing a vocabulary out takes as long as a slider may."""


def measured(data: Data, tokenizer: Any, recipe: Recipe, settings: Settings, told: Told = tell_nobody) -> Lengths:
    """The numbers of all rows that will be trained, those of mixed datasets behind the others."""
    of_parts = [
        measure(part, sifted, tokenizer, recipe, settings, told)
        for part, sifted in zip(data.train.parts, data.parts_sifted, strict=True)
    ]
    if len(of_parts) == 1:
        return of_parts[0]
    columns = zip(*(part.arrays for part in of_parts), strict=True)
    return Lengths.of([np.concatenate(column) for column in columns], of_parts[0].problems)


def measure(
    part: Rows, sifted: Sifted, tokenizer: Any, recipe: Recipe, settings: Settings, told: Told = tell_nobody
) -> Lengths:
    """The numbers of the rows of `part`. Every readable row of its store is measured, also those that a step drops,
    and kept in the cache: so switching a step costs nothing.
    """
    file = settings.data_cache / "lengths" / f"{_key(part, tokenizer, recipe)}.npz"
    if not file.is_file():
        every = Rows(part.store, part.form, part.cleaning, sifted.readable)
        _write(_tokenize_all(every, tokenizer, recipe, told), file)
    return _read(file, _Chosen(part.indices))


def _key(part: Rows, tokenizer: Any, recipe: Recipe) -> str:
    repairs = [getattr(part.cleaning, name) for name in REPAIRS]
    loss = [recipe.training.assistant_only_loss, recipe.training.completion_only_loss]
    return sifting.key_of([part.store.key, asdict(part.form), repairs, fingerprint(tokenizer), loss])


def fingerprint(tokenizer: Any) -> str:
    """A short name of vocabulary, merges and template: equal ones write equal tokens."""
    if tokenizer not in _FINGERPRINTS:
        _FINGERPRINTS[tokenizer] = sifting.key_of(tokenizer.backend_tokenizer.to_str())
    named = [tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token]
    return sifting.key_of([_FINGERPRINTS[tokenizer], *named])


def _tokenize_all(rows: Rows, tokenizer: Any, recipe: Recipe, told: Told) -> Lengths:
    size = len(rows.store)
    kept = Lengths.of([*(np.zeros(size, np.int32) for _ in range(4)), np.zeros(size, np.uint8)])
    problems: list[tuple[int, str]] = []
    done = 0
    for indices, examples in rows.batches():
        told("Counting tokens", done, len(rows))
        done += len(indices)
        loss = recipe.training
        many = tokenize_many(
            tokenizer,
            examples,
            assistant_only_loss=loss.assistant_only_loss,
            completion_only_loss=loss.completion_only_loss,
        )
        for index, example, tokens in zip(indices, examples, many, strict=True):
            if example.messages and any(turn["role"] == "system" for turn in example.messages):
                kept.flags[index] |= HAS_SYSTEM
            if isinstance(tokens, Tokens):
                _note(kept, index, tokens)
                if example.text is not None:
                    kept.last_end[index] = 0  # the end of a text is no answer
                continue
            kept.flags[index] |= NOT_RENDERED
            if len(problems) < 20 * ROWS_NAMED:
                problems.append((int(index), str(tokens)))
    return replace(kept, problems=tuple(problems))


def _note(kept: Lengths, index: int, tokens: Tokens) -> None:
    trained = [position for position, label in enumerate(tokens.labels) if label != IGNORED]
    kept.total[index] = len(tokens.input_ids)
    kept.trained[index] = len(trained)
    kept.first_trained[index] = trained[0] if trained else len(tokens.input_ids)
    kept.last_end[index] = max(tokens.answer_ends, default=0)
    kept.flags[index] |= BEGINS_TWICE * tokens.begins_twice | END_UNTRAINED * (not tokens.ends_trained)


def _write(kept: Lengths, file: Path) -> None:
    """Beside and renamed: a file that is there is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as beside:
        np.savez(beside, *kept.arrays, np.array(json.dumps(kept.problems)))
    os.replace(beside.name, file)


class _Chosen:
    """Rows of a store, comparable by their content, to remember what was read for them."""

    def __init__(self, indices: Indices) -> None:
        self.indices = indices
        self._name = sifting.hash_of(indices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Chosen) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)


@functools.lru_cache(maxsize=4)
def _read(file: Path, chosen: _Chosen) -> Lengths:
    """The numbers of some rows; of the others never more than one array is in memory."""
    with np.load(file, allow_pickle=False) as kept:
        *names, problems = kept.files
        arrays = [kept[name][chosen.indices] for name in names]
        told = [(int(index), str(sentence)) for index, sentence in json.loads(str(kept[problems]))]
    wanted = set(chosen.indices.tolist()) if told else set()
    return Lengths.of(arrays, [problem for problem in told if problem[0] in wanted])


def at_max_length(rows: Lengths, recipe: Recipe) -> dict[str, Any]:
    """What max_length does to the rows, as plain values for the page: see the keys.

    Works with masks and counts by length: copies of five million lengths would be the largest thing in memory.
    """
    limit = recipe.training.max_length
    written = ~rows.has(NOT_RENDERED)
    long = written & (rows.total > limit)
    dropped = written & (rows.first_trained >= np.minimum(rows.total, limit))
    if recipe.cleaning.drop_over_long:
        dropped |= long
    kept = written & ~dropped
    by_length = _count_by_length(rows.total, written)
    seen = _count_by_length(rows.total, kept, limit)
    tokens = int(seen @ np.arange(len(seen)))
    rows_kept = int(seen.sum())
    return {
        "max_length": limit,
        "rows": int(by_length.sum()),
        "longest": len(by_length) - 1,
        "bins": _bins(by_length),
        "p50": _percentile(by_length, 0.50),
        "p95": _percentile(by_length, 0.95),
        "p99": _percentile(by_length, 0.99),
        "rows_cut": int(np.count_nonzero(long & kept)),
        "answers_cut": int(np.count_nonzero(kept & (rows.last_end > limit))),
        "rows_dropped": int(np.count_nonzero(dropped)),
        "rows_trained": rows_kept,
        "mean_tokens": tokens / rows_kept if rows_kept else 0.0,
        "total_tokens": tokens,
        "trained_tokens": int(rows.trained.sum(dtype=np.int64)),
        "padding_share": padding_share(seen, recipe),
        "steps_per_epoch": steps_per_epoch(seen, recipe),
    }


def _count_by_length(total: Indices, mask: Indices, limit: int | None = None) -> Indices:
    """How many of the rows of `mask` have each length, cut at `limit`; piece by piece, as numpy counts in copies."""
    longest = int(total.max(initial=0)) if limit is None else min(limit, int(total.max(initial=0)))
    counts = np.zeros(longest + 1, np.int64)
    for start in range(0, len(total), PIECE):
        some = total[start : start + PIECE][mask[start : start + PIECE]]
        counts += np.bincount(np.minimum(some, longest), minlength=longest + 1)
    last = np.flatnonzero(counts)
    return counts[: last[-1] + 1] if len(last) else counts[:1]


def _percentile(by_length: Indices, share: float) -> int:
    """The length that this share of the rows does not exceed."""
    reached = np.cumsum(by_length)
    return int(np.searchsorted(reached, share * reached[-1])) if reached[-1] else 0


def steps_per_epoch(by_length: Indices, recipe: Recipe) -> int:
    """Optimizer steps that see every row once; packed rows fill sequences of max_length. `by_length` counts rows."""
    training = recipe.training
    tokens = int(by_length @ np.arange(len(by_length)))
    sequences = math.ceil(tokens / training.max_length) if training.packing else int(by_length.sum())
    return math.ceil(sequences / (training.per_device_train_batch_size * training.gradient_accumulation_steps))


def padding_share(by_length: Indices, recipe: Recipe) -> float:
    """Share of computed positions that hold no token of a row, in batches laid out as the trainer lays them out."""
    training = recipe.training
    size = training.per_device_train_batch_size
    rows = int(by_length.sum())
    if training.packing or not rows:
        return 0.0
    chance = np.random.default_rng(training.seed)
    some = by_length
    if rows > SIMULATED_ROWS:
        some = chance.multivariate_hypergeometric(by_length, SIMULATED_ROWS, method="marginals")
    order = chance.permutation(np.repeat(np.arange(len(some)), some))
    if training.train_sampling_strategy == "group_by_length":
        width = size * MEGABATCH
        order = np.concatenate([np.sort(order[start : start + width]) for start in range(0, len(order), width)])
    whole = len(order) // size * size
    rest = order[whole:]
    computed = order[:whole].reshape(-1, size).max(axis=1).sum() * size + rest.max(initial=0) * len(rest)
    return float(1 - order.sum() / computed) if computed else 0.0


def _bins(by_length: Indices) -> list[tuple[int, int, int]]:
    """(from, to, rows) of a histogram whose bars are equally wide and begin at 0; where a few rows are far longer than
    the others, one last bar holds them all.
    """
    if not by_length.any():
        return []
    end = len(by_length)
    usual = math.ceil(LONG_TAIL * (_percentile(by_length, 0.99) + 1))
    width = max(1, math.ceil(min(end, usual) / BINS))
    starts = list(range(0, end, width))
    if len(starts) > BINS + 2:
        starts = starts[: BINS + 1]
    return [
        (start, behind, int(by_length[start:behind].sum()))
        for start, behind in zip(starts, [*starts[1:], max(end, starts[-1] + width)], strict=True)
    ]
