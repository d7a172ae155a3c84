"""What is worth fixing in a dataset, as HTML: a verdict, a card for each finding, progress while the rows are read.

Buttons in it carry `data-press`; assets/studio.js hands their words to the page. Pure functions; no gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from studio.ui.data.view import clip
from studio.ui.run_view import say

SHOWN_FINDINGS = 3
"""Things to fix that are shown at once, the worst; the others wait in a fold, so that the rows stay near."""
LINKED_ROWS = 8
"""Row numbers that a finding writes out; "all" shows the rest."""
TOLD_ROWS = 5
"""Bad rows that are told with their reason."""

CHANGED = say(
    "warn",
    "Changed",
    "The content is not what it was when this dataset was last looked at. Look at the rows and at what is to fix.",
)
COLUMNS_FIRST = (
    '<h2 class="t">Say what the columns are</h2><p class="sub">Nothing is recognised by itself here. Choose on the '
    "left which column is the question and which the answer; the rows below show what comes of it.</p>"
)
READING = '<h2 class="t">Reading the rows</h2><p class="sub">The first look takes a few seconds.</p>'


def progress_html(scan: dict[str, Any]) -> str:
    """How far the reading of all rows is."""
    done, total = scan["done"], scan["total"]
    share = min(1.0, done / total) if total else 0.0
    return (
        f'<h2 class="t">Checking all rows</h2><p class="sub">{escape(scan["doing"])}. The first rows are shown below '
        "already.</p>"
        f'<div class="prog" role="progressbar" aria-valuenow="{100 * share:.0f}" aria-valuemin="0" aria-valuemax="100">'
        f'<i style="width:{100 * share:.1f}%"></i></div><small class="num">{100 * share:.0f} %</small>'
    )


def failed_html(sentence: str) -> str:
    """Why there is no verdict."""
    return '<h2 class="t">Not checked</h2>' + say("bad", "Not usable", clip(sentence, 1000))


def verdict_html(scan: dict[str, Any]) -> str:
    """The verdict with how many rows there are, then what to fix, then what is only worth knowing, folded."""
    indexed = list(enumerate(scan["findings"]))
    serious = [entry for entry in indexed if entry[1]["severity"] in ("bad", "warn")]
    notes = [entry for entry in indexed if entry[1]["severity"] == "note"]
    count = len(serious)
    title = f"{count} {'thing' if count == 1 else 'things'} to fix" if count else "Nothing to fix"
    kind = "warn" if count else "good"
    parts = [f'<h2 class="t d-verdict {kind}">{title}</h2><p class="sub num">{escape(rows_sentence(scan))}</p>']
    parts += [_finding(number, finding) for number, finding in serious[:SHOWN_FINDINGS]]
    parts += [_folded("{} more to fix", serious[SHOWN_FINDINGS:]), _folded("Worth knowing ({})", notes)]
    return "".join(parts)


def _folded(summary: str, entries: Sequence[tuple[int, dict[str, Any]]]) -> str:
    if not entries:
        return ""
    told = "".join(_finding(number, finding) for number, finding in entries)
    return f'<details class="d-notes"><summary>{summary.format(len(entries))}</summary>{told}</details>'


def rows_sentence(scan: dict[str, Any]) -> str:
    """How many rows there are, and what becomes of them."""
    dropped = sum(step["dropped"] for step in scan["steps"])
    told = [f"{scan['rows']:,} rows: {scan['train_rows']:,} to train on"]
    told.append(f"{scan['held_out_rows']:,} held out to measure" if scan["held_out_rows"] else "nothing held out")
    if dropped:
        told.append(f"{dropped:,} left out by cleaning")
    if unusable := scan["bad_rows"] + scan["unreadable"]:
        told.append(f"{unusable:,} not readable")
    return ", ".join(told) + "."


def _finding(number: int, finding: dict[str, Any]) -> str:
    """One finding. Its fixes are named by their places, so that a page cannot ask for a change nobody offered."""
    fixes = "".join(
        f'<button type="button" class="d-fix" data-press="fix:{number}:{place}">{escape(fix["label"])}</button>'
        for place, fix in enumerate(finding["fixes"])
    )
    word = {"bad": "Fix first", "warn": "Worth a look", "note": "Note"}[finding["severity"]]
    return (
        f'<section class="d-finding {escape(finding["severity"])}"><div><small>{word}</small>'
        f"<b>{escape(clip(finding['title'], 200))}</b></div><p>{escape(clip(finding['sentence'], 1000))}</p>"
        f'<div class="d-acts">{fixes}{_row_links(number, finding)}</div></section>'
    )


def _row_links(number: int, finding: dict[str, Any]) -> str:
    rows: Sequence[int] = finding["rows"]
    if not rows:
        return ""
    links = " ".join(
        f'<button type="button" data-press="row:{row}" aria-label="Show row {row}">{row:,}</button>'
        for row in rows[:LINKED_ROWS]
    )
    more = finding["count"] - min(len(rows), LINKED_ROWS)
    rest = f" and {more:,} more" if more > 0 else ""
    word = "Row" if len(rows) == 1 and more <= 0 else "Rows"
    show = (
        f' <button type="button" data-press="rows:{number}">Show {"them" if more <= 0 else f"the first {len(rows)}"}'
        "</button>"
        if len(rows) > 1
        else ""
    )
    return f'<span class="d-links num">{word} {links}{rest}.{show}</span>'


def bad_rows_html(bad: Sequence[dict[str, Any]], unreadable: Sequence[dict[str, Any]], count: int, policy: str) -> str:
    """Rows that cannot be read: how many, what happens to them, and the first of them with the reason."""
    if not count:
        return ""
    word = "row" if count == 1 else "rows"
    told = [f"{entry['file']}, line {entry['line']:,}: {entry['reason']}" for entry in bad[:TOLD_ROWS]]
    told += [f"Row {entry['number']:,}: {entry['reason']}" for entry in unreadable[: TOLD_ROWS - len(told)]]
    items = "".join(f"<li>{escape(clip(entry, 300))}</li>" for entry in told)
    rest = f'<p class="small">and {count - len(told):,} more</p>' if count > len(told) else ""
    verb = "is skipped" if count == 1 else "are skipped"
    what = f"{count:,} {word} cannot be read and {verb}." if policy == "skip" else f"{count:,} {word} cannot be read."
    then = "" if policy == "skip" else " Training does not start with them."
    kind = "note" if policy == "skip" else "bad"
    return f'<div class="d-bad {kind}"><p>{what}{then}</p><ul>{items}</ul>{rest}</div>'


def refusal(scan: dict[str, Any], policy: str) -> str:
    """Why this dataset cannot be trained on as it is; empty if it can."""
    count = scan["bad_rows"] + scan["unreadable"]
    if policy == "stop" and count:
        return (
            f"{count:,} {'row' if count == 1 else 'rows'} cannot be read. Mend the file, or skip them with the button "
            "under Read as."
        )
    if not scan["train_rows"]:
        return "No row is left to train on. Take a cleaning step out, or look at how the columns are read."
    if scan["changed_since"]:
        return "The content has changed since it was looked at. Look at the rows, then choose Use the new content."
    return ""
