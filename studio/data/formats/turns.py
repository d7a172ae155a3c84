"""Lists of turns in the notations that datasets use, read into messages.

Knows OpenAI's role/content with tool calls, ShareGPT's from/value, mixtures of both, texts that take turns, and the
"Human: … Assistant: …" of one text. Knows no columns and no formats: `conversations.py` says which value holds turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from studio.data.formats.mapping import UnreadableRow, structured
from studio.messages import Message, Speaker

ROLES: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
"""Who speaks, by the names that datasets give them; case does not matter."""
_CALLS = ("function_call", "tool_call", "tool_calls")
_ROLE_KEYS = ("role", "from")
_CONTENT_KEYS = ("content", "value", "text")
Notation = Literal["role and content", "from and value", "mixed", "texts"]

_SPOKEN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ \n]?")


def notation(value: Any) -> Notation | None:
    """How the turns in `value` are written; None if it is no list of turns."""
    turns = turn_list(value)
    if turns is None:
        return None
    keys = _keys(turns)
    if keys is None:
        texts = not isinstance(value, str) and len(turns) > 1 and all(isinstance(turn, str) for turn in turns)
        return "texts" if texts else None
    if keys == ("role", "content"):
        return "role and content"
    return "from and value" if keys == ("from", "value") else "mixed"


def turn_list(value: Any) -> Sequence[Any] | None:
    """`value` as a list with one entry a turn: from JSON text, a single turn, or a list for each key."""
    value = structured(value)
    if isinstance(value, Mapping):
        if not any(key in value for key in _ROLE_KEYS):
            return None
        if isinstance(value.get("role", value.get("from")), list):  # how `datasets` stores a sequence of named values
            columns = {key: entries for key, entries in value.items() if isinstance(entries, list)}
            if len({len(entries) for entries in columns.values()}) > 1:
                return None
            return [dict(zip(columns, turn, strict=True)) for turn in zip(*columns.values(), strict=True)] or None
        return [value]
    return value if isinstance(value, list | tuple) and value else None


def read_turns(value: Any) -> list[Message]:
    """All turns in `value`. Raises UnreadableRow naming the turn or the role that is wrong."""
    turns = turn_list(value)
    if turns is None:
        raise UnreadableRow("it has no list of turns")
    keys = _keys(turns)
    if keys is None:
        if all(isinstance(turn, str) for turn in turns):
            return [{"role": "assistant" if at % 2 else "user", "content": turn} for at, turn in enumerate(turns)]
        raise UnreadableRow("it has no list of turns")
    role_key, content_key = keys
    return [_turn(turn, role_key, content_key, number) for number, turn in enumerate(turns, start=1)]


def spoken(text: str) -> list[Message] | None:
    """The turns of a text such as "Human: … Assistant: …", its speakers after blank lines; None if it is not one."""
    first = _SPOKEN.match(text)
    if first is None or first[1] != "Human":
        return None
    pieces = _SPOKEN.split(text)
    pairs = zip(pieces[1::2], pieces[2::2], strict=True)
    return [{"role": "user" if who == "Human" else "assistant", "content": said} for who, said in pairs]


def read_tools(value: Any) -> tuple[dict[str, Any], ...]:
    """The JSON schemas of the functions that a model may call, each as {"type": "function", "function": {...}}.

    Nulls in them are left out: tables fill them in where rows differ.
    """
    value = structured(value)
    if value is None or value == "" or value == []:
        return ()
    if isinstance(value, Mapping):
        value = [value]
    tools = [structured(tool) for tool in value] if isinstance(value, list | tuple) else [value]
    if not all(isinstance(tool, Mapping) for tool in tools):
        raise UnreadableRow("the tools are no list of JSON schemas")
    bare = (_without_nulls(tool) for tool in tools)
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in bare)


def _keys(turns: Sequence[Any]) -> tuple[str, str] | None:
    """The names that these turns give to the speaker and to what is said."""
    for turn in turns:
        if isinstance(turn, Mapping):
            role = next((key for key in _ROLE_KEYS if key in turn), None)
            content = next((key for key in _CONTENT_KEYS if key in turn), "content" if _asks(turn) else None)
            if role and content:
                return role, content
    return None


def _turn(turn: Any, role_key: str, content_key: str, number: int) -> Message:
    if not isinstance(turn, Mapping) or role_key not in turn:
        raise UnreadableRow(f"turn {number} has no {role_key} and {content_key}")
    speaker = _speaker(turn[role_key], number)
    if speaker is None:
        return {"role": "assistant", "content": "", "tool_calls": _spoken_calls(turn.get(content_key), number)}
    content = turn.get(content_key)
    if content is None and content_key not in turn and not _asks(turn):
        raise UnreadableRow(f"turn {number} has no {role_key} and {content_key}")
    message: Message = {"role": speaker, "content": content if type(content) is str else _content(content, number)}
    if speaker == "assistant":
        if _asks(turn):
            message["tool_calls"] = _calls(turn.get("tool_calls") or turn.get("function_call"), number)
    elif speaker == "tool":
        _name_tool(message, turn)
    return message


def _name_tool(message: Message, turn: Mapping[str, Any]) -> None:
    """Which function answers, and which call."""
    if turn.get("name"):
        message["name"] = str(turn["name"])
    if turn.get("tool_call_id"):
        message["tool_call_id"] = str(turn["tool_call_id"])


def _speaker(role: Any, number: int) -> Speaker | None:
    """Who speaks; None when the role says that the turn is a call."""
    if role is None:
        raise UnreadableRow(f"turn {number} does not say who speaks: its role is null")
    if isinstance(role, str):
        if role in ROLES:
            return ROLES[role]
        name = role.strip().lower().replace("-", "_").replace(" ", "_")
        if name in ROLES:
            return ROLES[name]
        if name in _CALLS:
            return None
    raise UnreadableRow(f"the role {role!r} is unknown")


def _asks(turn: Mapping[str, Any]) -> bool:
    return bool(turn.get("tool_calls") or turn.get("function_call"))


def _content(content: Any, number: int) -> str:
    """What is said: text, nothing, or a list of text parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple):
        raise UnreadableRow(f"turn {number} holds {content!r}, not text")
    return "".join(_part(part, number) for part in content)


