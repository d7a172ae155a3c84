"""Which moves between statuses are legal."""

from __future__ import annotations

from itertools import pairwise

import pytest

from studio.errors import Refused
from studio.runs import LEGAL_MOVES, RunStatus, check_move


@pytest.mark.parametrize(
    "life",
    [
        ["queued", "starting", "running", "finished"],
        ["queued", "starting", "running", "stopping", "stopped"],
        ["queued", "stopped"],
        ["queued", "starting", "failed"],
        ["queued", "starting", "running", "interrupted"],
        ["running", "running"],
    ],
)
def test_these_lives_are_legal(life: list[str]) -> None:
    for old, new in pairwise(life):
        check_move(RunStatus(old), RunStatus(new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("finished", "running"), ("failed", "queued"), ("queued", "finished"), ("stopping", "running")],
)
def test_these_moves_are_refused_in_a_sentence(old: str, new: str) -> None:
    with pytest.raises(Refused, match=f"This run is {old}, so it cannot become {new}"):
        check_move(RunStatus(old), RunStatus(new))


def test_every_status_is_waiting_live_or_over() -> None:
    for status in RunStatus:
        assert [status is RunStatus.QUEUED, status.is_live, status.is_over].count(True) == 1


def test_nothing_leads_out_of_what_is_over() -> None:
    assert {status for status, moves in LEGAL_MOVES.items() if not moves} == {s for s in RunStatus if s.is_over}
