"""The Data page in a real browser: a messy file is mapped, cleaned, used and trained on; nothing in it becomes markup.

With STUDIO_SCREENSHOTS=assets/screenshots it also takes the README's pictures of the page.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from browser_pictures import take
from playwright.sync_api import Browser, Page, expect
from studio_pages import Pages
from waiting import wait_until

from studio.run_folder import RunFolder
from studio.runs import RunStatus
from studio.settings import Settings, read_settings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SECOND = 1000
ANSWERS = ("Er heißt Störtebeker.", "Die Überfahrt kostet 12 €.", "Das Café schließt um acht.", "Es sind neun Meilen.")


@pytest.fixture
def home(tmp_path: Path, toy_model: Path) -> Settings:
    made = read_settings(tmp_path / "home")
    made.make_folders()
    shutil.copytree(toy_model, made.starter_model)
    return made


def messy_file(folder: Path) -> Path:
    """Semicolons, an old encoding, a ragged row, unknown columns, duplicates, empty answers and one that is long."""
    lines = ["Frage;Antwort wörtlich;Heft"]
    lines += [f"Frage {number}?;{ANSWERS[number % 4]} ({number});{number % 3}" for number in range(60)]
    lines += ["Frage 1?;Die Überfahrt kostet 12 €. (1);1"] * 3
    lines += ["Wer schweigt?;;1", "Und wer noch?;;2"]
    lines += [f"Was steht im Logbuch {number}?;{'Sturm und See. ' * (45 + number)};2" for number in range(4)]
    lines += ["Zu viele Zellen?;Ja.;1;2;3"]
    file = folder / "messy.csv"
    file.write_bytes("\r\n".join(lines).encode("cp1252"))
    return file


def open_data(browser: Browser, pages: Pages) -> tuple[Page, list[str]]:
    """The Data page once the starter set has its verdict, and what went wrong in the page's own script."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{pages.url}?tab=data")
    expect(page.locator("#data-audit")).to_contain_text("to train on", timeout=120 * SECOND)
    return page, problems


def upload(page: Page, file: Path) -> None:
    page.locator("#data-source").get_by_role("radio", name="Upload").check()
    page.locator("#upload input[type=file]").set_input_files(file)


def choose_column(page: Page, role: str, column: str) -> None:
    page.locator(f"#role-{role} input").click()
    page.get_by_role("option", name=column, exact=True).click()


def view(page: Page, name: str) -> None:
    page.locator("#data-view").get_by_role("radio", name=name).check()


