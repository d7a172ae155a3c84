"""The command `studio data`: look at a dataset from the terminal, with an exit code for scripts.

    studio data inspect FILE --model M      the same audit as on the Data page

Exit codes of inspect: 0 nothing to fix, 1 something to fix, 2 the dataset cannot be read.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.errors import StudioError
from studio.recipe import STARTER_MODEL, Recipe, read_recipe
from studio.terminal import log_to_terminal, show_progress

NOTHING_TO_FIX, TO_FIX, NOT_READABLE = 0, 1, 2
SHOWN_CHARACTERS = 400

app = typer.Typer(help="Look at a dataset before it is trained.", no_args_is_help=True)


@app.command()
def inspect(  # noqa: PLR0913 - each is a flag of the command line
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="A file, a folder, starter:NAME or a name on the Hub.")],
    model: Annotated[str, typer.Option(help="Model whose tokenizer and template count.")] = STARTER_MODEL,
    recipe: Annotated[Path | None, typer.Option(help="A recipe whose other fields hold.")] = None,
    split: Annotated[str, typer.Option(help="Part of a Hub dataset, also a slice: train[:1000].")] = "train",
    mapping: Annotated[list[str] | None, typer.Option("--map", help="Role of a column: prompt={question}.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest row in tokens.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
) -> None:
    """Print how a dataset is read and what is worth fixing; exit 1 if there is something."""
    changes: dict[str, Any] = {"data.dataset": dataset, "data.split": split, "model.base_model": model}
    if mapping:
        changes["data.mapping"] = dict(entry.partition("=")[::2] for entry in mapping)
    if max_length is not None:
        changes["training.max_length"] = max_length
    context.obj.make_folders()
    try:
        asked = from_terminal(read_recipe(recipe) if recipe else Recipe(), changes)
        if not as_json:
            print_beginning(asked)
        log_to_terminal(logging.WARNING)
        from studio.ml.looking.scan import scan

        answer = scan(asked, context.obj, show_progress)
    except StudioError as error:
        print(str(error), file=sys.stderr)
        raise typer.Exit(NOT_READABLE) from None
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        print_answer(answer)
    to_fix = any(finding["severity"] != "note" for finding in answer["findings"])
    raise typer.Exit(TO_FIX if to_fix else NOTHING_TO_FIX)


def from_terminal(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with the flags' values, its paths counted from the folder the person is in."""
    from studio.services.paths import from_here

    return from_here(recipe.changed(**changes), Path.cwd())


def print_beginning(recipe: Recipe) -> None:
    """How the first rows are read: at once, before anything heavy is imported or the whole is read."""
    from studio.data.formats.formats import recognise
    from studio.data.store import first_rows

    head = first_rows(recipe.data)
    print(f"{recipe.data.dataset}: {head.kind}" + (f", {head.encoding}" if head.encoding else ""))
    form = recognise(head.rows, recipe.data, head.label_names)[0]
    print(f"Read as {form.name} ({form.sureness}): {form.reason}.")
    first = json.dumps(head.rows[0], ensure_ascii=False)
    print(f"First row: {first[:SHOWN_CHARACTERS]}{'…' if len(first) > SHOWN_CHARACTERS else ''}", flush=True)


def print_answer(answer: dict[str, Any]) -> None:
    """The audit in plain sentences."""
    lengths = answer["lengths"]
    print(f"{answer['rows']:,} rows: {answer['train_rows']:,} to train on, {answer['held_out_rows']:,} held out.")
    print(f"Template: {answer['template']['sentence']} {answer['template']['masking']}")
    if answer["template"]["note"]:
        print(answer["template"]["note"])
    for step in answer["steps"]:
        done = f"{step['changed']:,} changed" if step["changed"] else f"{step['dropped']:,} left out"
        print(f"  {step['name']}: {done}, {step['left']:,} left")
    print(
        f"Tokens a row: half have up to {lengths['p50']:,}, 95 % up to {lengths['p95']:,}, the longest "
        f"{lengths['longest']:,}. {lengths['steps_per_epoch']:,} steps see all rows once."
    )
    to_fix = [finding for finding in answer["findings"] if finding["severity"] != "note"]
    print(f"{len(to_fix)} to fix:" if to_fix else "Nothing to fix.")
    for finding in answer["findings"]:
        mark = {"bad": "!!", "warn": "! ", "note": "  "}[finding["severity"]]
        print(f"{mark} {finding['title']}. {finding['sentence']}")
        if finding["rows"]:
            more = " …" if finding["count"] > len(finding["rows"][:12]) else ""
            print(f"     rows {', '.join(f'{row:,}' for row in finding['rows'][:12])}{more}")
        for fix in finding["fixes"]:
            changes = ", ".join(f"{name}: {value}" for name, value in fix["changes"].items())
            print(f"     {fix['label']} ({changes if len(changes) < 120 else next(iter(fix['changes']))})")


@app.command(hidden=True)
def scan(context: typer.Context, recipe: Path, progress: Path) -> None:
    """Read a large dataset into the cache; started by the model server, ends with it."""
    from studio.ml.looking.scan import scan as look_at_all
    from studio.ml.looking.scan import teller
    from studio.server import end_with_parent

    log_to_terminal(logging.WARNING)
    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    try:
        look_at_all(read_recipe(recipe), context.obj, teller(progress))
    except StudioError:
        raise typer.Exit(NOT_READABLE) from None  # the scan that follows in the model server finds it again and says it
