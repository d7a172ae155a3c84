"""Duplicates: exact ones by digest, near ones by the word groups that they share; the first always stays."""

from __future__ import annotations

import random

import numpy as np
import pytest

from studio.data import duplicates
from studio.data.duplicates import first_of_each, near_duplicates
from studio.errors import InvalidInput

STORY = (
    "The old lighthouse keeper climbed the stairs every evening to light the lamp, and every morning he wrote down in "
    "a large book which ships had passed, how the wind had blown, and whether the sea had been kind to the fishermen."
)


def test_the_first_of_equal_digests_stays() -> None:
    digests = np.array([7, 3, 7, 2**64 - 1, 3, 7], np.uint64)

    assert first_of_each(digests).tolist() == [True, True, False, True, False, False]
    assert first_of_each(digests[:0]).tolist() == []


def test_a_few_changed_words_make_a_near_duplicate_of_the_first() -> None:
    texts = [
        (10, STORY),
        (11, "Something else altogether, about the making of bread in small villages, and how long it takes."),
        (12, STORY.replace("large book", "huge book")),
        (13, STORY.upper().replace(",", " -")),
        (14, STORY),
    ]

    assert near_duplicates(texts, 0.8) == [(12, 10), (13, 10), (14, 10)]
    assert near_duplicates(texts, 1.0) == [(13, 10), (14, 10)]


def test_half_of_the_words_in_common_are_too_few() -> None:
    words = STORY.split()
    half = " ".join(words[: len(words) // 2]) + " but then, one winter, nothing of this was ever the same again for him"

    assert near_duplicates([(1, STORY), (2, half)], 0.8) == []


def test_scripts_without_blanks_are_compared_by_letters() -> None:
    text = (
        "昔々あるところにお爺さんとお婆さんが住んでいました。お爺さんは山へ芝刈りに、お婆さんは川へ洗濯に行きました。"
        "すると川上から大きな桃がどんぶらこと流れて来ました。お婆さんはその桃を拾って家に持って帰りました。"
    )
    other = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。"

    assert near_duplicates([(1, text), (2, text.replace("洗濯", "水汲")), (3, other)], 0.8) == [(2, 1)]


def test_vowel_signs_are_part_of_a_word() -> None:
    assert near_duplicates([(1, "किताब पढ़ना अच्छा है"), (2, "कतब पढन अचछ ह")], 0.5) == []


def test_short_and_empty_texts_are_compared_as_a_whole() -> None:
    texts = [(1, "Yes"), (2, "No"), (3, "yes!"), (4, ""), (5, "  "), (6, "???"), (7, "???")]

    assert near_duplicates(texts, 0.8) == [(3, 1), (7, 6)]


def test_a_chain_of_small_changes_does_not_carry_off_its_end() -> None:
    words = [f"word{number}" for number in range(60)]
    texts = []
    for step in range(20):
        words[3 * step] = "changed"
        texts.append((step, " ".join(words)))

    pairs = near_duplicates(texts, 0.8)

    staying = set(range(20)) - {row for row, _ in pairs}
    assert 0 in staying
    assert len(staying) > 2, "the end is nothing like the beginning"
    assert {earlier for _, earlier in pairs} <= staying


def groups(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}


def test_what_is_found_agrees_with_comparing_each_with_each() -> None:
    chance = random.Random(5)
    texts: list[str] = []
    for number in range(600):
        words = [f"w{chance.randrange(500)}" for _ in range(chance.randrange(20, 60))]
        if number > 50 and number % 3 == 0:
            words = chance.choice(texts).split()
            for _ in range(chance.randrange(1, 4)):
                words[chance.randrange(len(words))] = "changed"
        texts.append(" ".join(words))
    staying: list[int] = []
    for row, text in enumerate(texts):
        ours = groups(text)
        if not any(
            len(ours & theirs) / len(ours | theirs) >= 0.8 for theirs in (groups(texts[other]) for other in staying)
        ):
            staying.append(row)

    pairs = near_duplicates(enumerate(texts), 0.8)

    found, expected = {row for row, _ in pairs}, set(range(600)) - set(staying)
    assert len(expected) > 50
    assert len(found ^ expected) <= len(expected) * 0.05
    for row, earlier in pairs:
        ours, theirs = groups(texts[row]), groups(texts[earlier])
        assert earlier < row
        assert len(ours & theirs) / len(ours | theirs) >= 0.8, "each one is compared for real"
    assert pairs == near_duplicates(enumerate(texts), 0.8)


def test_long_texts_are_compared_by_a_part_of_their_word_groups() -> None:
    chance = random.Random(3)
    long = [f"w{chance.randrange(10**6)}" for _ in range(6000)]
    tenth = [word if place % 30 else "changed" for place, word in enumerate(long)]
    half = [word if place % 6 else "changed" for place, word in enumerate(long)]
    texts = [(1, " ".join(long)), (2, " ".join(tenth)), (3, " ".join(half)), (4, " ".join(long[:900]))]

    assert near_duplicates(texts, 0.75) == [(2, 1)]


def test_too_many_rows_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_ROWS", 2)

    with pytest.raises(InvalidInput, match=r"too many rows .*\(2 short ones are possible\).*exact"):
        near_duplicates([(1, "one"), (2, "two"), (3, "three")], 0.8)
