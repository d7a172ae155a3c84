"""Closing, reloading or killing the browser, and killing the pages themselves, leaves a training running."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Playwright, expect
from studio_pages import Pages, start_chromium, start_pages
from waiting import wait_until

from studio.process_identity import is_alive
from studio.run_folder import RunFolder
from studio.runs import RunStatus
from studio.services.workers import read_identity
from studio.settings import Settings, read_settings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SECOND = 1000
STEPS = 200


@pytest.fixture
def home(tmp_path: Path, toy_model: Path) -> Settings:
    made = read_settings(tmp_path / "home")
    made.make_folders()
    shutil.copytree(toy_model, made.starter_model)
    return made


def test_the_pages_end_at_once_when_asked_to_though_a_browser_is_connected(browser: Browser, pages: Pages) -> None:
    page = browser.new_page()
    page.goto(pages.url)
    expect(page.locator(".frame-head b")).to_be_visible(timeout=60 * SECOND)
    pages.process.terminate()
    assert pages.process.wait(timeout=8) == 0


def test_killing_browser_and_pages_leaves_the_run_finishing(
    playwright: Playwright, pages: Pages, home: Settings
) -> None:
    browser = start_chromium(playwright)
    page = browser.new_page()
    page.goto(f"{pages.url}?tab=tune")
    expect(page.get_by_text("LoRA with r = 16")).to_be_visible(timeout=120 * SECOND)
    steps = page.locator("#field-training-max-steps input")
    steps.fill(str(STEPS))
    steps.press("Tab")
    expect(page.get_by_text(f"{STEPS} steps see every row")).to_be_visible(timeout=60 * SECOND)
    page.locator("#start-training").click()
    expect(page.locator("#loss-chart svg")).to_be_visible(timeout=120 * SECOND)
    (path,) = home.runs.iterdir()
    folder = RunFolder(path)
    identity = read_identity(folder)
    assert identity is not None

    # The browser dies without a goodbye
    for process in psutil.Process().children(recursive=True):
        if "chrom" in process.name():
            process.kill()
    assert is_alive(identity)
    seen = len(folder.metrics()[0])
    wait_until(lambda: len(folder.metrics()[0]) > seen, 30, "a step after the browser's end")

    # The pages die too; the worker belongs to nobody now
    pages.kill()
    assert is_alive(identity)
    wait_until(lambda: folder.status().is_over, 240, "the end of the run")
    assert folder.status() is RunStatus.FINISHED

    # A new start of the studio finds it, with every step once
    again = start_pages(home)
    try:
        browser = start_chromium(playwright)
        page = browser.new_page()
        page.goto(f"{again.url}?tab=history&run={folder.id}")
        expect(page.locator("#run-page")).to_contain_text("finished", timeout=60 * SECOND)
        expect(page.locator("#run-page")).to_contain_text(f"step {STEPS} of {STEPS}")
        browser.close()
    finally:
        again.process.terminate()
        again.process.wait(timeout=20)
    losses = [metric.step for metric in folder.metrics()[0] if metric.name == "loss"]
    assert losses == list(range(1, STEPS + 1))
