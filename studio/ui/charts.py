"""Pictures as small SVG strings: the loss chart, sparklines, memory bars. Colours are the style sheet's variables.

Made once a step for everybody who watches and swapped as a whole, which costs the server a third of a plotting
component and does not flicker (docs/design.md). assets/studio.js shows the values under the pointer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

from studio.runs import Metric

MAX_POINTS = 500
WIDTH, HEIGHT = 720, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 710, 20, 220
SMOOTHING = 0.9
"""Weight of the past in the smoothed curve (bias-corrected exponential mean, as trackers show it)."""

Point = tuple[int, float]


def points_of(metrics: Sequence[Metric]) -> list[Point]:
    """(step, value) of each metric, in their order."""
    return [(metric.step, metric.value) for metric in metrics]


def thin_out(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most `limit` points: the smallest and largest of each bucket of steps, so that no spike is lost.

    Bucket widths are powers of two and start at step 0: a bucket that is full never changes when points are appended,
    so the drawn curve does not wobble while it grows.
    """
    if len(points) <= limit:
        return list(points)
    width = 1
    while points[-1][0] // width + 1 > limit // 2:
        width *= 2
    buckets: dict[int, list[Point]] = {}
    for point in points:
        buckets.setdefault(point[0] // width, []).append(point)
    thin: list[Point] = []
    for bucket in buckets.values():
        finite = [point for point in bucket if math.isfinite(point[1])] or bucket
        ends = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])}
        thin.extend(sorted(ends))
    return thin


def smoothing_for(total_steps: int) -> float:
    """A lighter touch for short runs, in which the heavy one would lag behind by a third of the picture."""
    return SMOOTHING if total_steps > 200 else 0.8 if total_steps > 60 else 0.6


def smoothed(points: Sequence[Point], weight: float = SMOOTHING) -> list[Point]:
    """Bias-corrected exponential mean; values that are not finite are passed over."""
    result: list[Point] = []
    mean, correction = 0.0, 1.0
    for step, value in points:
        if not math.isfinite(value):
            continue
        mean = weight * mean + (1 - weight) * value
        correction *= weight
        result.append((step, mean / (1 - correction)))
    return result


class _Scale:
    """From steps and values to the picture's coordinates."""

    def __init__(self, last_step: int, values: Sequence[float], log: bool) -> None:
        finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        self.last_step = max(1, last_step)
        self.log = log
        if log:
            self.low = float(math.floor(math.log10(min(finite, default=0.1))))
            self.high = max(self.low + 1, math.ceil(math.log10(max(finite, default=10.0))))
        else:
            self.low, self.high = 0.0, round_up(max(finite, default=1.0))

    def x(self, step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / self.last_step

    def y(self, value: float) -> float:
        if self.log:
            value = math.log10(max(value, 10.0**self.low))
        share = (value - self.low) / (self.high - self.low)
        return BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0)

    def value_ticks(self) -> list[float]:
        if self.log:
            return [10.0**power for power in range(int(self.low), int(self.high) + 1)]
        return [self.high * part / 4 for part in range(5)]


def round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 or 8 times a power of ten: a top line whose quarters are easy to read."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 5, 8, 10) if factor * power >= value)


def _path(points: Sequence[Point], scale: _Scale) -> str:
    """SVG path; a value that is not finite leaves a gap, never a zero."""
    parts: list[str] = []
    pen = "M"
    for step, value in points:
        if not math.isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{scale.x(step):.1f} {scale.y(value):.1f}")
        pen = "L"
    return "".join(parts)


