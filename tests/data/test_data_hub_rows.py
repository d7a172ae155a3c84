"""Datasets of the Hub: the real client and the real `datasets` library against a small Hub on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
from fake_hub import Answer, as_json, content, file_entry, point_client_at, refusal, serving
from huggingface_hub import constants

from studio.data.sources import find_source
from studio.data.store import first_rows, open_store
from studio.errors import InvalidInput, NotFound, Refused, StudioError, Unavailable
from studio.recipe import DataSource
from studio.settings import Settings

COMMITS = ("0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef")
ROWS = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(30)]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass
class FakeHub:
    """The Hub's own protocol, as far as `datasets` speaks it: repositories of files, each at one commit."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    commit: str = COMMITS[0]
    broken_with: int | None = None
    """Answer everything with this status code."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""

    def answer(self, path: str, body: bytes) -> Answer:
        """(status, headers, body) for a request."""
        if self.broken_with:
            return self.broken_with, {}, b"{}"
        name = next((name for name in self.repos if f"datasets/{name}" in path), None)
        if name is None:
            return refusal(404, "RepoNotFound")
        if "no-such-branch" in path:
            return refusal(404, "RevisionNotFound")
        files = self.repos[name]
        if "/resolve/" in path or path.endswith("/auth-check"):
            if self.gated:
                return refusal(403, "GatedRepo")
            if path.endswith("/auth-check"):
                return as_json({})
            return self._content(files.get(path.split("/resolve/")[1].partition("/")[2].partition("?")[0]))
        if "/tree/" in path:
            return as_json([file_entry(file, data) for file, data in files.items()])
        if "/paths-info/" in path:
            wanted = json.loads(body)["paths"]
            return as_json([file_entry(file, data) for file, data in files.items() if file in wanted])
        return as_json(self._info(name))

    def _info(self, name: str) -> dict[str, Any]:
        files = [{"rfilename": path, "size": len(data)} for path, data in self.repos[name].items()]
        info = {"id": name, "sha": self.commit, "private": False, "tags": [], "siblings": files}
        return info | {"gated": "manual" if self.gated else False, "downloads": 1}

    def _content(self, data: bytes | None) -> Answer:
        return refusal(404, "EntryNotFound") if data is None else content(data, self.commit)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A running fake Hub that the real client takes for the Hub, with empty caches."""
    fake = FakeHub()

    def answer(path: str, body: bytes) -> Answer:
        fake.asked.append(path)
        return fake.answer(path, body)

    with serving(answer, monkeypatch, tmp_path) as address:
        point_datasets_at(address, monkeypatch, tmp_path)
        yield fake


def point_both_at(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_client_at(address, monkeypatch, tmp_path)
    point_datasets_at(address, monkeypatch, tmp_path)


def point_datasets_at(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The `datasets` library has settings of its own."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


def refused(part: DataSource, settings: Settings) -> StudioError:
    """The error of both ways to read."""
    with pytest.raises(StudioError) as caught:
        open_store(part, settings)
    with pytest.raises(type(caught.value)):
        first_rows(part)
    assert "\n" not in str(caught.value)
    return caught.value


# -- what works -----------------------------------------------------------------------------------------------


def test_a_dataset_of_the_hub_is_read(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:3])}}

    store = open_store(DataSource(dataset="tiny/rows"), settings)

    assert store.rows(range(len(store))) == ROWS
    assert (store.facts.kind, store.facts.columns) == ("hub", ("question", "answer"))
    assert store.facts.fingerprint
    assert len(open_store(DataSource(dataset="tiny/rows", split="test"), settings)) == 3


@pytest.mark.parametrize(
    ("split", "rows"),
    [("train[:5]", ROWS[:5]), ("train[10%:20%]", ROWS[3:6]), ("train+test", ROWS + ROWS[:3])],
)
def test_a_slice_of_a_split_is_read(
    split: str, rows: list[dict[str, Any]], fake_hub: FakeHub, settings: Settings
) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:3])}}

    store = open_store(DataSource(dataset="tiny/rows", split=split), settings)

    assert store.rows(range(len(store))) == rows


def test_a_look_fetches_the_first_rows(fake_hub: FakeHub) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:3])}}

    head = first_rows(DataSource(dataset="tiny/rows", split="train[:100]"), 4)

    assert head.rows == ROWS[:4]
    assert head.kind == "hub"


