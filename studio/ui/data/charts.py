"""Pictures of a dataset as small SVG and HTML strings: lengths against max_length, turns, answers, first words, labels.

Colours are the style sheet's variables; assets/studio.js shows the values under the pointer. No gradio.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from studio import words
from studio.ui import charts
from studio.ui.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, round_up
from studio.ui.data.view import clip

Bin = Sequence[int]
"""(from, to, how many)."""
BARS = 12

NO_LENGTHS = '<div class="empty">Lengths appear here once all rows are read.</div>'
NO_CHARTS = '<div class="empty">Charts appear here once all rows are read.</div>'


def lengths_html(lengths: dict[str, Any], seconds: float | None) -> str:
    """The histogram of row lengths with the line at max_length, and what that line costs."""
    limit = lengths["max_length"]
    legend = charts.legend([("rows that stay whole", "--c1"), (f"longer than {limit:,} tokens", "--c2")])
    spread = (
        f"Half of the rows have at most {lengths['p50']:,} tokens, 95 % at most {lengths['p95']:,}, "
        f"99 % at most {lengths['p99']:,}; the longest has {lengths['longest']:,}."
    )
    return (
        _length_tiles(lengths, seconds)
        + histogram(lengths["bins"], "tokens", limit)
        + legend
        + f'<p class="small num d-spread">{spread}</p>'
    )


def _length_tiles(lengths: dict[str, Any], seconds: float | None) -> str:
    rows = max(1, lengths["rows"])

    def share(count: int) -> str:
        if not count:
            return "none"
        part = count / rows
        return "less than 0.1 % of all" if part < 0.001 else f"{words.percent(part, 1 if part < 0.1 else 0)} of all"

    cells = (
        ("rows cut", f"{lengths['rows_cut']:,}", share(lengths["rows_cut"]), ""),
        ("answers cut", f"{lengths['answers_cut']:,}", share(lengths["answers_cut"]), "warn"),
        ("rows left out", f"{lengths['rows_dropped']:,}", share(lengths["rows_dropped"]), "warn"),
        ("padding", words.percent(lengths["padding_share"]), "computed for nothing", ""),
        ("steps an epoch", f"{lengths['steps_per_epoch']:,}", "every row once", ""),
        ("training", f"about {words.duration(seconds)}" if seconds else "–", "with the steps chosen", ""),
    )
    return (
        '<div class="tiles d-tiles">'
        + "".join(
            f'<div class="tile {kind if value != "0" else ""}"><span>{name}</span><b>{value}</b>'
            f"<small>{more}</small></div>"
            for name, value, more, kind in cells
        )
        + "</div>"
    )


@dataclass(frozen=True)
class _Frame:
    """A picture's size and where its number line lies, in units of its viewBox."""

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM

    def y(self, share: float) -> float:
        return self.bottom - (self.bottom - self.top) * share


_WIDE, _NARROW = _Frame(), _Frame(360, 170, 40, 352, 12, 142)


def histogram(bins: Sequence[Bin], unit: str, limit: int | None = None, *, narrow: bool = False) -> str:
    """Bars over a number line, with a line at `limit`: what lies beyond it has another colour."""
    if not bins:
        return '<div class="chart"><div class="empty">Nothing to count.</div></div>'
    frame = _NARROW if narrow else _WIDE
    width = bins[0][1] - bins[0][0]
    overflows = bins[-1][1] - bins[-1][0] > 2 * width  # the last bar stands for all that is longer
    low, high = bins[0][0], max(bins[-1][0] + 2 * width if overflows else bins[-1][1], bins[0][0] + 1)
    top = round_up(max(count for _, _, count in bins))

    def x(value: float) -> float:
        return frame.left + (frame.right - frame.left) * (value - low) / (high - low)

    body, points = _count_grid(top, frame) + _number_line(low, high, frame, overflows), []
    for start, end, count in bins:
        left, right = x(start), x(min(high, max(end, start + (high - low) / 200)))
        reached = end - 1 if overflows and end == bins[-1][1] else start  # of the last bar the longest row counts
        kind = "over" if limit is not None and reached >= limit else "bin"
        if count:
            y = min(frame.y(count / top), frame.bottom - 1.5)  # one row among thousands is still to be seen
            size = f'width="{max(1.0, right - left - 1):.1f}" height="{frame.bottom - y:.1f}"'
            body += f'<rect class="{kind}" x="{left:.1f}" y="{y:.1f}" {size}/>'
        points.append([round((left + right) / 2, 1), f"{start:,} to {end:,} {unit}\n{count:,} rows"])
    body += _limit_line(limit, x(limit), bins[-1][1], frame) if limit is not None else ""
    body += f'<line class="hair" x1="0" x2="0" y1="{frame.top}" y2="{frame.bottom}"/>'
    label = f"{sum(count for _, _, count in bins):,} rows have {low:,} to {bins[-1][1]:,} {unit}"
    return (
        f'<div class="chart" data-points="{escape(json.dumps(points))}"><svg viewBox="0 0 {frame.width} '
        f'{frame.height}" role="img" aria-label="{label}">{body}</svg><div class="tip"></div></div>'
    )


