"""One copy of the base model in memory that answers as itself or as one of its adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import PeftModel

from studio.errors import InvalidInput, NotFound, StudioError
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.ml.train import train
from studio.recipe import Recipe, read_recipe
from studio.run_folder import RunFolder
from studio.settings import Settings

MakeRun = Callable[..., RunFolder]


def answer(chat: ChatModel, model: str, question: str = "Hi") -> str:
    """The greedy answer of `model`."""
    pieces = chat.answer(model, [{"role": "user", "content": question}], Sampling(max_new_tokens=24), threading.Event())
    return "".join(pieces)


def test_the_base_answers_the_same_before_and_after_an_adapter_is_loaded(
    talking_run: RunFolder, talking_model: Path, settings: Settings
) -> None:
    chat = ChatModel(settings)
    before = answer(chat, str(talking_model))
    adapted = answer(chat, f"run:{talking_run.id}")

    assert len(before) > 10
    assert adapted != before
    assert answer(chat, str(talking_model)) == before
    assert answer(chat, f"base:{talking_run.id}") == before
    assert answer(chat, f"run:{talking_run.id}") == adapted


def test_two_adapters_share_one_base(
    talking_run: RunFolder, talking_model: Path, settings: Settings, make_run: MakeRun
) -> None:
    recipe = read_recipe(talking_run.recipe_file).changed(**{"training.seed": 7, "adapter.r": 4})
    other = make_run(recipe, "second-run")
    train(other, settings)
    chat = ChatModel(settings)

    answers = [answer(chat, f"run:{run.id}") for run in (talking_run, other, talking_run, other)]
    held = chat._model

    assert answers[:2] == answers[2:]
    assert answers[0] != answers[1]
    assert isinstance(held, PeftModel)
    assert set(held.peft_config) == {talking_run.id, other.id}
    assert answer(chat, str(talking_model)) == answer(ChatModel(settings), str(talking_model))


def test_another_base_model_takes_the_place_of_the_first(
    talking_run: RunFolder, talking_model: Path, settings: Settings
) -> None:
    chat = ChatModel(settings)
    first = answer(chat, f"run:{talking_run.id}")

    answer(chat, "starter")

    assert answer(chat, f"run:{talking_run.id}") == first


@pytest.mark.parametrize("name", ["nowhere", "../runs/tidy-otter", "..", "/etc"])
@pytest.mark.parametrize("kind", ["run", "base"])
def test_an_unknown_run_is_told_in_a_sentence(kind: str, name: str, settings: Settings, make_run: MakeRun) -> None:
    make_run(Recipe())

    with pytest.raises(NotFound, match="This run is gone"):
        answer(ChatModel(settings), f"{kind}:{name}")


def test_a_run_without_an_adapter_has_to_finish_first(settings: Settings, make_run: MakeRun) -> None:
    make_run(Recipe(), "unfinished")

    with pytest.raises(NotFound, match="no adapter yet"):
        answer(ChatModel(settings), "run:unfinished")


@pytest.mark.parametrize("name", ["run:", "base:", "/nowhere", "nonsense"])
def test_an_unknown_model_is_told_in_a_sentence(name: str, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="There is no folder"):
        answer(ChatModel(settings), name)


def test_a_refusal_does_not_block_the_next_question(settings: Settings, make_run: MakeRun) -> None:
    make_run(Recipe(), "unfinished")
    chat = ChatModel(settings)
    with pytest.raises(StudioError):
        answer(chat, "run:unfinished")

    assert isinstance(answer(chat, "starter"), str)
