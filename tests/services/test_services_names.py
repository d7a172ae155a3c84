"""Names: what a person types becomes a line to show and a file name to keep, whatever it was."""

from __future__ import annotations

import re

import pytest

from studio.services import names

TRICKS = [
    "../../x",
    "/etc/passwd",
    "a\0b",
    "x" * 300,
    "🎬🎬",
    "שלום",
    "\u202egnp.exe",
    "<img src=x onerror=alert(1)>",
    "${alert(1)}",
    "'; touch /tmp/x; '",
    "CON",
    "nul",
    "line\nline",
    "\ud800",
    "",
    ".",
    "   ",
]


@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_a_slug_is_a_harmless_file_name(text: str) -> None:
    slug = names.slug(text)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= 42


def test_a_slug_can_still_be_read() -> None:
    assert names.slug("Größe: Sentiment, first try!") == "gr-e-sentiment-first-try"
    assert names.slug("../../x") == "x"


@pytest.mark.parametrize("device", ["CON", "nul", "Com1", "LPT9"])
def test_a_slug_is_never_a_device_of_windows(device: str) -> None:
    assert names.slug(device) == f"{device.lower()}-1"


def test_nothing_left_is_called_run() -> None:
    assert names.slug("🎬") == "run"


@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_a_run_id_stays_in_the_runs_folder(text: str) -> None:
    run_id = names.new_id(text, "20261122-101500")
    assert re.fullmatch(r"20261122-101500-[a-z0-9-]+-[0-9a-f]{4}", run_id)


def test_two_ids_of_the_same_second_differ() -> None:
    assert len({names.new_id("otter", "20261122-101500") for _ in range(20)}) > 15


def test_a_name_keeps_what_people_write() -> None:
    assert names.one_line("  Größe 🎬 שלום  ") == "Größe 🎬 שלום"


@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_a_name_is_one_line_that_can_be_written_anywhere(text: str) -> None:
    name = names.one_line(text)
    assert len(name) <= 80
    assert not re.search("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", name)
    name.encode("utf-8")


def test_terminal_colours_do_not_survive_in_a_name() -> None:
    assert "\x1b" not in names.one_line("\x1b[31mred")


@pytest.mark.parametrize(
    ("ending", "kept"),
    [(".jsonl", ".jsonl"), (".CSV", ".csv"), (".<b>", ""), (".a\0b", ""), ("." + "x" * 300, ""), (".ü", ""), ("", "")],
    ids=ascii,
)
def test_a_file_keeps_a_plain_ending_only(ending: str, kept: str) -> None:
    assert names.suffix(ending) == kept


def test_a_new_name_is_not_taken() -> None:
    name = names.new_name(set())
    assert re.fullmatch(r"[a-z]+-[a-z]+", name)
    assert names.new_name({name}) != name


def test_names_do_not_run_out() -> None:
    everything = {f"{q}-{a}" for q in names._QUALITIES for a in names._ANIMALS}
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{3}", names.new_name(everything))
