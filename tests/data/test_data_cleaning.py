"""Cleaning: each step does one thing, says whether it did, and leaves everything else as it was."""

from __future__ import annotations

import random
from typing import Any, get_args

import numpy as np
import pytest

from studio.data.cleaning import REPAIRS, Sieve, choose, digest, hold_out, repair
from studio.messages import Example, Message, Speaker
from studio.recipe_data_fields import CleaningPart


def chat(*turns: str, **more: Any) -> Example:
    """An example from turns such as "user: Hello"."""
    return Example(messages=said(*turns), **more)


def said(*turns: str) -> tuple[Message, ...]:
    pairs = [turn.split(":", 1) for turn in turns]
    assert {role for role, _ in pairs} <= set(get_args(Speaker))
    return tuple(Message(role=role, content=text.removeprefix(" ")) for role, text in pairs)  # type: ignore[typeddict-item]


def repaired(example: Example, *steps: str) -> Example:
    """`example` after `steps`, each of which must say that it changed it."""
    result, changed = repair(example, CleaningPart(**dict.fromkeys(steps, True)))
    assert changed == steps
    return result


def test_nothing_happens_that_was_not_asked_for() -> None:
    example = chat("user:  cafÃ© a@b.com ", "user: x", "assistant:  ")

    assert repair(example, CleaningPart()) == (example, ())


def test_the_repairs_are_the_recipes_fields_in_their_order() -> None:
    assert tuple(name for name in CleaningPart.model_fields if name in REPAIRS) == REPAIRS


def test_trim_reaches_every_text() -> None:
    example = chat("user:   Hi \n", "assistant:\t Yes", rejected=said("assistant:  No "))

    assert repaired(example, "trim") == chat("user: Hi", "assistant: Yes", rejected=said("assistant: No"))
    assert repaired(Example(text=" a b \n"), "trim") == Example(text="a b")


def test_a_step_that_changes_nothing_says_so() -> None:
    everything = CleaningPart(**dict.fromkeys(REPAIRS, True))

    assert repair(chat("user: Hi", "assistant: Yes"), everything)[1] == ()


def test_wrongly_decoded_letters_are_repaired_and_nothing_else() -> None:
    assert repaired(chat("user: cafÃ©", "assistant: naÃ¯ve â€“ so"), "fix_text") == chat(
        "user: café", "assistant: naïve – so"
    )
    meant = Example(text="“Curly” ‘quotes’ ｗｉｄｅ ﬁne &amp; e\u0301 <b>\r\n\x1b[0m日本語 Ça à la carte")
    assert repair(meant, CleaningPart(fix_text=True)) == (meant, ())


def test_secrets_are_masked_in_turns_and_in_calls() -> None:
    call = {"type": "function", "function": {"name": "mail", "arguments": {"to": ["a@b.com"], "times": 2}}}
    turn = Message(role="assistant", content="password: hunter22", tool_calls=[call])

    masked = repaired(Example(messages=(turn,)), "mask_secrets").messages[0]

    assert masked["content"] == "password: [secret]"
    assert masked["tool_calls"][0]["function"] == {"name": "mail", "arguments": {"to": ["[e-mail]"], "times": 2}}
    assert call["function"] == {"name": "mail", "arguments": {"to": ["a@b.com"], "times": 2}}, "the row stays as it is"


def test_turns_in_a_row_are_joined_but_not_those_of_tools() -> None:
    example = chat("user: One", "user: Two", "user: Three", "assistant: Four", "assistant: Five")
    assert repaired(example, "merge_turns") == chat("user: One\n\nTwo\n\nThree", "assistant: Four\n\nFive")

    tools = chat("user: Both?", "tool: 1", "tool: 2", "assistant: 3")
    assert repair(tools, CleaningPart(merge_turns=True)) == (tools, ())


def test_the_answers_of_a_pair_stay_answers_when_turns_are_joined() -> None:
    pair = chat("user: a", "user: b", "assistant: good", rejected=said("assistant: bad"))

    assert repaired(pair, "merge_turns") == chat("user: a\n\nb", "assistant: good", rejected=said("assistant: bad"))


def test_the_system_prompt_goes_into_the_question() -> None:
    example = chat("system: Be kind.", "user: Hi", "assistant: Yes", "system: Be short.", "user: And?", "assistant: No")

    assert repaired(example, "fold_system") == chat(
        "user: Be kind.\n\nHi", "assistant: Yes", "user: Be short.\n\nAnd?", "assistant: No"
    )
    assert repaired(chat("system:  ", "user: Hi"), "fold_system") == chat("user: Hi")
    unasked = chat("system: Greet.", "assistant: Hello")
    assert repair(unasked, CleaningPart(fold_system=True)) == (unasked, ())


def test_steps_build_on_each_other() -> None:
    example = chat("system: Be kind. ", "user: cafÃ© ", "user: a@b.com", "assistant: Yes")

    assert repaired(example, *REPAIRS) == chat("user: Be kind.\n\ncafé\n\n[e-mail]", "assistant: Yes")


FULL = chat("user: Hi", "assistant: Yes")


