"""Rows as HTML, three ways: as a person reads them, as the model sees them, and raw. Pure functions; no gradio.

Whatever stands in a dataset ends up here, so every text is escaped and cut: a cell of ten megabytes or a table of a
thousand columns makes a page as long as any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from studio.ui import charts
from studio.ui.run_view import say

ROWS_A_PAGE = 6
TEXT_CHARACTERS = 4_000
RAW_CHARACTERS = 1_000
"""Of one cell in the raw view, which shows forty of them."""
COLUMNS = 40
ITEMS = 20
DEPTH = 6
TOKENS = 1_500
TURNS = 40

DROPPED = {
    "drop_rows": "Left out by its number",
    "drop_empty": "Left out: something in it is empty",
    "keep_if": "Left out by keep_if",
    "dedupe": "Left out: an earlier row says the same",
    "drop_over_long": "Left out: longer than max_length",
    "shuffle": "Left out",
    "sample_rows": "Not among the rows that were taken",
}
"""Cleaning step -> what it did to a row."""
SPECIAL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]|<<?/?SYS>>?")
"""A token that is markup of a template. A piece of text that looks like this never is a single token."""
SPEAKERS = {"system": "System prompt", "user": "Question", "assistant": "Answer", "tool": "Tool"}


def clip(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """A text that fits a page; of a longer one the beginning and how long it is."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"


