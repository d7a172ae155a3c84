"""What the tabs share: the studio they ask, and the few pieces of state that cross from one tab to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.recipe import Recipe
from studio.services.studio import Studio

START_DRAFT: dict[str, Any] = Recipe().model_dump(mode="json")
"""The recipe that a new visitor's pages begin with."""


def whole_draft(draft: Mapping[str, Any] | None) -> dict[str, Any]:
    """`draft` with every field of a recipe: one that an older studio left in a browser lacks the newer ones."""
    kept = draft or {}
    return {
        part: {**fields, **{name: value for name, value in kept.get(part, {}).items() if name in fields}}
        for part, fields in START_DRAFT.items()
    }


@dataclass(frozen=True)
class Shared:
    """Handed to every tab. The components are per browser session, the studio is one for all."""

    studio: Studio
    draft: Any
    """gr.BrowserState: the recipe being made, kept by the browser so that a reload loses nothing."""
    watched: Any
    """gr.State: id of the run that the Fine-tune tab shows."""
    tabs: Any
    """gr.Tabs, to move on to the next step."""
    preview: Any
    """gr.State: a counter that moves when model or dataset changed, so that other tabs look again."""
    adopted: Any
    """gr.State: a counter that moves when the draft was replaced whole, so that every form shows the new one."""


PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""For events that only the pages use."""
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
"""For events that must not dim anything."""
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
"""For events that take a blink."""


def piece(html: str = "", **options: Any) -> Any:
    """A piece of page from our own HTML, styled by our style sheet alone."""
    return gr.HTML(html, apply_default_css=False, **options)
