"""The whole road in a real browser, on the real starter model: choose, train, watch, chat, export, find again.

With STUDIO_SCREENSHOTS=assets/screenshots it also takes the README's pictures.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_pictures import take
from playwright.sync_api import Browser, Page, expect
from studio_pages import Pages

from studio.run_folder import RunFolder
from studio.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.model, pytest.mark.timeout(1500)]

SECOND = 1000


@pytest.fixture
def home(starter_home: Settings) -> Settings:
    return starter_home


def open_tab(page: Page, name: str) -> None:
    """Click a tab by its words."""
    page.get_by_role("tab", name=re.compile(name)).click()


def test_from_the_first_page_to_a_model_in_a_zip(browser: Browser, pages: Pages, home: Settings) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(pages.url)

    # Everything is chosen already: the model's card, then the data as the model sees it
    expect(page.get_by_text("8,192 tokens")).to_be_visible(timeout=120 * SECOND)
    take(page, "model")
    page.locator("#use-model").click()
    expect(page.get_by_text("340 to train on, 60 held out")).to_be_visible(timeout=60 * SECOND)
    page.get_by_role("radio", name="As the model sees it").check()
    expect(page.locator(".tok u.t").first).to_be_visible()
    take(page, "data")
    page.locator("#use-data").click()

    # Quick look: thirty steps, enough to see the model change its mind
    expect(page.get_by_text("LoRA with r = 16 on 7 kinds of layers")).to_be_visible(timeout=60 * SECOND)
    page.locator(".presets label", has_text="Quick look").click()
    expect(page.get_by_text("30 steps see every row")).to_be_visible(timeout=60 * SECOND)
    before = {path.name for path in home.runs.iterdir()}
    page.locator("#start-training").click()

    # The curve grows while it trains; a reload shows the same picture
    expect(page.locator("#loss-chart svg")).to_be_visible(timeout=180 * SECOND)
    first = page.locator("#loss-chart path.raw").get_attribute("d") or ""
    expect(page.locator("#loss-chart path.raw")).not_to_have_attribute("d", first, timeout=120 * SECOND)
    expect(page.locator(".frame-head .now")).to_contain_text("Training")
    expect(page.locator("#run-log pre")).to_contain_text("loss")
    page.reload()
    expect(page.locator(".frame-head .now")).to_contain_text("Training", timeout=60 * SECOND)
    page.goto(f"{pages.url}?tab=tune")
    expect(page.locator("#loss-chart path.raw")).to_be_visible(timeout=60 * SECOND)

    # The result is an accuracy, from real answers to questions that were never trained on
    expect(page.locator(".result b")).to_contain_text("→", timeout=600 * SECOND)
    (run_id,) = {path.name for path in home.runs.iterdir()} - before
    run = RunFolder(home.runs / run_id).read_run()
    assert run.result["accuracy_after"] > run.result["accuracy_before"] + 0.25
    take(page, "fine-tune")

    # Base and trained model answer the same question side by side
    page.locator("#chat-with-run").click()
    question = "Is the sentiment of this sentence positive or negative?\n\nThe staff were kind, the room was spotless."
    page.locator("#question textarea").fill(question)
    page.locator("#ask").click()
    expect(page.get_by_text(re.compile("first word after"))).to_have_count(2, timeout=120 * SECOND)
    answer = page.locator("#adapted [data-testid='bot']").last
    expect(answer).to_contain_text(re.compile("positive|negative"))
    take(page, "chat")

    # Take it away
    open_tab(page, "5 Export")
    page.locator("#export").click()
    expect(page.locator("#export-made")).to_contain_text("How to use it", timeout=120 * SECOND)
    with page.expect_download() as download:
        page.get_by_text(re.compile("^Download .*zip")).click()
    assert Path(download.value.path()).stat().st_size > 1_000_000
    take(page, "export")

    # And find it again, with everything that it was
    open_tab(page, "History")
    page.locator(f"tr[data-run='{run_id}']").click()
    expect(page.locator("#run-page")).to_contain_text(run.name)
    expect(page.get_by_text("Dataset fingerprint")).to_be_visible()
    expect(page.get_by_text("learning_rate: 0.001").first).to_be_visible()
    assert f"run={run_id}" in page.url
    take(page, "history")
    # Its recipe goes back into the form, whatever stands there by now
    open_tab(page, "3 Fine-tune")
    page.locator(".presets label", has_text="Thorough").click()
    expect(page.locator("#field-training-max-steps input")).to_have_value("300", timeout=30 * SECOND)
    open_tab(page, "History")
    page.locator("#clone").click()
    expect(page.locator("#field-training-max-steps input")).to_have_value("30", timeout=30 * SECOND)
    assert problems == []
