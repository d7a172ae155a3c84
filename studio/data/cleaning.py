"""The cleaning steps of a recipe, one example at a time: what is repaired, what is left out, what is held out.

Knows rows, examples and the recipe's cleaning part; no file and no tokenizer. The steps are the fields of CleaningPart
and run in their order. Duplicates are judged over all rows together (data/duplicates.py), so is the length in tokens.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from ftfy import TextFixerConfig, fix_text
from numpy.typing import NDArray

from studio.data.expressions import Expression
from studio.data.private_text import masked
from studio.messages import Example, Message
from studio.recipe_data_fields import CleaningPart

LARGEST_HELD_OUT_SHARE = 0.2
"""No more than a fifth of the rows is ever kept away from training, however many were asked for."""

REPAIRS = ("trim", "fix_text", "mask_secrets", "merge_turns", "fold_system")
"""The steps that change an example, in their order."""

_ONLY_ENCODING = TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)
"""ftfy can do more; here it only undoes a wrong decoding. Curly quotes, wide letters and HTML are meant so."""

Sized = TypeVar("Sized", bound=np.generic)


def repair(example: Example, cleaning: CleaningPart) -> tuple[Example, tuple[str, ...]]:
    """`example` after the steps that are on, and the names of those that changed something in it."""
    changed = []
    for step in REPAIRS:
        if getattr(cleaning, step):
            repaired = _REPAIR_OF[step](example)
            if repaired != example:
                example = repaired
                changed.append(step)
    return example, tuple(changed)


class Sieve:
    """Decides row by row what is left out; one for all rows of a dataset."""

    def __init__(self, cleaning: CleaningPart, columns: Sequence[str] | None = None) -> None:
        """`columns`: those of the dataset, where known; a row that lacks one of them counts it as null.

        Raises InvalidInput for field cleaning.keep_if when the expression cannot be used.
        """
        self._rows = frozenset(cleaning.drop_rows)
        self._drop_empty = cleaning.drop_empty
        self._keep_if = Expression(cleaning.keep_if, columns) if cleaning.keep_if.strip() else None

    def reason_to_drop(self, number: int, row: Mapping[str, Any], example: Example) -> str | None:
        """Name of the first step that drops row `number` (from 1); None keeps it.

        Raises InvalidInput naming the row when keep_if cannot be worked out for it.
        """
        if number in self._rows:
            return "drop_rows"
        if self._drop_empty and (empty_question(example) or empty_answer(example) or empty_text(example)):
            return "drop_empty"
        if self._keep_if is not None and not self._keep_if.holds(row, number):
            return "keep_if"
        return None


def empty_question(example: Example) -> bool:
    """Whether some user turn says nothing."""
    return any(turn["role"] == "user" and not turn["content"].strip() for turn in example.messages)


def empty_answer(example: Example) -> bool:
    """Whether some answer, the rejected ones too, says nothing and calls no function."""
    return any(
        turn["role"] == "assistant" and not turn["content"].strip() and not turn.get("tool_calls")
        for turn in (*example.messages, *example.rejected)
    )


def empty_text(example: Example) -> bool:
    """Whether a row of plain text has none, or a conversation no turn."""
    return not (example.text or "").strip() if not example.messages else False


def in_a_row(turn: Message, following: Message) -> bool:
    """Whether two neighbouring turns are one speaker's and could be one. Those with calls, and of tools, could not."""
    plain = turn["role"] != "tool" and not turn.get("tool_calls") and not following.get("tool_calls")
    return plain and turn["role"] == following["role"]


def digest(example: Example) -> int:
    """64 bits that are equal for equal examples: speakers, texts without blanks at their ends, functions, the label.

    Among 5 million different rows the odds that any two share theirs are one to a million.
    """
    parts = [(example.text or "").strip()]
    for turn in (*example.messages, *example.rejected):
        calls = json.dumps(turn["tool_calls"], sort_keys=True) if turn.get("tool_calls") else ""
        parts += (turn["role"], turn["content"].strip(), calls)
    if example.rejected or example.tools or example.desirable is not None:
        parts.append(f"{len(example.rejected)} {example.desirable} {json.dumps(example.tools, sort_keys=True)}")
    whole = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "little")


def choose(indices: NDArray[Sized], cleaning: CleaningPart, seed: int) -> NDArray[Sized]:
    """The steps shuffle and sample_rows: the rows to train on, in their order."""
    if cleaning.shuffle:
        # RandomState's numbers are promised never to change; those of numpy's newer generators are not
        indices = indices[np.random.RandomState(seed).permutation(len(indices))]
    return indices[: cleaning.sample_rows] if cleaning.sample_rows else indices


