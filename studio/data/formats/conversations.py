"""One raw row as an Example, by its format: every notation ends in the one normal form of messages.py.

    messages, sharegpt                             turns, with tools and a system prompt from columns of their own
    alpaca, prompt/completion, question/answer     question and answer, both texts or turns
    classification                                 the text is the question, the label's word the answer
    preference, kto                                the better answer (or the rated one), and how it compares
    text                                           as it is

Knows no file and no tokenizer. Null and empty texts are kept as empty: cleaning and the audit speak about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from studio.data.formats.column_names import HISTORY
from studio.data.formats.mapping import UnreadableRow, structured, take, take_if_there, written
from studio.data.formats.turns import notation, read_tools, read_turns, spoken
from studio.messages import Example, Message, Speaker

if TYPE_CHECKING:
    from studio.data.formats.recognisers import Format

__all__ = ["UnreadableRow", "read_row"]


def read_row(row: Mapping[str, Any], form: Format) -> Example:
    """`row` in normal form. Raises UnreadableRow with the reason: "the role 'narrator' is unknown".

    A conversation needs a question before its answer. What comes after the last answer is left out: an unanswered
    question at the end teaches nothing.
    """
    return _READERS[form.name](row, form)


def _read_turns(row: Mapping[str, Any], form: Format) -> Example:
    turns = _with_system(read_turns(take(form.mapping["messages"], row)), row, form)
    return Example(messages=_answered(turns), tools=_tools(row, form))


def _read_pair(row: Mapping[str, Any], form: Format) -> Example:
    question, answer = form.mapping["prompt"], form.mapping["completion"]
    turns = _side(take(question, row), "user", question) + _side(take(answer, row), "assistant", answer)
    if form.name == "alpaca" and HISTORY in form.columns:
        turns = _history(row.get(HISTORY)) + turns
    return Example(messages=_answered(_with_system(turns, row, form)), tools=_tools(row, form))


def _read_text(row: Mapping[str, Any], form: Format) -> Example:
    template = form.mapping["text"]
    value = take(template, row)
    return Example(text=value if isinstance(value, str) else written(value, template))


def _read_label(row: Mapping[str, Any], form: Format) -> Example:
    mapping = form.mapping
    template = mapping.get("text") or mapping["prompt"]
    label = _label(take(mapping["label"], row), form)
    turns = [*_side(take(template, row), "user", template), Message(role="assistant", content=label)]
    return Example(messages=_answered(_with_system(turns, row, form)))


def _read_vote(row: Mapping[str, Any], form: Format) -> Example:
    read = _read_turns if "messages" in form.mapping else _read_pair
    example = read(row, form)
    good = _vote(take(form.mapping["label"], row))
    return Example(messages=example.messages, tools=example.tools, desirable=good)


def _read_preference(row: Mapping[str, Any], form: Format) -> Example:
    """The prompt with the better answer, and the worse answer to the same prompt."""
    mapping = form.mapping
    prompt = _prompt(row, form)
    chosen, rejected = (_compared(take(mapping[role], row), prompt, mapping[role]) for role in ("chosen", "rejected"))
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if shared < len(chosen) - 1:
        raise UnreadableRow("the better and the worse conversation differ before the last answer")
    messages = _answered(_with_system(chosen, row, form))
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise UnreadableRow("one of the two conversations does not end with an answer")
    return Example(messages=messages, tools=_tools(row, form), rejected=tuple(rejected[shared:]))


def _prompt(row: Mapping[str, Any], form: Format) -> list[Message]:
    """What both answers of a pair reply to, as far as it has a column."""
    mapping = form.mapping
    turns = read_turns(take(mapping["messages"], row)) if "messages" in mapping else []
    if "prompt" in mapping:
        turns += _side(take(mapping["prompt"], row), "user", mapping["prompt"])
    return turns


def _compared(value: Any, prompt: list[Message], template: str) -> list[Message]:
    """The whole conversation with one of the two answers, whether the value holds all of it or the answer alone."""
    if isinstance(value, str):
        said = spoken(value)
        if said is None and len(prompt) == 1 and (before := spoken(prompt[0]["content"])) is not None:
            if before[-1]["role"] == "assistant" and not before[-1]["content"].strip():
                before.pop()  # the prompt ends with "Assistant:", which the answer continues
            said = [*before, {"role": "assistant", "content": value.removeprefix(" ")}]
        if said is not None and said[-1]["role"] == "assistant":
            return said
    turns = _side(value, "assistant", template)
    if turns[0]["role"] in ("user", "system"):
        return turns
    if not prompt:
        raise UnreadableRow("there is no question: no prompt, and the answers do not begin with one")
    return prompt + turns


def _side(value: Any, speaker: Speaker, template: str) -> list[Message]:
    """A question or an answer: one text, or turns."""
    if isinstance(value, str):
        if value[:1] != "[" or notation(value) is None:
            return [{"role": speaker, "content": value}]
        return read_turns(value)
    if isinstance(value, Mapping | list | tuple) and notation(value) not in (None, "texts"):
        return read_turns(value)
    return [{"role": speaker, "content": written(value, template)}]


def _with_system(turns: list[Message], row: Mapping[str, Any], form: Format) -> list[Message]:
    """The turns after the system prompt of its own column; one in the conversation itself goes before that."""
    template = form.mapping.get("system")
    if template is None or (turns and turns[0]["role"] == "system"):
        return turns
    text = written(take_if_there(template, row), template)
    return [{"role": "system", "content": text}, *turns] if text.strip() else turns


def _tools(row: Mapping[str, Any], form: Format) -> tuple[dict[str, Any], ...]:
    template = form.mapping.get("tools")
    return () if template is None else read_tools(take_if_there(template, row))


def _history(value: Any) -> list[Message]:
    """Earlier questions with their answers."""
    pairs = structured(value)
    if not pairs:
        return []
    turns: list[Message] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise UnreadableRow("history is no list of pairs of question and answer")
        turns += _side(pair[0], "user", "history") + _side(pair[1], "assistant", "history")
    return turns


def _label(value: Any, form: Format) -> str:
    """The label's word; several labels are joined by commas."""
    if isinstance(value, str) and value[:1] != "[":
        return _word(value, form)
    value = structured(value)
    if isinstance(value, list | tuple):
        return ", ".join(_word(entry, form) for entry in value)
    return _word(value, form)