def rows_html(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as people read them."""
    return "".join(_framed(row, _turns(row)) for row in rows) or _NOTHING


def tokens_html(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as the model sees them, with what the colours mean on top."""
    if not rows:
        return _NOTHING
    legend = charts.legend(
        [("trained: it learns to write this", "--c1"), ("context: it only reads this", "--c5"), ("cut", "--c2")]
    )
    return f'<div class="d-legend">{legend}</div>' + "".join(_framed(row, _tokens(row)) for row in rows)


def raw_html(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as they stand in the file."""
    return "".join(_framed(row, _raw(row["raw"])) for row in rows) or _NOTHING


_NOTHING = '<div class="empty">No rows to show.</div>'


def _framed(row: dict[str, Any], body: str) -> str:
    """A row with its number, what becomes of it, and the button that leaves it out."""
    number, dropped = int(row["number"]), row["dropped_by"]
    told, act = "", ("drop", "Leave out")
    if row["problem"]:
        told = say("bad", "Not usable", clip(row["problem"], 400))
    elif dropped:
        told, act = f'<p class="d-why">{escape(DROPPED.get(dropped, "Left out"))}</p>', ("keep", "Take back")
    held = '<span class="d-mark">held out to measure</span>' if row["held_out"] else ""
    button = (
        f'<button type="button" data-press="{act[0]}:{number}" aria-label="{act[1]}: row {number}">{act[1]}</button>'
        if dropped in (None, "drop_rows")
        else ""
    )
    kind = " out" if dropped or row["problem"] else ""
    return (
        f'<article class="d-row{kind}"><header><b>Row {number:,}</b>{held}{button}</header>{told}'
        f'<div class="d-body">{body}</div></article>'
    )


def _turns(row: dict[str, Any]) -> str:
    if row["text"] is not None:
        return f'<div class="turns"><div class="turn plain">{escape(clip(row["text"]))}</div></div>'
    messages = row["messages"]
    if not messages:  # not understood, or not yet
        return _raw(row["raw"])
    parts = [_tools(row["tools"])] if row["tools"] else []
    parts += [_turn(message, _mark(row, place)) for place, message in enumerate(messages[:TURNS])]
    if len(messages) > TURNS:
        parts.append(f'<p class="small">{len(messages) - TURNS:,} more turns</p>')
    parts += [_turn(message, "Worse answer", " worse") for message in row["rejected"]]
    return f'<div class="turns">{"".join(parts)}</div>'


def _mark(row: dict[str, Any], place: int) -> str:
    """What the last answer is called where answers are judged."""
    if place != len(row["messages"]) - 1:
        return ""
    if row["rejected"]:
        return "Better answer"
    return {True: "Good answer", False: "Bad answer", None: ""}[row["desirable"]]


def _turn(message: dict[str, Any], mark: str = "", kind: str = "") -> str:
    role = message["role"]
    name = message.get("name")
    label = mark or (SPEAKERS["tool"] + (f" {name}" if name else "") if role == "tool" else "")
    label = label or (SPEAKERS["system"] if role == "system" else "")
    who = f'<span class="d-who">{escape(label)}</span>' if label else ""
    calls = "".join(f'<code class="d-call">{escape(_call(call))}</code>' for call in message.get("tool_calls") or [])
    content = escape(clip(message["content"] or ""))
    empty = "" if content or calls else '<i class="d-empty">empty</i>'
    spoken = escape(SPEAKERS.get(role, role))
    return f'<div class="turn {escape(role)}{kind}" aria-label="{spoken}">{who}{content}{empty}{calls}</div>'


def _call(call: dict[str, Any]) -> str:
    """A function call as programmers write it."""
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return clip(f"{function.get('name', '')}({shown})", RAW_CHARACTERS)


def _tools(names: Sequence[str]) -> str:
    """The functions that the model may call in this row."""
    shown = ", ".join(f"<code>{escape(clip(str(name), 60))}</code>" for name in names[:ITEMS])
    more = f" and {len(names) - ITEMS} more" if len(names) > ITEMS else ""
    return f'<p class="d-tools">It may call {shown}{more}</p>'


def _tokens(row: dict[str, Any]) -> str:
    """Every token: what is trained underlined, what is cut struck out, markup as small frames."""
    if row.get("too_long"):
        return f'<p class="small">{escape(row["too_long"])}</p>'
    if not row["tokens"]:
        return ""
    classes = {"trained": "t", "context": "c", "cut": "x"}
    pieces = []
    for text, kind in row["tokens"][:TOKENS]:
        tag = "u" if kind == "trained" else "span"
        special = " s" if SPECIAL.fullmatch(text.strip()) else ""
        pieces.append(f'<{tag} class="{classes[kind]}{special}">{visible(text)}</{tag}>')
    cut = sum(kind == "cut" for _, kind in row["tokens"])
    trained, total = row["trained"], max(1, row["total"])
    told = f"{trained:,} of {row['total']:,} tokens trained, {100 * trained / total:.0f} %"
    told += f"; {cut:,} beyond max_length are cut" if cut else ""
    told += f"; the first {TOKENS:,} are shown" if len(row["tokens"]) > TOKENS else ""
    return f'<div class="tok">{"".join(pieces)}</div><p class="small num">{told}</p>'


def visible(text: str) -> str:
    """A token's text with its blanks to be seen, escaped."""
    shown = escape(clip(text, 200))
    inner = shown.strip(" ")
    if not inner:  # nothing but blanks
        return f"<i>{'·' * len(shown)}</i>" if len(shown) > 1 else "<i> </i>"
    ahead, behind = len(shown) - len(shown.lstrip(" ")), len(shown) - len(shown.rstrip(" "))
    inner = inner.replace("\n", "<i>↵</i>\n").replace("\t", "<i>→</i>\t").replace("\r", "<i>␍</i>")
    before = " " if ahead == 1 else f"<i>{'·' * ahead}</i>" if ahead else ""
    return before + inner + (f"<i>{'·' * behind}</i>" if behind else "")


def _raw(raw: dict[str, Any]) -> str:
    shown = {clip(str(key), 100): bounded(value) for key, value in list(raw.items())[:COLUMNS]}
    text = json.dumps(shown, ensure_ascii=False, indent=2)
    more = len(raw) - len(shown)
    note = f'<p class="small">{more:,} more columns</p>' if more > 0 else ""
    return f'<pre class="code">{escape(clip(text, 40_000))}</pre>{note}'


def bounded(value: Any, depth: int = DEPTH) -> Any:
    """A JSON value of a size that a page can show: long texts, lists and deep nesting end with how much there is."""
    if isinstance(value, str):
        return clip(value, RAW_CHARACTERS)
    if isinstance(value, dict | list) and depth == 0:
        return f"… ({len(value):,} inside)"
    if isinstance(value, dict):
        kept = {clip(str(key), 100): bounded(inner, depth - 1) for key, inner in list(value.items())[:ITEMS]}
        return kept if len(value) <= ITEMS else {**kept, "…": f"{len(value) - ITEMS:,} more"}
    if isinstance(value, list):
        listed = [bounded(inner, depth - 1) for inner in value[:ITEMS]]
        return listed if len(value) <= ITEMS else [*listed, f"… {len(value) - ITEMS:,} more"]
    return value
