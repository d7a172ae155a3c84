"""The pictures: no spike lost, no wobble while they grow, gaps for what is no number, a sentence for the blind."""

from __future__ import annotations

import json
import math
import re
from html import unescape

from studio.ui import charts


def spiky(steps: int) -> list[charts.Point]:
    return [(step, 9.0 if step == 777 else 1.0 + math.sin(step / 50) / 10) for step in range(1, steps + 1)]


def test_a_long_curve_is_thinned_to_its_limit_and_keeps_the_spike() -> None:
    thin = charts.thin_out(spiky(10_000))
    assert len(thin) <= charts.MAX_POINTS
    assert (777, 9.0) in thin
    assert thin == sorted(thin)


def test_appending_points_does_not_move_what_was_drawn() -> None:
    shorter, longer = charts.thin_out(spiky(4200)), charts.thin_out(spiky(4400))
    settled = [point for point in shorter if point[0] < 4096]
    assert [point for point in longer if point[0] < 4096] == settled


def test_smoothing_of_a_constant_is_that_constant_from_the_first_step() -> None:
    assert [round(value, 12) for _, value in charts.smoothed([(1, 2.0), (2, 2.0), (3, 2.0)])] == [2.0, 2.0, 2.0]


def test_nan_leaves_a_gap_and_never_a_zero() -> None:
    chart = charts.loss_chart([(1, 3.0), (2, math.nan), (3, 1.0)], [], 3)
    (path,) = re.findall(r'class="raw" d="([^"]+)"', chart)
    assert path.count("M") == 2
    assert "nan" not in path.lower()


def test_the_chart_says_its_curve_in_a_sentence() -> None:
    chart = charts.loss_chart([(1, 3.5), (9, 0.25)], [(9, 0.5)], 10)
    assert "Loss went from 3.5 at step 1 to 0.25 at step 9; held-out loss 0.5" in chart


def test_hovering_shows_the_values_of_each_step() -> None:
    chart = charts.loss_chart([(1, 3.5), (9, 0.25)], [(9, 0.5)], 10)
    (data,) = re.findall(r'data-points="([^"]*)"', chart)
    texts = [text for _, text in json.loads(unescape(data))]
    assert texts == ["step 1\nloss 3.5", "step 9\nloss 0.25\nheld-out 0.5"]


def test_checkpoints_are_ticks_on_the_axis() -> None:
    assert charts.loss_chart([(1, 1.0), (9, 1.0)], [], 10, [4, 8]).count('class="tick"') == 2


def test_a_log_scale_puts_equal_ratios_at_equal_distances() -> None:
    chart = charts.loss_chart([(1, 0.1), (2, 1.0), (3, 10.0)], [], 3, log=True)
    (path,) = re.findall(r'class="raw" d="([^"]+)"', chart)
    ys = [float(pair.split()[1]) for pair in re.split("[ML]", path) if pair]
    assert ys[0] - ys[1] == ys[1] - ys[2]


def test_before_the_first_step_there_is_an_empty_state() -> None:
    assert "begins with the first step" in charts.loss_chart([], [], None)


def test_a_bar_never_overflows_its_frame() -> None:
    bar = charts.stacked_bar([("a", 80, "--c1"), ("b", 60, "--c2")], whole=100)
    assert sum(float(width) for width in re.findall(r"width:([\d.]+)%", bar)) <= 100.01


def test_a_sparkline_needs_two_points() -> None:
    assert charts.sparkline([(1, 1.0)]) == ""
    assert "<svg" in charts.sparkline([(1, 1.0), (2, 0.5)])