def _count_grid(top: float, frame: _Frame) -> str:
    parts = []
    for quarter in range(5):
        y, value = frame.y(quarter / 4), top * quarter / 4
        shown = words.count(value) if value == int(value) else ""
        line = f'<path class="grid" d="M{frame.left} {y:.1f}H{frame.right}"/>'
        parts.append(f'{line}<text x="0" y="{y + 4:.1f}">{shown}</text>')
    return "".join(parts)


def _number_line(low: int, high: int, frame: _Frame, more_follows: bool) -> str:
    parts = []
    for quarter in range(5):
        value = low + (high - low) * quarter / 4
        x = frame.left + (frame.right - frame.left) * quarter / 4
        anchor = "start" if quarter == 0 else "end" if quarter == 4 else "middle"
        more = " and more" if more_follows and quarter == 4 else ""
        parts.append(f'<text x="{x:.1f}" y="{frame.bottom + 22}" text-anchor="{anchor}">{value:,.0f}{more}</text>')
    return "".join(parts)


def _limit_line(limit: int, x: float, longest: int, frame: _Frame) -> str:
    """The line at max_length, its words on the side that has room; beyond all rows it stands at the edge."""
    at = min(x, frame.right)
    told = f"max_length {limit:,}" + (" (no row is longer)" if limit >= longest else "")
    anchor, offset = ("end", -6) if at > (frame.left + frame.right) / 2 else ("start", 6)
    return (
        f'<path class="limit" d="M{at:.1f} {frame.top - 8}V{frame.bottom}"/>'
        f'<text class="limit" x="{at + offset:.1f}" y="{frame.top - 6}" text-anchor="{anchor}">{told}</text>'
    )


def charts_html(found: dict[str, Any]) -> str:
    """Four small pictures that tell a good dataset from a lopsided one."""
    turns = [(f"{count} {'turn' if count == 1 else 'turns'}", rows) for count, rows in found["turns"]]
    pictures = (
        ("Turns a conversation", bars(turns) if turns else ""),
        ("Words an answer", histogram(found["answer_words"], "words", narrow=True) if found["answer_words"] else ""),
        ("How answers begin", bars(found["first_words"])),
        ("Labels", bars(found["labels"])),
    )
    shown = "".join(f'<section><h3 class="t">{title}</h3>{picture}</section>' for title, picture in pictures if picture)
    return f'<div class="d-charts">{shown}</div>' if shown else '<div class="empty">Nothing to count here.</div>'


def bars(counts: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars with their names and counts; of many the first ones."""
    if not counts:
        return ""
    most = max(1, max(count for _, count in counts))
    lines = "".join(
        f'<span title="{escape(clip(str(name), 200))}">{escape(clip(str(name), 40)) or "(empty)"}</span>'
        f'<i><u style="width:{100 * count / most:.1f}%"></u></i><b>{count:,}</b>'
        for name, count in counts[:BARS]
    )
    rest = f'<p class="small">and {len(counts) - BARS} more</p>' if len(counts) > BARS else ""
    return f'<div class="d-bars">{lines}</div>{rest}'
