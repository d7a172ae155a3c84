"""How long a whole look at a dataset takes and how much memory, beside a plain script with `datasets` on the same file.

    python benchmarks/data_scan.py [--rows 10000 100000 1000000] [--peer-up-to 1000000] [--home HOME]

The studio's side is `studio data inspect FILE`: it reads every row, tokenizes all of them through the trainer's own
code and looks for duplicates, empty answers, secrets and more. The peer is what a script does: `load_dataset`, then
`map` with the chat template and the tokenizer, then the lengths; it finds nothing but the lengths. Memory is the
largest resident set of the process (files that it has mapped are counted too). Both start with an empty cache of their
own. Five million rows (2 GB) take the better part of an hour on two cores. Writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine_sentence, write_section

WORDS = (
    "harbour lantern quiet morning letter bridge copper window garden silver paper winter market river engine station "
    "pencil orange basket mountain doctor kitchen ladder violin blanket forest ticket pocket mirror island"
).split()
PEER = """
import sys
from datasets import load_dataset
from transformers import AutoTokenizer

file, model, cache = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
rows = load_dataset("json", data_files=file, split="train", cache_dir=cache)

def tokens(batch):
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in batch["messages"]]
    return {"length": [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]}

lengths = rows.map(tokens, batched=True, remove_columns=rows.column_names)
print(len(lengths), max(lengths.with_format("numpy")["length"]))
"""


@dataclass(frozen=True)
class Measured:
    """One process, from its start to its end."""

    seconds: float
    peak_mb: float
    first_preview_seconds: float | None = None


def write_rows(file: Path, rows: int) -> None:
    """Short conversations of about 400 bytes each, all different; the seed makes the file the same every time."""
    chance = random.Random(17)
    with open(file, "w", encoding="utf-8") as lines:
        for number in range(rows):
            question = f"Question {number}: what becomes of the {' '.join(chance.choices(WORDS, k=14))}?"
            answer = f"In case {number} {' '.join(chance.choices(WORDS, k=chance.randint(8, 40)))}."
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            lines.write(json.dumps({"messages": turns}) + "\n")


def run(command: list[str], environment: dict[str, str], preview_mark: str = "") -> Measured:
    """Time, largest resident set, and when the first line that begins with `preview_mark` came."""
    began = time.monotonic()
    first = None
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if preview_mark and first is None and line.startswith(preview_mark):
            first = time.monotonic() - began
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1 says that there is something to fix
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return Measured(time.monotonic() - began, used.ru_maxrss / 1e3, first)


def measure_peer(file: Path, rows: int, model: Path, up_to: int | None) -> str:
    """The plain script's cells of the table."""
    if up_to is not None and rows > up_to:
        return "not run | | "
    command = [sys.executable, "-c", PEER, str(file), str(model), str(file.parent / "cache")]
    peer = run(command, {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"})
    return f"{peer.seconds:.0f} s | {peer.peak_mb:.0f} MB | {rows / peer.seconds:,.0f}"


def main() -> None:
    """Measure each size, the studio first, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peer-up-to", type=int, default=None, help="most rows that the plain script is measured on")
    parser.add_argument("--home", type=Path, default=None, help="studio home with the starter model")
    arguments = parser.parse_args()
    from studio.settings import read_settings

    settings = read_settings(arguments.home)
    subprocess.run([sys.executable, "-m", "studio", "--home", str(settings.home), "starter"], check=True)
    lines = [
        f"One run each, studio first, caches empty. {machine_sentence()}",
        "",
        "| rows | file | studio | first preview | peak memory | rows/s | plain script | its memory | its rows/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=settings.home) as scratch:
            folder = Path(scratch)
            file = folder / "rows.jsonl"
            write_rows(file, rows)
            home = folder / "home"
            (home / "models").mkdir(parents=True)
            (home / "models" / settings.starter_model.name).symlink_to(settings.starter_model)
            ours = run(
                [sys.executable, "-m", "studio", "--home", str(home), "data", "inspect", str(file)], {}, "First row"
            )
            shutil.rmtree(home)
            lines.append(
                f"| {rows:,} | {file.stat().st_size / 1e6:,.0f} MB | {ours.seconds:.0f} s | "
                f"{ours.first_preview_seconds or 0:.1f} s | {ours.peak_mb:.0f} MB | {rows / ours.seconds:,.0f} | "
                f"{measure_peer(file, rows, settings.starter_model, arguments.peer_up_to)} |"
            )
            print(lines[-1], flush=True)
    write_section("data_scan", "\n".join(lines))


if __name__ == "__main__":
    main()
