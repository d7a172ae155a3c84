"""What a person does on the Data page and what follows: choosing, mapping, fixing, using, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_answers import FakeStudio, finding, lengths, make_page, record, scan

from studio.errors import InvalidInput, NotFound
from studio.settings import read_settings
from studio.ui.data import choices as data_choices
from studio.ui.data import form as data_form
from studio.ui.data import using as data_using
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


def values(page: Page, sketch: dict[str, Any]) -> list[Any]:
    return list(data_form.values_of(sketch, list(page.tab.fields)).values())


def asked(page: Page, shown: dict[Any, Any]) -> dict[str, Any]:
    """The sketch that the server is asked about next."""
    return dict(shown[page.tab.asked])


def test_a_visit_begins_with_what_was_being_looked_at_else_with_what_the_draft_uses(page: Page) -> None:
    draft = {**START_DRAFT, "data": {**START_DRAFT["data"], "dataset": "owner/name"}}
    first = data_choices.begin(page, draft, None)
    assert asked(page, first)["data"]["dataset"] == "owner/name"
    assert (first[page.tab.sources.source], first[page.tab.sources.named]) == ("Path or Hub", "owner/name")
    again = data_choices.begin(page, draft, changed(SKETCH, {"cleaning.trim": True}))
    assert asked(page, again)["cleaning"]["trim"] is True
    assert again[page.tab.sources.source] == "Starter"


def test_an_unfinished_sketch_of_an_older_studio_does_not_break_the_page(page: Page) -> None:
    shown = data_choices.begin(page, START_DRAFT, {"data": {"dataset": "rows.csv", "gone": 1}})
    assert asked(page, shown)["cleaning"] == START_DRAFT["cleaning"]


def test_choosing_a_dataset_forgets_the_last_ones_columns(page: Page) -> None:
    mapped = changed(SKETCH, {"data.mapping.prompt": "q"})
    shown = data_choices.choose(page, mapped, " starter:lighthouse ")
    assert asked(page, shown)["data"]["mapping"] == {}
    assert shown[page.tab.fields["data.mapping.prompt"]] == ""
    assert data_choices.choose(page, mapped, mapped["data"]["dataset"]) == {}
    assert data_choices.choose(page, mapped, None) == {}


def test_a_saved_dataset_comes_with_its_columns_cleaning_and_fingerprint(page: Page, studio: FakeStudio) -> None:
    data = {"dataset": "/data/r.csv", "mapping": {"prompt": "q"}}
    studio.saved = [record("Reviews", data=data, cleaning={"trim": True}, fingerprint="content-9")]
    after = asked(page, data_choices.choose_saved(page, "reviews"))
    assert (after["data"]["mapping"], after["data"]["fingerprint"]) == ({"prompt": "q"}, "content-9")
    assert after["cleaning"]["trim"] is True
    (card,) = data_choices.data_sources.saved_choices(studio, studio.saved)  # type: ignore[arg-type]
    assert "20 rows, MIT" in card[0]
    assert "used by 1 run" in card[0]
    with pytest.raises(NotFound):
        data_choices.choose_saved(page, "gone")


def test_a_field_that_was_left_unchanged_asks_nobody(page: Page) -> None:
    assert data_choices.gather(page, SKETCH, None, *values(page, SKETCH)) == {}
    after = changed(SKETCH, {"cleaning.dedupe": "near"})
    assert asked(page, data_choices.gather(page, SKETCH, None, *values(page, after)))["cleaning"]["dedupe"] == "near"


def test_what_cannot_be_read_is_told_beside_its_field(page: Page) -> None:
    typed = data_form.values_of(SKETCH, list(page.tab.fields)) | {"cleaning.drop_rows": "three"}
    shown = data_choices.gather(page, SKETCH, None, *typed.values())
    assert "no row number" in shown[page.tab.cleaning.message]
    assert page.tab.asked not in shown


def test_a_fix_changes_the_recipe_and_the_field_shows_it(page: Page) -> None:
    shown = data_choices.press(page, "fix:0:0#1", START_DRAFT, SKETCH, scan(), (0, 0))
    assert asked(page, shown)["cleaning"]["dedupe"] == "exact"
    assert shown[page.tab.fields["cleaning.dedupe"]] == "exact"
    assert page.shared.draft not in shown


def test_a_fix_of_max_length_is_the_drafts_and_the_fine_tune_forms(page: Page) -> None:
    longer = finding(fixes=[{"label": "704", "changes": {"training.max_length": 704}}])
    shown = data_choices.press(page, "fix:0:0#1", START_DRAFT, SKETCH, scan(findings=[longer]), (3, 0))
    assert shown[page.shared.draft]["training"]["max_length"] == 704
    assert shown[page.tune_fields["training.max_length"]] == shown[page.tab.slider] == 704
    assert shown[page.shared.preview] == 4


def test_a_fix_of_the_model_takes_the_sketch_along_and_every_form_anew(page: Page) -> None:
    chatml = finding(fixes=[{"label": "ChatML", "changes": {"model.chat_template": "chatml"}}])
    sketch = changed(SKETCH, {"cleaning.trim": True})
    shown = data_choices.press(page, "fix:0:0#1", START_DRAFT, sketch, scan(findings=[chatml]), (0, 7))
    assert shown[page.shared.draft]["model"]["chat_template"] == "chatml"
    assert shown[page.shared.draft]["cleaning"]["trim"] is True
    assert shown[page.shared.adopted] == 8


@pytest.mark.parametrize(
    "pressed", ["", "fix:9:0#1", "fix:0:9", "fix:x:y", "row:abc", "drop:-1", "unmix:", "rows:7", "format:c", "fix"]
)
def test_a_button_that_nobody_offered_does_nothing(page: Page, pressed: str) -> None:
    assert data_choices.press(page, pressed, START_DRAFT, SKETCH, scan(), (0, 0)) == {}
    assert data_choices.press(page, pressed, START_DRAFT, SKETCH, None, (0, 0)) == {}


def test_links_lead_to_rows(page: Page) -> None:
    to_row = data_choices.press(page, "row:17#2", START_DRAFT, SKETCH, scan(), (0, 0))
    assert (to_row[page.tab.place]["first"], to_row[page.tab.view]) == (16, "Rows")
    to_finding = data_choices.press(page, "rows:0#3", START_DRAFT, SKETCH, scan(), (0, 0))
    assert to_finding[page.tab.place]["picked"] == [4, 5, 9]
    left_out = data_choices.press(page, "drop:5#4", START_DRAFT, SKETCH, scan(), (0, 0))
    assert asked(page, left_out)["cleaning"]["drop_rows"] == [5]


def test_mixing_in_names_what_is_missing(page: Page, studio: FakeStudio) -> None:
    studio.saved = [record("Reviews", data={"dataset": "/data/r.csv", "mapping": {"prompt": "q"}})]
    shown = data_choices.mix_in(page, START_DRAFT, SKETCH, "saved:reviews", 0.5)
    (entry,) = asked(page, shown)["data"]["mix"]
    assert (entry["dataset"], entry["mapping"], entry["weight"]) == ("/data/r.csv", {"prompt": "q"}, 0.5)
    told = data_choices.mix_in(page, START_DRAFT, SKETCH, "", 1)[page.tab.cleaning.mixed]
    assert "Name the dataset" in told
    assert "weight" in data_choices.mix_in(page, START_DRAFT, SKETCH, "a/b", -1)[page.tab.cleaning.mixed]
    assert (
        "not read" in data_choices.mix_in(page, START_DRAFT, SKETCH, "/proc/self/environ", 1)[page.tab.cleaning.mixed]
    )


def test_the_slider_let_go_is_max_length_everywhere(page: Page) -> None:
    shown = data_choices.set_length(page, START_DRAFT, 1, 256)
    assert shown[page.shared.draft]["training"]["max_length"] == 256
    assert shown[page.tune_fields["training.max_length"]] == 256
    assert data_choices.set_length(page, START_DRAFT, 1, 512) == {}


def test_coming_back_looks_again_only_if_something_changed_elsewhere(page: Page) -> None:
    looked = {"recipe": data_choices.recipe_of(START_DRAFT, SKETCH).model_dump(mode="json")}
    assert data_choices.revisit(page, START_DRAFT, SKETCH, looked) == {}
    longer = {**START_DRAFT, "training": {**START_DRAFT["training"], "max_length": 1024}}
    assert data_choices.revisit(page, longer, SKETCH, looked)[page.tab.slider] == 1024


def test_using_a_dataset_takes_it_into_the_draft_with_its_fingerprint(page: Page) -> None:
    sketch = changed(chosen("owner/name"), {"cleaning.trim": True})
    shown = data_using.use(page, START_DRAFT, sketch, None, 4, *values(page, sketch))
    draft = shown[page.shared.draft]
    assert (draft["data"]["dataset"], draft["data"]["fingerprint"]) == ("owner/name", "content-1")
    assert draft["cleaning"]["trim"] is True
    assert shown[page.shared.preview] == 5
    assert shown[page.shared.tabs]["selected"] == "tune"


def test_what_was_typed_last_counts_even_if_nobody_left_the_field(page: Page) -> None:
    typed = values(page, changed(SKETCH, {"cleaning.keep_if": "size(a) > 3"}))
    shown = data_using.use(page, START_DRAFT, SKETCH, None, 0, *typed)
    assert shown[page.shared.draft]["cleaning"]["keep_if"] == "size(a) > 3"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (scan(bad_rows=2), "2 rows cannot be read"),
        (scan(train_rows=0), "No row is left"),
        (scan(changed_since=True), "Use the new content"),
        (InvalidInput("The file is empty."), "The file is empty."),
    ],
)
def test_a_dataset_that_cannot_be_trained_on_is_not_used(
    page: Page, studio: FakeStudio, answer: Any, told: str
) -> None:
    studio.server.answers["scan"] = answer
    shown = data_using.use(page, START_DRAFT, SKETCH, None, 0, *values(page, SKETCH))
    assert list(shown) == [page.tab.use_message]
    assert told in shown[page.tab.use_message]


def test_a_scan_that_goes_on_for_long_is_said(page: Page, studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_using, "SCAN_SECONDS", 0.0)
    studio.server.answers["scan"] = {"state": "running", "doing": "Reading", "done": 1, "total": 9}
    shown = data_using.use(page, START_DRAFT, SKETCH, None, 0, *values(page, SKETCH))
    assert "still being read" in shown[page.tab.use_message]


def test_new_content_is_accepted_by_its_fingerprint(page: Page) -> None:
    old = changed(SKETCH, {"data.fingerprint": "content-0"})
    shown = data_choices.accept_content(page, old, scan(changed_since=True))
    assert asked(page, shown)["data"]["fingerprint"] == "content-1"


def test_saving_keeps_the_recipe_and_lists_it(page: Page, studio: FakeStudio) -> None:
    shown = data_using.save(page, START_DRAFT, changed(SKETCH, {"cleaning.trim": True}), "Reviews", "MIT")
    assert "Reviews is under My datasets" in shown[page.tab.cleaning.saved]
    (kept,) = studio.saved
    assert (kept.fingerprint, kept.rows, kept.cleaning["trim"]) == ("content-1", 20, True)
    assert [slug for _, slug in shown[page.tab.sources.mine]["choices"]] == ["reviews"]
    assert lengths()["rows"] == kept.rows
