"""How fast the studio trains, beside a plain TRL script on the same rows, model and machine, one after another.

    python benchmarks/train_speed.py [--steps 20] [--rounds 1] [--full]

Three trainings, each in a process of its own:

    studio          the default recipe, through `studio train`
    TRL, defaults   a plain script: SFTTrainer with TRL's default settings and the same LoRA
    TRL, same loss  the same script with the studio's labels, learning rate, schedule and seed; TRL's speed settings

Speed is real (not padding) tokens a second of training time, measured the same way in all. `--full` trains the whole
default recipe once more and reports its wall time and held-out accuracy. Writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine_sentence, write_section

PEER = """
import json, sys, time
from pathlib import Path
import torch
from datasets import Dataset, load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

model_folder, train_file, held_file, steps, same_loss, out = sys.argv[1:7]

class Clock(TrainerCallback):
    seconds, began = 0.0, 0.0
    def on_step_begin(self, *args, **kwargs): Clock.began = time.monotonic()
    def on_step_end(self, *args, **kwargs): Clock.seconds += time.monotonic() - Clock.began

settings = dict(output_dir=out, max_steps=int(steps), logging_steps=1, save_strategy="no", disable_tqdm=True)
settings["use_cpu"] = not torch.cuda.is_available()  # TRL's default bf16=True refuses to start on a CPU without it
tokenizer = AutoTokenizer.from_pretrained(model_folder)
if same_loss == "yes":
    from studio.messages import Example
    from studio.ml.models import load_tokenizer
    from studio.ml.text.tokens import tokenize
    from studio.recipe import ModelPart, Recipe
    recipe = Recipe()
    tokenizer = load_tokenizer(Path(model_folder), ModelPart())
    def rows(file):
        read = [tokenize(tokenizer, Example(messages=tuple(row["messages"]))) for row in map(json.loads, open(file))]
        return Dataset.from_dict({"input_ids": [r.input_ids for r in read], "labels": [r.labels for r in read]})
    train, held = rows(train_file), rows(held_file)
    t = recipe.training
    settings |= dict(learning_rate=t.learning_rate, lr_scheduler_type=t.lr_scheduler_type, warmup_steps=t.warmup_steps,
                     seed=t.seed, eval_strategy="steps", eval_steps=t.eval_steps, eval_on_start=True)
else:
    train, held = load_dataset("json", data_files=train_file, split="train"), None

trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(model_folder), args=SFTConfig(**settings), train_dataset=train,
    eval_dataset=held, processing_class=tokenizer, callbacks=[Clock()],
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
history = trainer.state.log_history
tokens = max(entry.get("num_tokens", 0) for entry in history)
print("RESULT " + json.dumps({
    "tokens_per_second": tokens / Clock.seconds,
    "eval": {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry},
}))
"""


def run_peer(model: Path, same_loss: bool, steps: int, scratch: Path) -> dict[str, Any]:
    """Train with the plain script; its tokens/s and held-out losses."""
    script = scratch / "plain_trl.py"
    script.write_text(PEER, encoding="utf-8")
    sets = Path(__file__).resolve().parents[1] / "assets" / "datasets" / "sentiment"
    command = [
        sys.executable,
        str(script),
        str(model),
        str(sets / "train.jsonl"),
        str(sets / "heldout.jsonl"),
        str(steps),
    ]
    command += ["yes" if same_loss else "no", str(scratch / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return dict(json.loads(line.removeprefix("RESULT ")))


def run_studio(home: Path, steps: int, scratch: Path) -> dict[str, Any]:
    """Train the default recipe with `steps` steps through the command line; its tokens/s, losses, wall time."""
    from studio.recipe import Recipe
    from studio.run_folder import RunFolder

    recipe = scratch / "recipe.yaml"
    recipe.write_text(Recipe().changed(**{"training.max_steps": steps}).to_yaml(), encoding="utf-8")
    before = set((home / "runs").iterdir())
    began = time.monotonic()
    command = [sys.executable, "-m", "studio", "--home", str(home), "train", str(recipe), "--name", "benchmark"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - began
    (path,) = set((home / "runs").iterdir()) - before
    run, (metrics, _) = RunFolder(path).read_run(), RunFolder(path).metrics()
    return {
        "tokens_per_second": run.result["tokens_per_second"],
        "eval": {metric.step: metric.value for metric in metrics if metric.name == "eval_loss"},
        "wall_seconds": wall,
        "accuracy": (run.result["accuracy_before"], run.result["accuracy_after"]),
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1, help="repeat all and take medians")
    parser.add_argument("--full", action="store_true", help="also train the whole default recipe")
    parser.add_argument("--home", type=Path, default=None, help="studio home with the starter model")
    arguments = parser.parse_args()
    from studio.settings import read_settings

    home = read_settings(arguments.home).home
    subprocess.run([sys.executable, "-m", "studio", "--home", str(home), "starter"], check=True)
    model = read_settings(home).starter_model
    os.environ["HF_HUB_OFFLINE"] = "1"
    ways: dict[str, list[dict[str, Any]]] = {"TRL, defaults": [], "TRL, same loss": [], "studio": []}
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        for _ in range(arguments.rounds):
            ways["TRL, defaults"].append(run_peer(model, False, arguments.steps, scratch))
            ways["TRL, same loss"].append(run_peer(model, True, arguments.steps, scratch))
            ways["studio"].append(run_studio(home, arguments.steps, scratch))
        full = run_studio(home, 100, scratch) if arguments.full else None
    write_section("train_speed", table(ways, full, arguments.steps))


def table(ways: dict[str, list[dict[str, Any]]], full: dict[str, Any] | None, steps: int) -> str:
    """The results as Markdown."""
    speed = {name: statistics.median(r["tokens_per_second"] for r in rows) for name, rows in ways.items()}
    slowest = speed["TRL, defaults"]
    lines = [
        f"Default recipe (SmolLM2-135M-Instruct, LoRA r=16 on all linear layers, batch 8), {steps} steps, "
        f"medians of {len(ways['studio'])} round(s). {machine_sentence()}",
        "",
        "| training | real tokens/s | ratio | held-out loss at the evaluated steps |",
        "|---|---|---|---|",
    ]
    for name, rows in ways.items():
        losses = ", ".join(f"{step}: {value:.3f}" for step, value in rows[0]["eval"].items()) or "(not measured)"
        lines.append(f"| {name} | {speed[name]:.0f} | {speed[name] / slowest:.2f} | {losses} |")
    if full:
        before, after = full["accuracy"]
        lines += [
            "",
            f"The whole default recipe (100 steps), from the command to the result: {full['wall_seconds']:.0f} s; "
            f"held-out accuracy {before:.0%} -> {after:.0%}.",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
