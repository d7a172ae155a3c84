"""The pictures of a dataset: valid SVG, nothing beyond the frame, what is cut in its own colour."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from data_answers import lengths, scan

from studio.ui.data import charts as data_charts


def svg_of(html: str) -> ET.Element:
    return ET.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def test_rows_beyond_max_length_have_another_colour() -> None:
    html = data_charts.histogram([[0, 100, 15], [100, 200, 3], [600, 700, 2]], "tokens", 512)
    kinds = [bar.get("class") for bar in svg_of(html).iter("rect")]
    assert kinds == ["bin", "bin", "over"]
    assert "max_length 512" in html
    assert "100 to 200 tokens" in html


def test_a_single_row_among_thousands_is_still_to_be_seen() -> None:
    bars = list(svg_of(data_charts.histogram([[0, 10, 100_000], [10, 20, 1]], "tokens")).iter("rect"))
    assert all(float(bar.get("height", 0)) >= 1.5 for bar in bars)


def test_a_line_beyond_all_rows_stands_at_the_edge() -> None:
    html = data_charts.histogram([[0, 10, 5]], "tokens", 100_000)
    (x,) = re.findall(r'class="limit" d="M([\d.]+) ', html)
    assert float(x) <= 720
    assert "no row is longer" in html


def test_one_length_for_all_and_none_at_all_are_pictures_too() -> None:
    svg_of(data_charts.histogram([[7, 7, 3]], "tokens", 16))
    assert "Nothing to count" in data_charts.histogram([], "tokens")


def test_the_tiles_say_what_max_length_costs() -> None:
    html = data_charts.lengths_html(lengths(rows=20_000, rows_cut=2), 180.0)
    assert "<b>2</b><small>less than 0.1 % of all</small>" in html
    assert "<b>about 3 min</b>" in html
    assert "<b>12 %</b><small>computed for nothing</small>" in html
    assert "<b>–</b>" in data_charts.lengths_html(lengths(), None)


def test_charts_show_what_there_is_and_escape_it() -> None:
    html = data_charts.charts_html({**scan()["charts"], "labels": [], "first_words": [["<img src=x>", 3], ["", 1]]})
    assert "Turns a conversation" in html
    assert "Labels" not in html
    assert "<img" not in html
    assert "(empty)" in html
    nothing = {"turns": [], "answer_words": [], "first_words": [], "labels": []}
    assert "Nothing to count here" in data_charts.charts_html(nothing)


def test_of_hundreds_of_labels_the_first_are_drawn() -> None:
    html = data_charts.bars([(f"label {number}", 1) for number in range(300)])
    assert html.count("<u ") == 12
    assert "and 288 more" in html


def test_a_long_tail_is_one_last_bar_that_says_so() -> None:
    bins = [(0, 10, 50), (10, 20, 40), (20, 5000, 1)]
    html = data_charts.histogram(bins, "tokens", 512)
    assert "40 and more" in html
    assert "20 to 5,000 tokens" in html
    assert html.count('class="over"') == 1
    assert "no row is longer" not in html
    assert "no row is longer" in data_charts.histogram(bins, "tokens", 5000)
