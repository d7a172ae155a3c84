"""The example formats that datasets come in, and the one normal form that everything else works with.

    messages            [{"role": "user", "content": ...}, {"role": "assistant", ...}]
    sharegpt            [{"from": "human", "value": ...}, {"from": "gpt", ...}]
    prompt/completion   two columns, texts or messages
    alpaca              instruction, input (may be empty), output
    text                one column, trained as it is

Each becomes an `Example`: a conversation or a plain text. Knows no tokenizer and no file format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic needs this one on Python 3.11

from studio.errors import InvalidInput


class Message(TypedDict):
    """One turn: who says what."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Example:
    """One row in normal form: either `messages` (at least one answer) or `text`."""

    messages: tuple[Message, ...] = ()
    text: str | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation up to the last answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last answer; empty for plain text."""
        return self.messages[-1]["content"] if self.messages else ""


@dataclass(frozen=True)
class Format:
    """A recognised format: its name, why it was taken, and the columns it reads."""

    name: str
    reason: str
    columns: tuple[str, ...]


_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}


def recognise(row: Mapping[str, Any]) -> Format:
    """The format of a dataset, told by its first row. Raises InvalidInput naming the columns that are there."""
    columns = set(row)
    if {"chosen", "rejected"} <= columns:
        raise InvalidInput(
            "These are preference pairs (chosen and rejected). This page trains on single answers: "
            "bring a set with messages, prompt and completion, instruction and output, or text.",
            field="data.dataset",
        )
    for name in ("messages", "conversations", "conversation"):
        turns = row.get(name)
        if _is_list_of(turns, ("role", "content")):
            return Format("messages", f"the column {name} holds turns with role and content", (name,))
        if _is_list_of(turns, ("from", "value")):
            return Format("sharegpt", f"the column {name} holds turns with from and value", (name,))
    if {"prompt", "completion"} <= columns:
        return Format("prompt/completion", "there are columns prompt and completion", ("prompt", "completion"))
    if {"instruction", "output"} <= columns:
        known = tuple(c for c in ("system", "instruction", "input", "output") if c in columns)
        return Format("alpaca", "there are columns instruction and output", known)
    if isinstance(row.get("text"), str):
        return Format("text", "there is one column text, which is trained as it is", ("text",))
    raise InvalidInput(
        f"No known format in the columns {', '.join(sorted(columns)) or '(none)'}. Name them messages, "
        "or prompt and completion, or instruction and output, or text.",
        field="data.dataset",
    )


def _is_list_of(value: Any, keys: tuple[str, str]) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and isinstance(value[0], Mapping)
        and all(key in value[0] for key in keys)
    )


def read_row(row: Mapping[str, Any], form: Format, number: int) -> Example:
    """One raw row as an Example. `number` (from 1) names the row in the InvalidInput that a bad row raises."""
    try:
        match form.name:
            case "messages":
                return _conversation(_turns(row[form.columns[0]], "role", "content"))
            case "sharegpt":
                return _conversation(_turns(row[form.columns[0]], "from", "value"))
            case "prompt/completion":
                return _conversation(
                    _side(row["prompt"], "user") + _side(row["completion"], "assistant"),
                )
            case "alpaca":
                return _conversation(_alpaca_turns(row))
            case _:
                return Example(text=_text(row["text"], "text"))
    except (KeyError, ValueError) as error:
        reason = f"the column {error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise InvalidInput(f"Row {number} cannot be read as {form.name}: {reason}.", field="data.dataset") from error


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is {type(value).__name__}, not text")
    if not value.strip():
        raise ValueError(f"{what} is empty")
    return value


def _turns(value: Any, role_key: str, content_key: str) -> list[Message]:
    if not _is_list_of(value, (role_key, content_key)):
        raise ValueError("it has no list of turns")
    turns: list[Message] = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, Mapping) or not {role_key, content_key} <= turn.keys():
            raise ValueError(f"turn {number} has no {role_key} and {content_key}")
        role = _ROLES.get(str(turn[role_key]))
        if role is None:
            raise ValueError(f"the role {turn[role_key]!r} is unknown")
        turns.append({"role": role, "content": _text(turn[content_key], f"the {role}'s turn")})
    return turns


def _side(value: Any, role: Literal["user", "assistant"]) -> list[Message]:
    if isinstance(value, list | tuple):
        return _turns(value, "role", "content")
    return [{"role": role, "content": _text(value, "the prompt" if role == "user" else "the completion")}]


def _alpaca_turns(row: Mapping[str, Any]) -> list[Message]:
    question = _text(row["instruction"], "instruction")
    if isinstance(row.get("input"), str) and row["input"].strip():
        question = f"{question}\n\n{row['input']}"
    turns: list[Message] = []
    if isinstance(row.get("system"), str) and row["system"].strip():
        turns.append({"role": "system", "content": row["system"]})
    turns.append({"role": "user", "content": question})
    turns.append({"role": "assistant", "content": _text(row["output"], "output")})
    return turns


def _conversation(turns: list[Message]) -> Example:
    """Check that somebody asks before somebody answers, and that the last turn is an answer."""
    while turns and turns[-1]["role"] != "assistant":
        turns = turns[:-1]  # an unanswered question at the end teaches nothing
    if not turns:
        raise ValueError("no turn is an answer")
    if all(turn["role"] != "user" for turn in turns):
        raise ValueError("no turn is a question")
    return Example(messages=tuple(turns))
