"""Tab 2, Data: choose examples on the left; on the right what is worth fixing, and the rows as people and models read.

The page asks two questions about what is chosen: a look at the beginning, answered at once, and a scan of all rows,
which goes on in the model server while the timer asks how far it is. layout.py has the components, looking.py
what is shown, choices.py what is chosen; here is which event does what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.ui.data import choices as data_choices
from studio.ui.data import looking as data_looking
from studio.ui.data import pager as data_pager
from studio.ui.data import paging as data_paging
from studio.ui.data import using as data_using
from studio.ui.data.choices import Page
from studio.ui.data.layout import CHARTS, DataTab, build
from studio.ui.guard import told
from studio.ui.shared import AT_ONCE, PRIVATE, QUIET, Shared

__all__ = ["DataTab", "build", "connect"]


def connect(tab: DataTab, shared: Shared, demo: Any, sketch: Any, tune_fields: Mapping[str, Any], opened: Any) -> None:
    """Wire the events. `sketch` is what the page has chosen, kept by the browser; `opened` the tab's select event."""
    page = Page(shared, tab, sketch, tune_fields)
    begun = [sketch, tab.asked, tab.slider, *tab.fields.values(), *_source_parts(tab)]
    demo.load(shows(lambda draft, kept: data_choices.begin(page, draft, kept)), [shared.draft, sketch], begun, **QUIET)
    shared.adopted.change(shows(lambda draft: data_choices.begin(page, draft, None)), [shared.draft], begun, **QUIET)
    opened(
        shows(lambda *values: data_choices.revisit(page, *values)),
        [shared.draft, tab.asked, tab.looked],
        [sketch, tab.asked, tab.slider],
        **QUIET,
    )
    _connect_looking(page)
    _connect_views(page)
    _connect_sources(page)
    _connect_fields(page)
    _connect_rest(page)


def shows(handler: Callable[..., dict[Any, Any]]) -> Callable[..., Any]:
    """A handler that answers with the components it changes; that it changes none is said the way gradio wants it."""
    guarded = told(handler)
    return lambda *values: guarded(*values) or gr.skip()


def _source_parts(tab: DataTab) -> list[Any]:
    sources, cleaning = tab.sources, tab.cleaning
    return [
        *sources.groups,
        sources.source,
        sources.mine,
        sources.mine_empty,
        sources.forget,
        sources.earlier,
        sources.named,
        cleaning.mix_name,
        cleaning.save_name,
        cleaning.save_licence,
        cleaning.saved,
    ]


def _connect_looking(page: Page) -> None:
    """One listener makes all looks, the last one wins: two at once could answer in the wrong order."""
    tab, shared = page.tab, page.shared
    reading, cleaning = tab.reading, tab.cleaning
    seen = [
        tab.looked, tab.seen, tab.scan, tab.place, tab.audit, tab.changed, tab.use_message, tab.lengths, tab.slider,
        *(tab.views[name] for name in (*data_paging.IN_PAGES, CHARTS)), tab.pager_words, tab.previous, tab.following,
        reading.said, reading.message, reading.bad, reading.bad_actions, reading.skip, reading.stop, reading.mapping,
        reading.columns, cleaning.fold, cleaning.message, cleaning.held_fold, cleaning.mix_fold, cleaning.mixed,
        *cleaning.counts.values(), *reading.fields.values(), cleaning.fields["data.held_out_by"],
        cleaning.fields["cleaning.near_duplicate_similarity"],
    ]  # fmt: skip
    look = shows(lambda *values: data_looking.look(shared, tab, *values))
    asked = [shared.draft, tab.asked, tab.looked, tab.place]
    poll: dict[str, Any] = {
        "fn": shows(lambda *values: data_looking.poll(shared, tab, *values)),
        "inputs": [tab.looked, tab.scan, tab.seen, tab.place],
        "outputs": seen,
        **AT_ONCE,
    }
    gr.on([tab.asked.change, shared.preview.change], look, asked, seen, trigger_mode="always_last", **QUIET).then(
        **poll
    )
    tab.timer.tick(**poll)


def _connect_views(page: Page) -> None:
    tab, shared = page.tab, page.shared
    tab.view.change(
        shows(lambda view: data_paging.show_view(tab, view)), [tab.view], [*tab.views.values(), tab.pager], **AT_ONCE
    )
    for button, pages in ((tab.previous, -1), (tab.following, 1)):
        button.click(
            lambda place, scan, pages=pages: data_pager.moved(place, pages, _counted(scan)),
            [tab.place, tab.scan],
            [tab.place],
            **QUIET,
        )
    tab.go_to.submit(
        lambda place, scan, number: data_pager.asked_for(place, number, _counted(scan)),
        [tab.place, tab.scan, tab.go_to],
        [tab.place],
        **QUIET,
    )
    tab.place.change(
        shows(lambda *values: data_paging.turn(shared, tab, *values)),
        [tab.looked, tab.scan, tab.place],
        [*(tab.views[name] for name in data_paging.IN_PAGES), tab.pager_words, tab.previous, tab.following],
        trigger_mode="always_last",
        **QUIET,
    )
    tab.slider.input(
        told(lambda looked, scan, length: data_paging.slide(shared, looked, scan, length)),
        [tab.looked, tab.scan, tab.slider],
        [tab.lengths],
        trigger_mode="always_last",
        **AT_ONCE,
    )
    tab.slider.release(
        shows(lambda draft, count, length: data_choices.set_length(page, draft, count, length)),
        [shared.draft, shared.preview, tab.slider],
        [shared.draft, shared.preview, *page.tune_fields.values()],
        **QUIET,
    )