def hold_out(
    indices: NDArray[Sized], groups: NDArray[Any] | None, rows: int, seed: int
) -> tuple[NDArray[Sized], NDArray[Sized]]:
    """(train, held out): `rows` of the rows drawn with `seed`, at most a fifth of all; both keep their order.

    With `groups` (one value a row) whole groups are drawn until there are `rows` rows, so it may be up to one group
    more, but never above a fifth. Only where every group is larger than that, the smallest is held out. A single
    group cannot be divided: nothing is held out then.
    """
    most = int(len(indices) * LARGEST_HELD_OUT_SHARE)
    wanted = min(rows, most)
    held = np.zeros(len(indices), dtype=bool)
    if groups is None:
        held[random.Random(seed).sample(range(len(indices)), wanted)] = True
    elif wanted:
        _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        held = np.isin(group_of, _groups_held_out(sizes, wanted, most, seed))
    return indices[~held], indices[held]


def _groups_held_out(sizes: NDArray[np.int64], wanted: int, most: int, seed: int) -> list[int]:
    """Numbers of the groups that are kept away from training."""
    chosen: list[int] = []
    total = 0
    for group in np.random.RandomState(seed).permutation(len(sizes)):
        if total + sizes[group] <= most:
            chosen.append(int(group))
            total += int(sizes[group])
        if total >= wanted:
            break
    if not chosen and len(sizes) > 1:
        chosen = [int(np.argmin(sizes))]
    return chosen


def _every_text(change: Callable[[str], str]) -> Callable[[Example], Example]:
    """A step that changes each text of an example on its own: all turns, the arguments of calls, plain text."""

    def step(example: Example) -> Example:
        text = None if example.text is None else change(example.text)
        turns = tuple(_changed_turn(turn, change) for turn in example.messages)
        rejected = tuple(_changed_turn(turn, change) for turn in example.rejected)
        return replace(example, messages=turns, text=text, rejected=rejected)

    return step


def _changed_turn(turn: Message, change: Callable[[str], str]) -> Message:
    changed = Message(**{**turn, "content": change(turn["content"])})
    if "tool_calls" in turn:
        changed["tool_calls"] = _changed_value(turn["tool_calls"], change)
    return changed


def _changed_value(value: Any, change: Callable[[str], str]) -> Any:
    """Every text in a nested value changed; the names in it stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed_value(item, change) for item in value]
    if isinstance(value, dict):
        return {name: _changed_value(item, change) for name, item in value.items()}
    return value


def _decoded_again(text: str) -> str:
    return text if text.isascii() else fix_text(text, _ONLY_ENCODING)


def _merge_turns(example: Example) -> Example:
    """Two turns in a row of one speaker become one. The last answer of a pair to compare stays on its own."""
    if example.rejected:
        return replace(
            example,
            messages=(*_merged(example.prompt), *example.messages[-1:]),
            rejected=_merged(example.rejected),
        )
    return replace(example, messages=_merged(example.messages))


def _merged(turns: Sequence[Message]) -> tuple[Message, ...]:
    merged: list[Message] = []
    for turn in turns:
        last = merged[-1] if merged else None
        if last is not None and in_a_row(last, turn):
            merged[-1] = Message(role=turn["role"], content=f"{last['content']}\n\n{turn['content']}")
        else:
            merged.append(turn)
    return tuple(merged)


def _fold_system(example: Example) -> Example:
    """What the system says goes before the next thing that the user says; it stays where nobody asks after it."""
    folded: list[Message] = []
    said: list[Message] = []
    for turn in example.messages:
        if turn["role"] == "system":
            said.append(turn)
            continue
        if turn["role"] == "user":
            texts = [system["content"] for system in said if system["content"].strip()]
            turn = Message(**{**turn, "content": "\n\n".join([*texts, turn["content"]])})
        else:
            folded += said
        said = []
        folded.append(turn)
    return replace(example, messages=(*folded, *said))


_REPAIR_OF: Mapping[str, Callable[[Example], Example]] = {
    "trim": _every_text(str.strip),
    "fix_text": _every_text(_decoded_again),
    "mask_secrets": _every_text(masked),
    "merge_turns": _merge_turns,
    "fold_system": _fold_system,
}