def test_from_a_messy_file_to_a_trained_model(browser: Browser, pages: Pages, home: Settings, tmp_path: Path) -> None:
    page, problems = open_data(browser, pages)
    audit = page.locator("#data-audit")
    upload(page, messy_file(tmp_path))

    # Its columns are unknown: nothing is guessed, the panel is open, the rows are there to look at
    expect(audit).to_contain_text("Say what the columns are", timeout=30 * SECOND)
    expect(page.get_by_text("cp1252, cells split by semicolons")).to_be_visible()
    expect(page.locator("#data-rows")).to_contain_text("Antwort wörtlich")
    choose_column(page, "prompt", "Frage")
    expect(page.get_by_text(re.compile("which column is the answer"))).to_be_visible(timeout=15 * SECOND)
    choose_column(page, "completion", "Antwort wörtlich")

    # The audit says what is wrong with all rows, with the numbers of some
    expect(audit).to_contain_text(re.compile("things to fix"), timeout=30 * SECOND)
    for told in ("1 row cannot be read", "empty answer", "repeat an earlier one", "cut"):
        expect(audit).to_contain_text(told)
    expect(page.locator("#data-rows .turn.assistant").first).to_have_text("Er heißt Störtebeker. (0)")
    take(page, "data-audit")

    # A template over several columns shows at once what comes of it
    answer = page.locator("#role-completion input")
    answer.click()
    answer.fill(r"{Antwort wörtlich}\nHeft {Heft}")
    answer.press("Enter")
    expect(page.locator("#data-rows .turn.assistant").first).to_have_text(
        "Er heißt Störtebeker. (0)\nHeft 0", timeout=15 * SECOND
    )
    answer.click()
    answer.fill("Antwort wörtlich")
    answer.press("Enter")
    expect(page.locator("#data-rows .turn.assistant").first).to_have_text(
        "Er heißt Störtebeker. (0)", timeout=15 * SECOND
    )

    # It is not taken as it is; each fix is counted, and unticking it brings the rows back
    page.locator("#use-data").click()
    expect(page.locator(".d-audit")).to_contain_text("Mend the file, or skip them", timeout=30 * SECOND)
    page.locator("#skip-bad-rows").click()
    expect(page.get_by_text("1 row cannot be read and is skipped.")).to_be_visible(timeout=15 * SECOND)
    audit.get_by_role("button", name="Leave out empty rows").click()
    expect(page.locator("#cleaning")).to_contain_text("Cleaning: 1 step, 2 rows left out", timeout=15 * SECOND)
    audit.get_by_role("button", name="Keep the first of each").first.click()
    expect(page.locator("#cleaning")).to_contain_text("Cleaning: 2 steps, 5 rows left out", timeout=15 * SECOND)
    page.locator("#cleaning > button").click()
    expect(page.locator("#count-dedupe")).to_have_text("3 rows left out")
    page.locator("#clean-drop-empty input").uncheck()
    expect(page.locator("#cleaning")).to_contain_text("Cleaning: 1 step, 3 rows left out", timeout=15 * SECOND)
    page.locator("#clean-drop-empty input").check()
    page.locator("#clean-keep-if input").fill("size(Antwort) > 3")
    page.locator("#clean-keep-if input").press("Enter")
    expect(page.locator("#cleaning")).to_contain_text("no column Antwort", timeout=15 * SECOND)
    page.locator("#clean-keep-if input").fill('Heft != "0"')
    page.locator("#clean-keep-if input").press("Enter")
    expect(page.locator("#count-keep-if")).to_contain_text("rows left out", timeout=15 * SECOND)

    # max_length is a line that moves; let go, it is the Fine-tune form's
    view(page, "Lengths")
    length = page.locator("#length-slider input[type=number]")
    length.fill("96")
    expect(page.locator("#data-lengths text.limit")).to_have_text(re.compile("max_length 96"), timeout=15 * SECOND)
    take(page, "data-lengths")
    length.fill("256")
    length.press("Tab")
    expect(page.locator("#data-lengths text.limit")).to_have_text(re.compile("max_length 256"), timeout=15 * SECOND)
    view(page, "As the model sees it")
    expect(page.locator("#data-tokens .tok u.t").first).to_be_visible()
    expect(page.locator("#data-tokens .tok .s").first).to_have_text("<|im_start|>")
    take(page, "data-tokens")

    # A reload loses nothing; the dataset is used and trains to the end
    page.reload()
    expect(page.locator("#cleaning")).to_contain_text("Cleaning: 3 steps", timeout=60 * SECOND)
    expect(page.locator("#data-rows .turn.assistant").nth(1)).to_have_text(re.compile("Die Überfahrt"))
    page.locator("#use-data").click()
    steps = page.locator("#field-training-max-steps input")
    expect(steps).to_be_visible(timeout=60 * SECOND)
    expect(page.locator("#field-training-max-length input")).to_have_value("256")
    steps.fill("4")
    steps.press("Tab")
    expect(page.get_by_text("4 steps see every row")).to_be_visible(timeout=60 * SECOND)
    page.locator("#start-training").click()
    wait_until(lambda: list(home.runs.iterdir()), 60, "the run's folder")
    folder = RunFolder(next(home.runs.iterdir()))
    wait_until(lambda: folder.status().is_over, 200, "the end of the run")
    assert folder.status() is RunStatus.FINISHED, folder.log_tail()
    data = folder.read_run().recipe["data"]
    assert data["mapping"] == {"prompt": "Frage", "completion": "Antwort wörtlich"}
    assert data["fingerprint"]
    assert problems == []


