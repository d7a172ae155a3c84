"""The promises of the README on the real starter model: it learns, and what is taken away answers as the chat did.

One training of the default recipe (about three minutes on two cores) serves all tests here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.recipe import Recipe
from studio.runs import Run
from studio.services.model_server import ChatSettings
from studio.services.studio import Studio
from studio.settings import Settings
from studio.starter_sets import FOLDER

pytestmark = [pytest.mark.model, pytest.mark.timeout(1500)]

MAX_TOKENS = 48
OPEN_QUESTIONS = ["What is the capital of France?", "Write a short poem about the sea.", "Who are you?"]

PLAIN_SCRIPT = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer

kind, exported, base, max_tokens, questions = sys.argv[1:6]
tokenizer = AutoTokenizer.from_pretrained(exported)
if kind == "adapter":
    from peft import PeftModel
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="{dtype}"), exported)
else:
    model = AutoModelForCausalLM.from_pretrained(exported)
answers = []
for question in json.loads(questions):
    messages = [{{"role": "user", "content": question}}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=int(max_tokens), do_sample=False)
    answers.append(tokenizer.decode(output[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))
assert not any(name == "studio" or name.startswith("studio.") for name in sys.modules)
print("ANSWERS " + json.dumps(answers))
"""


@dataclass(frozen=True)
class Trained:
    """A studio with the default recipe's run in it."""

    studio: Studio
    run: Run


@pytest.fixture(scope="module")
def trained(starter_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    recipe = tmp_path_factory.mktemp("recipe") / "default.yaml"
    recipe.write_text(Recipe().to_yaml(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "studio",
        "--home",
        str(starter_home.home),
        "train",
        str(recipe),
        "--name",
        "default",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    studio = Studio.open(starter_home)
    studio.sync()
    (run,) = [run for run in studio.history.runs(search="default") if run.name == "default"][:1]
    yield Trained(studio, run)
    studio.close()


def questions() -> list[str]:
    """Eight held-out sentences and three questions that have nothing to do with them."""
    lines = (FOLDER / "sentiment" / "heldout.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    return [json.loads(line)["messages"][0]["content"] for line in lines] + OPEN_QUESTIONS


def chat_answers(trained: Trained) -> list[str]:
    settings = ChatSettings(max_tokens=MAX_TOKENS)
    model = f"run:{trained.run.id}"
    return [
        "".join(trained.studio.server.chat(model, [{"role": "user", "content": question}], settings))
        for question in questions()
    ]


def plain_answers(kind: str, exported: Path, settings: Settings, dtype: str) -> list[str]:
    """Answers of a script that knows peft and transformers and nothing of the studio."""
    script = exported.parent / f"plain_{kind}.py"
    script.write_text(PLAIN_SCRIPT.format(dtype=dtype), encoding="utf-8")
    command = [sys.executable, str(script), kind, str(exported), str(settings.starter_model), str(MAX_TOKENS)]
    done = subprocess.run([*command, json.dumps(questions())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWERS "))
    return list(json.loads(line.removeprefix("ANSWERS ")))


def test_the_default_recipe_raises_held_out_accuracy_by_25_points(trained: Trained) -> None:
    before, after = trained.run.result["accuracy_before"], trained.run.result["accuracy_after"]
    print(f"held-out accuracy {before:.0%} -> {after:.0%} on {trained.run.result['accuracy_rows']} rows")
    assert trained.run.result["accuracy_rows"] == 60
    assert after - before >= 0.25
    assert after >= 0.75  # better than naming one label always, which would be right in half of the rows


def test_it_beats_a_lenient_reading_of_the_base_model_too(trained: Trained) -> None:
    """Even if a rambling answer counts as right as soon as it names the right label and no other."""
    assert trained.run.result["accuracy_after"] - trained.run.result["named_before"] >= 0.15


def test_what_the_model_says_visibly_changed(trained: Trained) -> None:
    assert all(len(sample["before"]) > 3 * len(sample["after"]) for sample in trained.run.samples)


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_the_export_answers_token_for_token_as_the_chat_does(trained: Trained, kind: str, tmp_path: Path) -> None:
    made = trained.studio.export(trained.run.id, kind)
    exported = trained.studio.export_path(trained.run.id, made)
    if kind == "adapter":
        with zipfile.ZipFile(exported) as archive:
            archive.extractall(tmp_path / "adapter")
        exported = tmp_path / "adapter"
    answers = plain_answers(kind, exported, trained.studio.settings, made.report["dtype"])
    assert answers == chat_answers(trained)