def loss_chart(
    loss: Sequence[Point],
    eval_loss: Sequence[Point],
    total_steps: int | None,
    checkpoints: Sequence[int] = (),
    *,
    log: bool = False,
) -> str:
    """The chart of a run: raw loss thin, smoothed bold, held-out loss as dots, checkpoints as ticks on the axis."""
    if not loss and not eval_loss:
        return '<div class="chart"><div class="empty">The curve begins with the first step.</div></div>'
    last_step = max([total_steps or 0, *(step for step, _ in (*loss, *eval_loss))])
    thin, smooth = thin_out(loss), thin_out(smoothed(loss, smoothing_for(last_step)))
    scale = _Scale(last_step, [value for _, value in (*thin, *eval_loss)], log)
    body = [
        *_grid(scale),
        f'<path class="raw" d="{_path(thin, scale)}"/>',
        f'<path class="smooth" d="{_path(smooth, scale)}"/>',
        f'<path class="held" d="{_path(eval_loss, scale)}"/>',
        *(
            f'<circle class="dot" cx="{scale.x(s):.1f}" cy="{scale.y(v):.1f}" r="4"/>'
            for s, v in eval_loss
            if math.isfinite(v)
        ),
        *(
            f'<path class="tick" d="M{scale.x(s):.1f} {BOTTOM}v6"><title>checkpoint, step {s}</title></path>'
            for s in checkpoints
        ),
        *_end_labels(smooth, eval_loss, scale),
        f'<line class="hair" x1="0" x2="0" y1="{TOP}" y2="{BOTTOM}"/>',
    ]
    return (
        f'<div class="chart" data-points="{_hover(thin, eval_loss, scale)}">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(summary(loss, eval_loss))}">'
        f'{"".join(body)}</svg><div class="tip"></div></div>'
    )


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for value in scale.value_ticks():
        y = scale.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/><text x="4" y="{y + 4:.1f}">{value:.3g}</text>')
    for part in range(5):
        step = round(scale.last_step * part / 4)
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        parts.append(f'<text x="{scale.x(step):.1f}" y="{BOTTOM + 22}" text-anchor="{anchor}">{step}</text>')
    return parts


def _end_labels(smooth: Sequence[Point], eval_loss: Sequence[Point], scale: _Scale) -> list[str]:
    """Names at the ends of the curves, moved apart where they would overlap."""
    ends = [("loss", smooth[-1])] if smooth else []
    finite = [point for point in eval_loss if math.isfinite(point[1])]
    ends += [("held-out", finite[-1])] if finite else []
    placed: list[tuple[float, str]] = []
    for name, (step, value) in sorted(ends, key=lambda end: scale.y(end[1][1])):
        y = scale.y(value) - 8
        if placed and y - placed[-1][0] < 14:
            y = placed[-1][0] + 14
        x = scale.x(step)
        anchor = "end" if x > RIGHT - 70 else "start"
        placed.append(
            (
                y,
                f'<text class="{name}" x="{x + (0 if anchor == "end" else 6):.1f}" y="{y:.1f}" '
                f'text-anchor="{anchor}">{name}</text>',
            )
        )
    return [text for _, text in placed]


def _hover(thin: Sequence[Point], eval_loss: Sequence[Point], scale: _Scale) -> str:
    """What the pointer shows at each step: [[x, text], ...] as JSON for an attribute."""
    held = dict(eval_loss)
    points = []
    for step, value in thin:
        text = f"step {step}\nloss {value:.4g}"
        if step in held:
            text += f"\nheld-out {held[step]:.4g}"
        points.append([round(scale.x(step), 1), text])
    return escape(json.dumps(points))


def summary(loss: Sequence[Point], eval_loss: Sequence[Point]) -> str:
    """The chart in a sentence, for who cannot see it."""
    told = []
    if loss:
        told.append(f"Loss went from {loss[0][1]:.3g} at step {loss[0][0]} to {loss[-1][1]:.3g} at step {loss[-1][0]}")
    if eval_loss:
        told.append(f"held-out loss {eval_loss[-1][1]:.3g}")
    return "; ".join(told)


def sparkline(points: Sequence[Point]) -> str:
    """The curve's shape in the height of a line of text."""
    if len(points) < 2:
        return ""
    thin = thin_out(smoothed(points), 60)
    values = [value for _, value in thin]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    first, last = thin[0][0], thin[-1][0]
    path = "L".join(
        f"{2 + 92 * (step - first) / max(1, last - first):.1f} {3 + 18 * (high - value) / span:.1f}"
        for step, value in thin
    )
    return f'<svg class="spark" width="96" height="24" viewBox="0 0 96 24" aria-hidden="true"><path d="M{path}"/></svg>'


def stacked_bar(parts: Sequence[tuple[str, float, str]], whole: float) -> str:
    """A bar of `whole` with its parts: (name, amount, colour variable). Amounts beyond the whole fill it."""
    total = max(whole, sum(amount for _, amount, _ in parts), 1.0)
    pieces = "".join(
        f'<i style="width:{100 * amount / total:.2f}%;background:var({colour})" title="{escape(name)}"></i>'
        for name, amount, colour in parts
        if amount > 0
    )
    return f'<div class="bar">{pieces}</div>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Coloured squares with words: (text, colour variable)."""
    return (
        '<div class="legend">'
        + "".join(f'<span><i style="background:var({colour})"></i>{escape(text)}</span>' for text, colour in entries)
        + "</div>"
    )