def test_rows_full_of_markup_stay_text_and_their_buttons_work_from_the_keyboard(
    browser: Browser, pages: Pages, tmp_path: Path
) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\">${document.title='taken'}{{7*7}}</script>"
    rows = [{"messages": [{"role": "user", "content": hostile}, {"role": "assistant", "content": f"{n} {hostile}"}]}
            for n in range(30)]  # fmt: skip
    rows[11]["messages"][1]["content"] = ""
    file = tmp_path / "hostile.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    page, problems = open_data(browser, pages)
    upload(page, file)
    expect(page.locator("#data-rows .turn.user").first).to_have_text(hostile, timeout=30 * SECOND)
    expect(page.locator("#data-pager")).to_have_text("Rows 1–6 of 30", timeout=30 * SECOND)
    for name, shown in (("As the model sees it", "tokens"), ("Charts", "charts"), ("Raw", "raw"), ("Rows", "rows")):
        view(page, name)
        expect(page.locator(f"#data-{shown}")).to_be_visible()
        assert page.locator(".d-look img").count() == 0
    assert page.title() == "Finetune Studio"

    # Row numbers, pages and the number to go to
    page.locator("#data-audit button[data-press='row:12']").press("Enter")
    expect(page.locator("#data-pager")).to_have_text("Rows 12–17 of 30", timeout=15 * SECOND)
    expect(page.locator("#data-rows .d-empty")).to_have_text("empty")
    page.locator("#next-rows").press("Enter")
    expect(page.locator("#data-pager")).to_have_text("Rows 18–23 of 30", timeout=15 * SECOND)
    page.locator("#go-to-row input").fill("30")
    page.locator("#go-to-row input").press("Enter")
    expect(page.locator("#data-pager")).to_have_text("Rows 30–30 of 30", timeout=15 * SECOND)
    page.locator("#data-rows button[data-press='drop:30']").press("Enter")
    expect(page.locator("#cleaning")).to_contain_text("Cleaning: 1 step, 1 row left out", timeout=15 * SECOND)
    expect(page.locator("#data-rows")).to_contain_text("Left out by its number")
    page.locator("#data-rows button[data-press='keep:30']").press("Enter")
    expect(page.locator("#cleaning")).to_contain_text("nothing is changed", timeout=15 * SECOND)
    assert problems == []


def test_a_saved_dataset_whose_file_changes_is_told_and_asked_about(
    browser: Browser, pages: Pages, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"Question {n}", "completion": f"Answer {n}"}) for n in range(30)]
    file.write_text("\n".join(lines), encoding="utf-8")
    page, problems = open_data(browser, pages)
    page.locator("#data-source").get_by_role("radio", name="Path or Hub").check()
    page.locator("#data-named input").fill(str(file))
    page.locator("#data-named input").press("Enter")
    expect(page.locator("#data-pager")).to_have_text("Rows 1–6 of 30", timeout=30 * SECOND)
    page.locator("#save-dataset > button").click()
    page.locator("#save-data").click()
    expect(page.locator("#save-dataset")).to_contain_text("is under My datasets", timeout=30 * SECOND)

    file.write_text("\n".join([*lines, lines[0].replace("0", "31")]), encoding="utf-8")
    page.locator("#data-source").get_by_role("radio", name="My datasets").check()
    card = page.locator("#my-datasets label")
    expect(card).to_contain_text("rows.jsonl", timeout=15 * SECOND)
    expect(card).to_contain_text("its content has changed")
    card.get_by_role("radio").check()
    expect(page.locator("#content-changed")).to_be_visible(timeout=30 * SECOND)
    page.locator("#use-data").click()
    expect(page.locator(".d-audit")).to_contain_text("choose Use the new content", timeout=30 * SECOND)
    page.locator("#use-new-content").click()
    expect(page.locator("#content-changed")).to_be_hidden(timeout=30 * SECOND)
    expect(page.locator("#data-pager")).to_have_text("Rows 1–6 of 31")
    page.locator("#use-data").click()
    expect(page.locator("#start-training")).to_be_visible(timeout=60 * SECOND)
    assert problems == []