def _word(value: Any, form: Format) -> str:
    names = form.label_names
    if isinstance(value, bool) or not names:
        return written(value, "the label")
    text = written(value, "the label")
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if not text.strip().removeprefix("-").isdecimal():
        return text
    number = int(text)
    if not 0 <= number < len(names):
        raise UnreadableRow(f"the label {number} has no name; there are names for 0 to {len(names) - 1}")
    return names[number]


def _vote(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("true", "1", "1.0"):
        return True
    if text in ("false", "0", "0.0"):
        return False
    raise UnreadableRow(f"the label is {value!r}, not true or false")


def _answered(turns: list[Message]) -> tuple[Message, ...]:
    """Up to the last answer, checked that somebody asks."""
    end = len(turns)
    while end and turns[end - 1]["role"] != "assistant":
        end -= 1
    if not end:
        raise UnreadableRow("no turn is an answer")
    if not any(turn["role"] == "user" for turn in turns[:end]):
        raise UnreadableRow("no turn is a question")
    return tuple(turns[:end])


_READERS: dict[str, Callable[[Mapping[str, Any], Format], Example]] = {
    "messages": _read_turns,
    "sharegpt": _read_turns,
    "alpaca": _read_pair,
    "prompt/completion": _read_pair,
    "question/answer": _read_pair,
    "text": _read_text,
    "classification": _read_label,
    "preference": _read_preference,
    "kto": _read_vote,
}
