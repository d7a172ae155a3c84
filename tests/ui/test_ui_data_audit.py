"""The audit as HTML: the verdict, the findings with their buttons, bad rows, and why a dataset is not taken."""

from __future__ import annotations

from data_answers import finding, scan

from studio.ui.data import audit as data_audit


def test_the_verdict_counts_what_is_to_fix_and_folds_what_is_only_worth_knowing() -> None:
    html = data_audit.verdict_html(scan(findings=[finding("bad"), finding("warn"), finding("note")]))
    assert "2 things to fix" in html
    assert html.index("<details") < html.index("Worth knowing (1)") < html.index('class="d-finding note"')
    assert "Nothing to fix" in data_audit.verdict_html(scan(findings=[finding("note")]))


def test_of_many_findings_the_worst_are_in_sight() -> None:
    html = data_audit.verdict_html(scan(findings=[finding("bad")] * 3 + [finding("warn")] * 4))
    assert "7 things to fix" in html
    assert html.index("4 more to fix") < html.index('class="d-finding warn"')


def test_rows_are_told_with_what_becomes_of_them() -> None:
    steps = [{"name": "dedupe", "changed": 0, "dropped": 12, "left": 8}]
    told = data_audit.rows_sentence(scan(rows=3000, train_rows=2900, steps=steps, bad_rows=1, unreadable=2))
    assert told == ("3,000 rows: 2,900 to train on, 4 held out to measure, 12 left out by cleaning, 3 not readable.")


def test_a_findings_buttons_name_places_and_its_rows_are_links() -> None:
    html = data_audit.verdict_html(scan(findings=[finding("note"), finding(count=40, rows=list(range(1, 31)))]))
    assert 'data-press="fix:1:0">Keep the first of each</button>' in html
    assert 'data-press="row:8"' in html
    assert 'data-press="row:10"' not in html
    assert "and 32 more" in html
    assert 'data-press="rows:1">Show the first 30</button>' in html


def test_what_a_finding_quotes_is_text() -> None:
    html = data_audit.verdict_html(scan(findings=[finding(title="<b>x", sentence="<script>" + "y" * 9000)]))
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert len(html) < 5000


def test_progress_says_what_is_done_and_survives_an_unknown_total() -> None:
    running = {"state": "running", "doing": "Reading the rows", "done": 120, "total": 1000}
    assert "Reading the rows" in data_audit.progress_html(running)
    assert 'style="width:12.0%"' in data_audit.progress_html(running)
    assert "width:0.0%" in data_audit.progress_html({**running, "total": 0})


def test_bad_rows_are_told_with_file_line_and_reason() -> None:
    bad = [{"file": "a.csv", "line": 1200 + n, "reason": "it has 6 cells instead of <4>"} for n in range(9)]
    html = data_audit.bad_rows_html(bad, [], 9, "stop")
    assert "9 rows cannot be read. Training does not start with them." in html
    assert "a.csv, line 1,200: it has 6 cells instead of &lt;4&gt;" in html
    assert "and 4 more" in html
    assert "are skipped" in data_audit.bad_rows_html(bad, [], 9, "skip")
    assert data_audit.bad_rows_html([], [], 0, "stop") == ""
    unreadable = [{"number": 3, "reason": "a role is unknown"}]
    assert "Row 3: a role is unknown" in data_audit.bad_rows_html([], unreadable, 1, "stop")


def test_a_dataset_is_taken_only_if_it_can_be_trained_on() -> None:
    assert data_audit.refusal(scan(), "stop") == ""
    assert "2 rows cannot be read" in data_audit.refusal(scan(bad_rows=1, unreadable=1), "stop")
    assert data_audit.refusal(scan(bad_rows=1, unreadable=1), "skip") == ""
    assert "No row is left" in data_audit.refusal(scan(train_rows=0), "skip")
    assert "Use the new content" in data_audit.refusal(scan(changed_since=True), "skip")