def test_a_configuration_is_chosen(fake_hub: FakeHub, settings: Settings) -> None:
    card = b"---\nconfigs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: de\n  data_files: de.jsonl\n---\n"
    fake_hub.repos = {"tiny/rows": {"README.md": card, "en.jsonl": jsonl(ROWS), "de.jsonl": jsonl(ROWS[:7])}}

    assert len(open_store(DataSource(dataset="tiny/rows", config="de"), settings)) == 7
    error = refused(DataSource(dataset="tiny/rows"), settings)
    assert isinstance(error, InvalidInput)
    assert error.field == "data.config"
    assert "'en'" in str(error)


def test_a_new_commit_is_read_again(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS)}}
    before = open_store(DataSource(dataset="tiny/rows"), settings)
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS[:9])}}
    fake_hub.commit = COMMITS[1]

    after = open_store(DataSource(dataset="tiny/rows"), settings)

    assert (len(before), len(after)) == (30, 9)
    assert before.facts.fingerprint != after.facts.fingerprint


def test_a_store_of_the_same_commit_is_found_again(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS)}}
    open_store(DataSource(dataset="tiny/rows"), settings)
    fake_hub.asked.clear()

    assert len(open_store(DataSource(dataset="tiny/rows"), settings)) == 30
    assert not any("resolve" in path for path in fake_hub.asked)


def test_what_was_fetched_is_there_without_the_hub(
    fake_hub: FakeHub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS)}}
    open_store(DataSource(dataset="tiny/rows"), settings)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    assert len(open_store(DataSource(dataset="tiny/rows"), settings)) == 30
    assert first_rows(DataSource(dataset="tiny/rows"), 3).rows == ROWS[:3]


# -- what is refused ------------------------------------------------------------------------------------------


def test_a_gated_dataset_tells_how_to_get_it(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"big/rows": {"train.jsonl": jsonl(ROWS)}}
    fake_hub.gated = True

    error = refused(DataSource(dataset="big/rows"), settings)

    assert isinstance(error, Refused)
    assert "huggingface.co/datasets/big/rows, accept the terms, run `hf auth login`" in str(error)


def test_an_unknown_dataset_may_be_misspelt_or_private(fake_hub: FakeHub, settings: Settings) -> None:
    error = refused(DataSource(dataset="tiny/rwos"), settings)

    assert isinstance(error, NotFound)
    assert str(error).startswith("There is no tiny/rwos on the Hub, or it is private. Check the spelling")


def test_an_unknown_revision_is_told(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS)}}

    assert "has no such revision" in str(refused(DataSource(dataset="tiny/rows", revision="no-such-branch"), settings))


def test_an_unknown_split_is_told_with_those_there_are(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"tiny/rows": {"train.jsonl": jsonl(ROWS)}}

    error = refused(DataSource(dataset="tiny/rows", split="dev"), settings)

    assert isinstance(error, InvalidInput)
    assert error.field == "data.split"
    assert "train" in str(error)


def test_a_dataset_that_is_a_script_is_not_run(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.repos = {"old/rows": {"rows.py": b"raise SystemExit('run')"}}

    assert isinstance(refused(DataSource(dataset="old/rows"), settings), InvalidInput)


def test_a_hub_in_trouble_is_told_by_its_number(fake_hub: FakeHub, settings: Settings) -> None:
    fake_hub.broken_with = 500

    assert "The Hub answered 500 for tiny/rows. Wait a minute" in str(
        refused(DataSource(dataset="tiny/rows"), settings)
    )


@pytest.mark.parametrize("name", ["ow ner/name", "owner/na..me", "owner/" + "x" * 200])
def test_a_name_that_cannot_be_one_is_refused_without_asking(name: str, fake_hub: FakeHub) -> None:
    with pytest.raises(InvalidInput, match="no Hub name"):
        find_source(DataSource(dataset=name))
    assert fake_hub.asked == []


def test_a_closed_network_is_told_as_such(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_both_at(f"http://127.0.0.1:{port}", monkeypatch, tmp_path)

    error = refused(DataSource(dataset="tiny/rows"), settings)

    assert isinstance(error, Unavailable)
    assert "tiny/rows is not on this machine and the Hub cannot be reached" in str(error)


def test_without_the_network_only_what_is_here_is_read(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="tiny/rows is not on this machine and the Hub cannot be reached"):
        open_store(DataSource(dataset="tiny/rows"), settings)
