"""The Hub's refusals in sentences: the real client against a small Hub on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_hub import Answer, as_json, content, file_entry, point_client_at, refusal, serving
from huggingface_hub import constants
from transformers import LlamaForCausalLM

from studio.errors import InvalidInput, NotFound, Refused, Unavailable
from studio.ml import hub, models
from studio.recipe import ModelPart
from studio.settings import Settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeRepo:
    """One repository: its files, and whether they need an accepted licence."""

    files: dict[str, bytes]
    gated: bool = False
    kind: str = "models"


@dataclass
class FakeHub:
    """The Hub's own protocol, as far as this client speaks it, for the repositories in `repos`."""

    repos: dict[str, FakeRepo] = field(default_factory=dict)
    broken_with: int | None = None
    """Answer everything with this status code."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""

    def answer(self, path: str) -> Answer:
        """(status, headers, body) for a request."""
        if self.broken_with:
            return self.broken_with, {}, b"{}"
        if path.startswith("/api/models?"):
            return as_json([self._info(name) for name, repo in self.repos.items() if repo.kind == "models"])
        name = next((name for name in self.repos if f"/{name}" in path), None)
        if name is None:
            return refusal(404, "RepoNotFound")
        if "no-such-branch" in path:
            return refusal(404, "RevisionNotFound")
        if "/tree/" in path:
            return as_json([file_entry(p, data) for p, data in self.repos[name].files.items()])
        if f"/{name}/resolve/" in path or path.endswith("/auth-check"):
            if self.repos[name].gated:
                return refusal(403, "GatedRepo")
            return content(self.repos[name].files.get(path.partition(f"/resolve/{COMMIT}/")[2], b""), COMMIT)
        return as_json(self._info(name))

    def _info(self, name: str) -> dict[str, Any]:
        repo = self.repos[name]
        return {
            "id": name,
            "sha": COMMIT,
            "downloads": 1234,
            "gated": "manual" if repo.gated else False,
            "private": False,
            "tags": ["text-generation", "license:mit"],
            "cardData": {"license": "mit"},
            "safetensors": {"parameters": {"BF16": 26880}, "total": 26880},
            "siblings": [{"rfilename": path, "size": len(data)} for path, data in repo.files.items()],
        }


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A running fake Hub that the real client takes for the Hub, with an empty cache."""
    fake = FakeHub()

    def answer(path: str, _: bytes) -> Answer:
        fake.asked.append(path)
        return fake.answer(path)

    with serving(answer, monkeypatch, tmp_path):
        yield fake


def files_of(folder: Path) -> dict[str, bytes]:
    """A folder's files, to put on the fake Hub."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- what works -----------------------------------------------------------------------------------------------


def test_a_search_lists_models_with_what_helps_to_choose(fake_hub: FakeHub) -> None:
    fake_hub.repos = {"tiny/toy": FakeRepo({}), "big/gated": FakeRepo({}, gated=True)}

    found = hub.search_models("toy")

    assert found == [
        hub.HubModel(id="tiny/toy", downloads=1234, gated=False, licence="mit", parameters=26880),
        hub.HubModel(id="big/gated", downloads=1234, gated=True, licence="mit", parameters=26880),
    ]
    assert "search=toy" in fake_hub.asked[-1]
    assert "safetensors" in fake_hub.asked[-1]


def test_a_model_is_described_without_its_weights(fake_hub: FakeHub, toy_model: Path, settings: Settings) -> None:
    fake_hub.repos = {"tiny/toy": FakeRepo(files_of(toy_model))}

    card = models.describe(ModelPart(base_model="tiny/toy"), settings)

    assert (card.parameters, card.licence, card.revision) == (26880, "mit", COMMIT)
    assert card.size_bytes == (toy_model / "model.safetensors").stat().st_size
    assert not any("model.safetensors" in path for path in fake_hub.asked)


def test_a_fetched_model_loads_and_is_there_without_the_hub(
    fake_hub: FakeHub, toy_model: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(toy_model) | {"pytorch_model.bin": b"a pickle", "modeling_toy.py": b"import os"}
    fake_hub.repos = {"tiny/toy": FakeRepo(files)}

    folder, _ = models.resolve(ModelPart(base_model="tiny/toy"), settings)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files_of(toy_model)), "no pickles, no code"
    assert LlamaForCausalLM.from_pretrained(folder).num_parameters() == 26880

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert models.resolve(ModelPart(base_model="tiny/toy"), settings) == (folder, {})


# -- what is refused ------------------------------------------------------------------------------------------


def test_a_gated_model_tells_how_to_get_it(fake_hub: FakeHub, toy_model: Path) -> None:
    fake_hub.repos = {"big/gated": FakeRepo(files_of(toy_model), gated=True)}

    with pytest.raises(Refused, match=r"huggingface\.co/big/gated, accept the terms, run `hf auth login`"):
        hub.fetch_model("big/gated")


@pytest.mark.parametrize("fetch", [hub.fetch_model, hub.fetch_description])
def test_an_unknown_model_may_be_misspelt_or_private(fake_hub: FakeHub, fetch: Any) -> None:
    with pytest.raises(NotFound, match=r"no tiny/tyo on the Hub, or it is private\. Check the spelling"):
        fetch("tiny/tyo")


@pytest.mark.parametrize("fetch", [hub.fetch_model, hub.fetch_description])
def test_an_unknown_revision_is_told_apart_from_an_unknown_model(fake_hub: FakeHub, fetch: Any) -> None:
    fake_hub.repos = {"tiny/toy": FakeRepo({"config.json": b"{}"})}

    with pytest.raises(NotFound, match="tiny/toy has no such revision"):
        fetch("tiny/toy", "no-such-branch")


@pytest.mark.parametrize("fetch", [hub.fetch_model, hub.fetch_description, hub.search_models])
def test_a_hub_in_trouble_is_told_by_its_number(fake_hub: FakeHub, fetch: Any) -> None:
    fake_hub.broken_with = 500

    with pytest.raises(Unavailable, match=r"The Hub answered 500 for tiny/toy\. Wait a minute"):
        fetch("tiny/toy")


@pytest.mark.parametrize("fetch", [hub.fetch_model, hub.fetch_description, hub.search_models])
def test_a_closed_network_is_told_as_such(fetch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_client_at(f"http://127.0.0.1:{port}", monkeypatch, tmp_path)

    with pytest.raises(Unavailable, match=r"he Hub cannot be reached\. Check the network"):
        fetch("tiny/toy")


def test_a_model_with_pickles_only_is_refused_before_anything_large_is_fetched(fake_hub: FakeHub) -> None:
    fake_hub.repos = {"old/pickles": FakeRepo({"config.json": b"{}", "pytorch_model.bin": b"cos\nsystem\n"})}

    with pytest.raises(Refused, match=r"no safetensors weights.*can run code"):
        hub.fetch_description("old/pickles")
    assert not any(path.endswith("pytorch_model.bin") for path in fake_hub.asked)


@pytest.mark.parametrize("name", ["ow ner/name", "owner/", "owner/na..me", "owner/" + "x" * 200])
@pytest.mark.parametrize("fetch", [hub.fetch_model, hub.fetch_description])
def test_a_name_that_cannot_be_one_is_refused_without_asking(fake_hub: FakeHub, name: str, fetch: Any) -> None:
    with pytest.raises(InvalidInput, match="no Hub name"):
        fetch(name)
    assert fake_hub.asked == []