def _counted(scan: Any) -> int | None:
    return scan["rows"] if scan and "rows" in scan else None


def _connect_sources(page: Page) -> None:
    tab, sources = page.tab, page.tab.sources
    parts = _source_parts(tab)
    sources.source.input(
        shows(lambda source: data_choices.show_source(page, source)), [sources.source], parts, **AT_ONCE
    )
    chosen = [page.sketch, tab.asked, *tab.fields.values(), *parts]
    choose = shows(lambda sketch, name: data_choices.choose(page, sketch, name))
    sources.starter.input(choose, [tab.asked, sources.starter], chosen, **QUIET)
    sources.earlier.input(choose, [tab.asked, sources.earlier], chosen, **QUIET)
    gr.on([sources.named.submit, sources.named.blur], choose, [tab.asked, sources.named], chosen, **QUIET)
    sources.mine.input(shows(lambda slug: data_choices.choose_saved(page, slug)), [sources.mine], chosen, **QUIET)
    sources.forget.click(shows(lambda slug: data_choices.forget(page, slug)), [sources.mine], parts, **QUIET)
    sources.upload.upload(
        shows(lambda sketch, file: data_choices.take_upload(page, sketch, file)),
        [tab.asked, sources.upload],
        chosen,
        **PRIVATE,
        show_progress="minimal",
    )


def _connect_fields(page: Page) -> None:
    """Fields that are typed into count when they are left or Enter is pressed, the others at once."""
    tab = page.tab
    changes = []
    for component in tab.fields.values():
        if isinstance(component, gr.Textbox | gr.Number):
            changes += [component.submit, component.blur]
        elif isinstance(component, gr.Slider):
            changes.append(component.release)
        else:
            changes.append(component.input)
    gr.on(
        changes,
        shows(lambda sketch, looked, *values: data_choices.gather(page, sketch, looked, *values)),
        [tab.asked, tab.looked, *tab.fields.values()],
        [page.sketch, tab.asked, tab.reading.message, tab.cleaning.message],
        trigger_mode="always_last",
        **QUIET,
    )


def _connect_rest(page: Page) -> None:
    """Buttons: bad rows, changed content, mixing, saving, those inside our HTML, and the primary one."""
    tab, shared, cleaning = page.tab, page.shared, page.tab.cleaning
    asked = [page.sketch, tab.asked]
    for button, policy in ((tab.reading.skip, "skip"), (tab.reading.stop, "stop")):
        button.click(
            shows(lambda sketch, policy=policy: data_choices.set_policy(page, sketch, policy)), [tab.asked], asked,
            **QUIET,
        )  # fmt: skip
    tab.accept.click(
        shows(lambda sketch, scan: data_choices.accept_content(page, sketch, scan)), [tab.asked, tab.scan], asked,
        **QUIET,
    )  # fmt: skip
    tab.keep_looking.click(lambda: gr.update(visible=False), None, [tab.changed], **AT_ONCE)
    cleaning.mix_add.click(
        shows(lambda *values: data_choices.mix_in(page, *values)),
        [shared.draft, tab.asked, cleaning.mix_name, cleaning.mix_weight],
        [*asked, cleaning.mixed, cleaning.mix_name],
        **QUIET,
    )
    cleaning.save.click(
        shows(lambda *values: data_using.save(page, *values)),
        [shared.draft, tab.asked, cleaning.save_name, cleaning.save_licence],
        [cleaning.saved, tab.sources.mine, tab.sources.mine_empty],
        **PRIVATE,
        show_progress="minimal",
    )
    form, elsewhere = list(tab.fields.values()), [shared.draft, shared.preview, *page.tune_fields.values()]
    tab.pressed.change(
        shows(lambda p, d, s, scan, *counts: data_choices.press(page, p, d, s, scan, counts)),
        [tab.pressed, shared.draft, tab.asked, tab.scan, shared.preview, shared.adopted],
        [*asked, tab.place, tab.view, tab.slider, shared.adopted, *form, *elsewhere],
        **QUIET,
    )
    tab.use.click(
        shows(lambda *values: data_using.use(page, *values)),
        [shared.draft, tab.asked, tab.looked, shared.preview, *form],
        [page.sketch, shared.tabs, tab.use_message, *elsewhere],
        **PRIVATE,
        show_progress="minimal",
    )
