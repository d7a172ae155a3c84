"""Every format that is recognised trains: one real step on each, and the table of them in the guide.

python tests/test_formats_train.py        # writes the table in docs/guide/data.md, between its marks
"""

from __future__ import annotations

import json
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # when it is run as a script

from format_examples import FORMAT_EXAMPLES, FormatExample

from studio.data.formats.formats import recognise
from studio.recipe import Recipe
from studio.run_folder import RunFolder, now
from studio.settings import Settings

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide" / "data.md"
BEGIN, END = "<!-- formats: begin -->", "<!-- formats: end -->"
TABLE = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
LONGEST_EXAMPLE = 400


def write_rows(example: FormatExample, folder: Path) -> Path:
    """The example's rows, four times over, as a file of its kind."""
    rows = [dict(row) for _ in range(4) for row in example.rows]
    file = folder / f"rows.{example.kind}"
    if example.kind == "csv":
        import csv

        with open(file, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif example.kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif example.kind == "json":
        file.write_text(json.dumps(rows), encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("example", FORMAT_EXAMPLES, ids=lambda example: example.slug)
def test_one_step_trains_on_every_format(
    example: FormatExample, settings: Settings, toy_model: Path, quick_recipe: Recipe, tmp_path: Path
) -> None:
    from studio.ml.train import train

    recipe = quick_recipe.changed(
        **{
            "model.base_model": str(toy_model),
            "model.chat_template": "chatml" if example.template is None else "own",
            "data.dataset": str(write_rows(example, tmp_path)),
            "data.max_rows": 0,
            "data.held_out_rows": 0,
            "training.max_steps": 1,
            "training.warmup_steps": 0,
            "training.max_length": 2048,
        }
    )
    if example.sureness == "guess":  # which somebody has to confirm first, as the Data page does
        form = recognise(example.rows, recipe.data)[0]
        recipe = recipe.changed(**{"data.format": form.name, "data.mapping": dict(form.mapping)})
    folder = RunFolder(settings.runs / "one-step")
    folder.create({"id": "one-step", "name": "one step", "created_at": now().isoformat()}, recipe.to_yaml())
    train(folder, settings)
    run = folder.read_run()
    assert run.status == "finished"
    assert run.facts["dataset_format"] == example.format
    assert run.facts["train_rows"] == 4 * len(example.rows)
    assert run.result["loss_first"] > 0


# -- the guide ------------------------------------------------------------------------------------------------


def table() -> str:
    """The formats with one example each, as the guide shows them."""
    lines = ["| Format | Read as | One row |", "|---|---|---|"]
    for example in FORMAT_EXAMPLES:
        baked = f", in the {example.template} format" if example.template else ""
        baked += ", once confirmed" if example.sureness == "guess" else ""
        told = f"**{example.title}**<br>{example.description}"
        lines.append(f"| {told} | {example.format}{baked} | {shown(example.rows[0])} |")
    return "\n".join(lines)


def shown(row: dict[str, Any]) -> str:
    """A row as code in the cell of a table; a long one is cut."""
    text = json.dumps(row, ensure_ascii=False)
    if len(text) > LONGEST_EXAMPLE:
        text = f"{text[:LONGEST_EXAMPLE]}…"
    return f"<code>{escape(text, quote=False).replace('|', '&#124;')}</code>"


def test_the_guide_shows_every_format() -> None:
    found = TABLE.search(GUIDE.read_text(encoding="utf-8"))
    assert found, f"{GUIDE.name} has no place for the table"
    assert found.group() == f"{BEGIN}\n{table()}\n{END}", "run: python tests/test_formats_train.py"


if __name__ == "__main__":
    page = GUIDE.read_text(encoding="utf-8")
    GUIDE.write_text(TABLE.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", page), encoding="utf-8")