@pytest.mark.parametrize(
    ("example", "dropped"),
    [
        (FULL, False),
        (chat("user: Hi", "assistant:  "), True),
        (chat("user:  \n", "assistant: Yes"), True),
        (chat("user: Hi", "assistant: ", "user: Hm", "assistant: Yes"), True),
        (chat("user: Hi", "assistant: Yes", rejected=said("assistant: ")), True),
        (chat("system:  ", "user: Hi", "assistant: Yes"), False),
        (Example(messages=(*said("user: Hi"), Message(role="assistant", content="", tool_calls=[{"id": 1}]))), False),
        (Example(text=" \n"), True),
        (Example(text="x"), False),
        (Example(), True),
    ],
)
def test_empty_rows_are_those_that_say_nothing(example: Example, dropped: bool) -> None:
    reason = Sieve(CleaningPart(drop_empty=True)).reason_to_drop(1, {}, example)

    assert reason == ("drop_empty" if dropped else None)
    assert Sieve(CleaningPart()).reason_to_drop(1, {}, example) is None


def test_the_first_step_that_drops_a_row_is_named() -> None:
    sieve = Sieve(CleaningPart(drop_rows=(2,), drop_empty=True, keep_if='lang == "en"'), ["lang"])
    empty = chat("user: Hi", "assistant: ")

    assert sieve.reason_to_drop(1, {"lang": "en"}, FULL) is None
    assert sieve.reason_to_drop(1, {"lang": "de"}, FULL) == "keep_if"
    assert sieve.reason_to_drop(1, {"lang": "de"}, empty) == "drop_empty"
    assert sieve.reason_to_drop(2, {"lang": "de"}, empty) == "drop_rows"
    assert sieve.reason_to_drop(3, {}, FULL) == "keep_if", "a row without the column counts it as null"


def test_equal_examples_have_equal_digests() -> None:
    assert digest(chat("user: Hi ", "assistant: Yes")) == digest(FULL)
    different = [
        FULL,
        chat("user: Hi", "assistant: No"),
        chat("user: HiYes", "assistant: "),
        chat("system: Hi", "assistant: Yes"),
        chat("user: Hi", "assistant: Yes", rejected=said("assistant: No")),
        chat("user: Hi", "assistant: Yes", "assistant: No"),
        chat("user: Hi", "assistant: Yes", desirable=True),
        chat("user: Hi", "assistant: Yes", desirable=False),
        chat("user: Hi", "assistant: Yes", tools=({"name": "f"},)),
        Example(text="Hi"),
        Example(text="half an emoji \ud83d"),
        Example(),
    ]
    assert len({digest(example) for example in different}) == len(different)
    assert all(0 <= digest(example) < 2**64 for example in different)


def test_sample_rows_takes_the_first_and_shuffle_decides_which_they_are() -> None:
    rows = np.arange(100, 200)

    assert choose(rows, CleaningPart(), 1).tolist() == rows.tolist()
    assert choose(rows, CleaningPart(sample_rows=3), 1).tolist() == [100, 101, 102]
    shuffled = choose(rows, CleaningPart(shuffle=True), 1)
    assert shuffled.tolist() != rows.tolist()
    assert sorted(shuffled) == rows.tolist()
    assert choose(rows, CleaningPart(shuffle=True, sample_rows=3), 1).tolist() == shuffled[:3].tolist()
    assert choose(rows, CleaningPart(shuffle=True), 2).tolist() != shuffled.tolist()
    assert choose(rows, CleaningPart(sample_rows=500), 1).tolist() == rows.tolist()


@pytest.mark.parametrize(("total", "rows", "seed"), [(1000, 60, 42), (100, 60, 7), (4, 60, 1), (0, 60, 1), (50, 0, 3)])
def test_rows_are_held_out_by_the_seed_and_their_order_stays(total: int, rows: int, seed: int) -> None:
    chosen = set(random.Random(seed).sample(range(total), min(rows, total // 5)))

    train, held = hold_out(np.arange(total) + 1000, None, rows, seed)

    assert held.tolist() == [1000 + place for place in sorted(chosen)]
    assert train.tolist() == [1000 + place for place in range(total) if place not in chosen]


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_belong_together_stay_together(seed: int) -> None:
    groups = np.random.RandomState(seed).randint(0, 100, 1000)
    rows = np.arange(1000)

    train, held = hold_out(rows, groups, 60, seed)

    assert not {*groups[train]} & {*groups[held]}
    assert sorted([*train, *held]) == rows.tolist()
    assert 60 <= len(held) <= 60 + np.bincount(groups).max()
    assert np.array_equal(hold_out(rows, groups, 60, seed)[1], held)
    assert not np.array_equal(hold_out(rows, groups, 60, seed + 1)[1], held)


def test_large_groups_are_left_in_training_while_small_ones_do() -> None:
    groups = np.array(["large"] * 90 + ["a"] * 5 + ["b"] * 5)

    for seed in range(5):
        assert set(groups[hold_out(np.arange(100), groups, 10, seed)[1]]) == {"a", "b"}


def test_two_large_groups_leave_the_larger_and_one_is_not_divided() -> None:
    halves = np.array([0] * 45 + [1] * 55)

    assert hold_out(np.arange(100), halves, 10, 1)[1].tolist() == list(range(45))
    assert len(hold_out(np.arange(100), np.zeros(100), 10, 1)[1]) == 0
    assert len(hold_out(np.arange(100), halves, 0, 1)[1]) == 0
