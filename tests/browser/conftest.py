"""A real Chromium and a real studio process for the pages. A missing browser fails; it never skips."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from studio_pages import Pages, start_chromium, start_pages


@pytest.fixture(scope="module")  # its event loop would stand in the way of later tests
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = start_chromium(playwright)
    yield started
    started.close()


@pytest.fixture
def pages(request: pytest.FixtureRequest) -> Iterator[Pages]:
    """The pages of the home that the test's module names with its `home` fixture."""
    started = start_pages(request.getfixturevalue("home"))
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(timeout=20)
