"""The README's pictures: each page at three widths, light and dark, if STUDIO_SCREENSHOTS names a folder."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

SIZES = {"": 1280, "-768": 768, "-390": 390}


def take(page: Page, name: str) -> None:
    """Save `name`-light.png and the others; leaves the page as it was."""
    named = os.environ.get("STUDIO_SCREENSHOTS")
    if not named:
        return
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        page.evaluate(f"document.body.classList.toggle('dark', {'true' if theme == 'dark' else 'false'})")
        for suffix, width in SIZES.items():
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(300)
            page.screenshot(path=str(folder / f"{name}-{theme}{suffix}.png"), full_page=True)
    page.evaluate("document.body.classList.remove('dark')")
    page.set_viewport_size({"width": 1280, "height": 900})
