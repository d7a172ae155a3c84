"""What the Data page shows: the look, the scan as it goes on, views, and sentences where something cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_answers import FakeStudio, look, make_page, row, scan

from studio.errors import InvalidInput, Unavailable
from studio.settings import read_settings
from studio.ui.data import looking as data_looking
from studio.ui.data import pager as data_pager
from studio.ui.data import paging as data_paging
from studio.ui.data.choices import Page
from studio.ui.data.sketch import changed, chosen, sketch_of
from studio.ui.shared import START_DRAFT

SKETCH = sketch_of(None)


@pytest.fixture
def studio(tmp_path: Path) -> FakeStudio:
    return FakeStudio(read_settings(tmp_path / "home"))


@pytest.fixture
def page(studio: FakeStudio) -> Page:
    return make_page(studio)


def looking(page: Page, sketch: dict[str, Any] = SKETCH, looked: Any = None) -> dict[Any, Any]:
    return data_looking.look(page.shared, page.tab, START_DRAFT, sketch, looked, data_pager.START)


def polling(page: Page, looked: Any, before: Any = None, seen: str = "") -> dict[Any, Any]:
    shown = seen or str(looked["stamp"])
    return data_looking.poll(page.shared, page.tab, looked, before, shown, data_pager.START)


def test_a_look_shows_how_it_reads_and_the_first_rows(page: Page) -> None:
    shown = looking(page)
    tab = page.tab
    assert "texts with a label" in shown[tab.reading.said]
    assert "positive" in shown[tab.views["Rows"]]
    assert shown[tab.fields["data.mapping.text"]]["value"] == "review"
    assert shown[tab.fields["data.mapping.prompt"]]["visible"] is False
    assert shown[tab.fields["data.label_names"]]["value"] == "0=negative, 1=positive"
    assert shown[tab.reading.mapping]["open"] is False


@pytest.mark.parametrize("answer", [look(format={**look()["format"], "sureness": "guess"}), look(format=None)])
def test_the_columns_open_by_themselves_where_they_are_a_guess(
    page: Page, studio: FakeStudio, answer: dict[str, Any]
) -> None:
    studio.server.answers["look"] = answer
    assert looking(page)[page.tab.reading.mapping]["open"] is True


def test_a_second_look_leaves_alone_what_already_shows_the_right_thing(page: Page) -> None:
    first = looking(page)
    again = looking(page, looked=first[page.tab.looked])
    roles = {page.tab.fields[f"data.mapping.{role}"] for role in data_looking.data_mapping.ROLES}
    assert not roles & set(again)
    assert page.tab.reading.mapping not in again
    assert page.tab.audit not in again


def test_what_is_not_understood_asks_for_the_columns_and_is_not_scanned(page: Page, studio: FakeStudio) -> None:
    studio.server.answers["look"] = look(format=None, problem="Nothing fits.", rows=[row(messages=[])])
    shown = looking(page)
    assert "Say what the columns are" in shown[page.tab.audit]
    assert "Nothing fits." in shown[page.tab.reading.message]
    assert "&quot;review&quot;" in shown[page.tab.views["Rows"]]
    assert polling(page, shown[page.tab.looked]) == {}


def test_a_file_that_cannot_be_read_is_a_sentence(page: Page, studio: FakeStudio) -> None:
    studio.server.answers["look"] = InvalidInput("There is no file <b>.", field="data.dataset")
    shown = looking(page, chosen("<b>.csv"))
    assert "There is no file &lt;b&gt;." in shown[page.tab.reading.message]
    assert "&lt;b&gt;.csv" in shown[page.tab.reading.said]
    assert polling(page, shown[page.tab.looked]) == {}
    studio.server.answers.clear()  # somebody put the file there
    assert page.tab.audit in looking(page, chosen("<b>.csv"), shown[page.tab.looked])


def test_a_forbidden_path_is_refused(page: Page, studio: FakeStudio) -> None:
    shown = looking(page, chosen("/proc/self/environ"))
    assert "not read" in shown[page.tab.reading.message]
    assert studio.server.asked == []


def test_a_wrong_condition_is_told_beside_it(page: Page, studio: FakeStudio) -> None:
    studio.server.answers["scan"] = InvalidInput("There is no column lang.", field="cleaning.keep_if")
    shown = polling(page, looking(page)[page.tab.looked])
    assert "no column lang" in shown[page.tab.cleaning.message]
    assert shown[page.tab.cleaning.fold]["open"] is True
    assert polling(page, looking(page)[page.tab.looked], shown[page.tab.scan])  # a new look asks again


def test_the_scan_is_followed_to_its_end_and_told_once(page: Page, studio: FakeStudio) -> None:
    looked = looking(page)[page.tab.looked]
    studio.server.answers["scan"] = {"state": "running", "doing": "Reading the rows", "done": 5, "total": 20}
    running = polling(page, looked)
    assert "Reading the rows" in running[page.tab.audit]
    assert polling(page, looked, running[page.tab.scan]) == {}
    del studio.server.answers["scan"]
    done = polling(page, looked, running[page.tab.scan])
    assert "1 thing to fix" in done[page.tab.audit]
    assert "Rows 1–6 of 20" in done[page.tab.pager_words]
    assert "max_length 512" in done[page.tab.lengths]
    assert done[page.tab.slider]["maximum"] == 704
    assert polling(page, looked, done[page.tab.scan]) == {}


def test_a_scan_of_an_older_look_is_not_taken_for_this_ones(page: Page) -> None:
    first = looking(page)[page.tab.looked]
    done = polling(page, first)[page.tab.scan]
    second = looking(page, changed(SKETCH, {"cleaning.trim": True}), first)[page.tab.looked]
    assert page.tab.audit in polling(page, second, done)


def test_a_model_server_that_starts_anew_is_asked_again(page: Page, studio: FakeStudio) -> None:
    looked = looking(page)[page.tab.looked]
    studio.server.answers["scan"] = Unavailable("The model server did not answer.")
    shown = polling(page, looked)
    assert "did not answer" in shown[page.tab.audit]
    assert page.tab.scan not in shown  # so that the next tick tries


def test_a_model_that_cannot_be_described_leaves_lengths_without_a_time(page: Page, studio: FakeStudio) -> None:
    studio.server.answers["model"] = InvalidInput("There is no model.")
    assert "<b>–</b>" in polling(page, looking(page)[page.tab.looked])[page.tab.lengths]


def test_bad_rows_offer_to_be_skipped_and_counts_stand_in_the_fold(page: Page, studio: FakeStudio) -> None:
    step = {"name": "trim", "changed": 4, "dropped": 0, "left": 20}
    studio.server.answers["scan"] = scan(unreadable=2, unreadable_rows=[{"number": 3, "reason": "why"}], steps=[step])
    sketch = changed(SKETCH, {"cleaning.trim": True})
    shown = polling(page, looking(page, sketch)[page.tab.looked])
    assert shown[page.tab.reading.bad_actions]["visible"] is True
    assert shown[page.tab.reading.skip]["value"] == "Skip them (2)"
    assert "4 changed" in shown[page.tab.cleaning.fold]["label"]
    assert "4 rows changed" in shown[page.tab.cleaning.counts["trim"]]


def test_the_slider_counts_while_it_moves(page: Page, studio: FakeStudio) -> None:
    looked = looking(page)[page.tab.looked]
    done = polling(page, looked)[page.tab.scan]
    html = data_paging.slide(page.shared, looked, done, 1024)
    assert "max_length 1,024 (no row is longer)" in html
    assert studio.server.asked[-1][1].training.max_length == 1024
    studio.server.answers["lengths"] = InvalidInput("Not possible.")
    assert "Not possible." in data_paging.slide(page.shared, looked, done, 1024)


def test_turning_pages_asks_for_those_rows(page: Page, studio: FakeStudio) -> None:
    looked = looking(page)[page.tab.looked]
    done = polling(page, looked)[page.tab.scan]
    place = data_pager.moved(data_pager.START, 3, 20)
    shown = data_paging.turn(page.shared, page.tab, looked, done, place)
    assert studio.server.asked[-1][2] == {"numbers": "19,20"}
    assert shown[page.tab.following]["interactive"] is False
    assert "Row 19" in shown[page.tab.views["Raw"]]


def test_every_view_is_filled_whichever_is_in_sight(page: Page) -> None:
    found = polling(page, looking(page)[page.tab.looked])
    told = {"Rows": "turn user", "As the model sees it": "tok", "Raw": "pre class", "Charts": "How answers begin"}
    for name, words in told.items():
        assert words in found[page.tab.views[name]]


def test_switching_the_view_shows_one_and_asks_nobody(page: Page, studio: FakeStudio) -> None:
    for name in page.tab.views:
        shown = data_paging.show_view(page.tab, name)
        assert [view for view, part in page.tab.views.items() if shown[part]["visible"]] == [name]
        assert shown[page.tab.pager]["visible"] is (name not in ("Lengths", "Charts"))
    assert studio.server.asked == []


def test_a_look_that_the_browser_has_not_seen_yet_is_not_overtaken_by_its_scan(page: Page) -> None:
    looked = looking(page)[page.tab.looked]
    assert polling(page, looked, seen="an older one") == {}


def test_the_model_is_described_once_for_many_scans(page: Page, studio: FakeStudio) -> None:
    first = looking(page)[page.tab.looked]
    done = polling(page, first)[page.tab.scan]
    polling(page, looking(page, changed(SKETCH, {"cleaning.trim": True}), first)[page.tab.looked], done)
    assert [what for what, *_ in studio.server.asked].count("model") == 1