def _part(part: Any, number: int) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in (None, "text", "input_text", "output_text") and isinstance(part, Mapping):
        text = part.get("text")
        if isinstance(text, str) or (text is None and kind is not None):
            return text or ""
    what = str(kind or "something other than text").removeprefix("input_").removesuffix("_url")
    article = "an" if what[:1] in "aeiou" else "a" if kind else ""
    raise UnreadableRow(
        f"turn {number} holds {article} {what}, which a text model cannot learn from".replace("  ", " ")
    )


def _spoken_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """The calls of a turn whose role says that it is one: its text is JSON with name and arguments."""
    calls = structured(value)
    if not isinstance(calls, Mapping | list):
        raise UnreadableRow(f"turn {number} is a call, but no JSON with name and arguments")
    return _calls(calls, number)


def _calls(value: Any, number: int) -> list[dict[str, Any]]:
    """Calls in OpenAI's form, their arguments as named values."""
    calls = structured(value)
    if isinstance(calls, Mapping):
        calls = [calls]
    if not isinstance(calls, list | tuple):
        raise UnreadableRow(f"the calls in turn {number} are no list")
    return [_call(structured(call), number) for call in calls]


def _call(call: Any, number: int) -> dict[str, Any]:
    inner = structured(call.get("function")) if isinstance(call, Mapping) and call.get("function") else call
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise UnreadableRow(f"a call in turn {number} has no name")
    given = inner["arguments"] if "arguments" in inner else inner.get("parameters")
    arguments = structured(given) if isinstance(given, str) and given.strip() else _without_nulls(given or {})
    if not isinstance(arguments, Mapping):
        raise UnreadableRow(f"the arguments of {inner['name']} in turn {number} are no JSON with named values")
    read: dict[str, Any] = {"type": "function", "function": {"name": inner["name"], "arguments": dict(arguments)}}
    if call.get("id"):
        read["id"] = call["id"]
    return read


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
