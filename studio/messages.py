"""The one normal form of an example that everything works with, whatever file it came from.

Knows no file, no format of a dataset and no tokenizer: `data/formats/conversations.py` makes examples out of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs this one on Python 3.11
)

from typing_extensions import TypedDict

Speaker = Literal["system", "user", "assistant", "tool"]


class Message(TypedDict):
    """One turn: who says what."""

    role: Speaker
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    """Functions that an assistant asks for: [{"type": "function", "function": {"name": ..., "arguments": {...}}}]."""
    name: NotRequired[str]
    """Of a tool's turn: which function answers."""
    tool_call_id: NotRequired[str]
    """Of a tool's turn: which call it answers."""


@dataclass(frozen=True)
class Example:
    """One row in normal form: a conversation (`messages`, the last one an answer) or plain `text`."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    """JSON schemas of the functions that the model may call."""
    rejected: tuple[Message, ...] = ()
    """Of a preference pair: the worse answer, one or more turns, to the same prompt."""
    desirable: bool | None = None
    """Of a KTO row: whether the answer is a good one. None elsewhere."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation up to the last answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last answer; empty for plain text."""
        return self.messages[-1]["content"] if self.messages else ""
