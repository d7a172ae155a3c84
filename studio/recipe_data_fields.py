"""The fields of a recipe that say what is learned from: which rows, how they are read, and what is cleaned away.

Split off recipe_fields.py, whose rules hold here too. The cleaning steps always run in the order in which they stand
here; each is counted, and taking it out of the recipe undoes it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from studio.recipe_fields import STARTER_PREFIX, RecipePart, unit

Role = Literal["system", "prompt", "completion", "text", "messages", "chosen", "rejected", "label", "tools"]
"""What a column can be in a mapping."""

FormatName = Literal[
    "auto",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt/completion",
    "question/answer",
    "text",
    "classification",
    "preference",
    "kto",
]


class DataSource(RecipePart):
    """Where rows come from and how they are read; what a dataset and each one mixed into it have in common."""

    dataset: str = Field(f"{STARTER_PREFIX}sentiment", min_length=1, max_length=1000)
    """The examples to learn from: a starter set, a file or folder, or a dataset on the Hub.

    Files are jsonl, json, csv, tsv, parquet, arrow, txt or md, also packed with gzip or zstd. Conversations, prompt
    and completion, alpaca, sharegpt, labels, preference pairs and plain text are recognised.
    """
    config: str | None = Field(None, max_length=200)
    """Which configuration of a Hub dataset; empty takes its default.

    Some Hub datasets hold several sets of rows under one name, one a language, for example.
    """
    revision: str | None = Field(None, max_length=100)
    """Branch, tag or commit of a Hub dataset; empty takes the newest."""
    split: str = Field("train", min_length=1, max_length=100)
    """Which part of a Hub dataset to train on, also a slice: train[:1000] or train[10%:20%].

    Single files and starter sets have one part, called train; there only a slice makes a difference.
    """
    encoding: str = Field("auto", min_length=1, max_length=40)
    """How a file's bytes become letters; auto finds it out: UTF-8, UTF-16, or an older one.

    Set it (cp1252, shift_jis) when letters with accents look wrong in the preview.
    """
    delimiter: str = Field("auto", min_length=1, max_length=4)
    """What stands between the cells of a csv file; auto finds it out.

    Set it when the columns in the preview are not the file's: a comma, a semicolon, tab or |.
    """
    bad_rows: Literal["stop", "skip"] = "stop"
    """What to do with rows that cannot be read: stop and say which, or skip and count them.

    A row is bad when its line is no valid JSON, its cells do not fit the header, or it lacks what its format needs.
    """
    format: FormatName = "auto"
    """What the columns mean; auto recognises it and says why.

    Choose one yourself when the recognised one is wrong.
    """
    mapping: dict[Role, str] = Field(default_factory=dict)
    """Which column plays which role, or a small template: prompt = {question}, then {context}.

    Empty leaves it to the format. Column names stand in braces; {answers.text.0} reaches into nested values.
    """
    label_names: tuple[str, ...] = ()
    """Words for integer labels, in their order: the model learns to answer with the word.

    Found in datasets that store the names; otherwise the number itself is the answer.
    """
    fingerprint: str | None = Field(None, max_length=128)
    """What the content was when it was looked at; a run refuses rows that have changed since.

    Set by the Data page. Empty accepts whatever is there when the run starts.
    """
    max_rows: int = Field(0, ge=0, le=100_000_000, json_schema_extra=unit("rows"))
    """Use only the first rows; 0 uses all.

    Fewer rows make a quicker look at whether the data teaches anything.
    """


class MixedSource(DataSource):
    """A further dataset that is mixed in."""

    weight: float = Field(1.0, gt=0, le=100, json_schema_extra=unit("times"))
    """How often each of its rows is used: 1 once, 0.5 a random half of them, 2 twice.

    A little of a general set keeps the model from forgetting everything else.
    """


class DataPart(DataSource):
    """What it learns from."""

    held_out_rows: int = Field(60, ge=0, le=10_000, json_schema_extra=unit("rows"))
    """Rows kept away from training to measure what was learned.

    Taken at random with the seed, at most a fifth of the rows, unless the set brings its own held-out part. 0 measures
    nothing, and then nobody knows whether the model learned or memorised.
    """
    held_out_by: str = Field("", max_length=200)
    """Column whose equal values stay together when rows are held out; empty splits row by row.

    Take the column that says which rows belong together (customer, document): otherwise the model is measured on what
    it has half seen.
    """
    mix: tuple[MixedSource, ...] = Field((), max_length=20)
    """Further datasets whose rows are trained along with these, each with a weight.

    Nothing is held out of them.
    """


class CleaningPart(RecipePart):
    """What is repaired or left out before training. The file itself is never changed."""

    trim: bool = False
    """Remove blanks at both ends of every text."""
    fix_text: bool = False
    """Repair letters that were decoded wrongly (cafÃ© becomes café), with the ftfy library."""
    mask_secrets: bool = False
    """Replace e-mail addresses and what looks like a key or password by a placeholder.

    What a model has learned it may say to anyone.
    """
    merge_turns: bool = False
    """Join two turns in a row of the same speaker into one.

    Many chat templates refuse a conversation whose turns do not alternate.
    """
    fold_system: bool = False
    """Write the system prompt into the first question, for templates that know no system prompt."""
    drop_rows: tuple[int, ...] = Field((), max_length=100_000)
    """Row numbers to leave out, counted from 1 as the Data page shows them."""
    drop_empty: bool = False
    """Leave out rows whose question, answer or text is empty."""
    keep_if: str = Field("", max_length=2000)
    """Keep only rows for which this is true, such as size(answer) > 20 && lang == "en".

    An expression in CEL (cel.dev) over the columns; it can compare and count, and do nothing else.
    """
    dedupe: Literal["no", "exact", "near"] = "no"
    """Keep only the first of rows that are the same, or nearly so.

    exact compares after trimming. near also finds rows that differ in a few words (MinHash).
    """
    near_duplicate_similarity: float = Field(0.8, ge=0.5, le=1.0, json_schema_extra=unit("of word groups shared"))
    """How alike two rows must be to count as nearly the same; used when dedupe is near."""
    drop_over_long: bool = False
    """Leave out rows longer than max_length instead of cutting them."""
    shuffle: bool = False
    """Bring the rows into a random order (with the seed) before some are taken.

    Training shuffles anyway; this decides which rows sample_rows takes.
    """
    sample_rows: int = Field(0, ge=0, le=100_000_000, json_schema_extra=unit("rows"))
    """Train on this many of the rows that are left; 0 takes all."""

    @field_validator("drop_rows")
    @classmethod
    def _ascending(cls, rows: tuple[int, ...]) -> tuple[int, ...]:
        """Each number once, in order, so that equal choices are equal recipes."""
        if any(row < 1 for row in rows):
            raise ValueError("counts rows from 1")
        return tuple(sorted(set(rows)))
