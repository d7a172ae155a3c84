"""The model server as a real process on the toy home: OpenAI's shape, one token, loopback only, never a 500."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from toy_home import put_run, quick, trained_home
from waiting import is_gone, wait_until

from studio.errors import InvalidInput, NotFound, Unavailable
from studio.recipe import Recipe
from studio.server import Answer
from studio.services.model_server import ChatSettings, ModelServer
from studio.settings import Settings, read_settings

QUESTION = [{"role": "user", "content": "Is this sentence positive or negative?"}]
RUN = "tidy-otter"
SLOW_TOKENS = 4000
"""An answer of so many tokens takes the toy model five seconds and more."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Settings:
    """A copy of the home in which one run was trained."""
    return read_settings(shutil.copytree(trained_home(toy_model)[0], tmp_path_factory.mktemp("server") / "home"))


@pytest.fixture(scope="module")
def server(home: Settings) -> Iterator[ModelServer]:
    opened = ModelServer(home)
    yield opened
    opened.close()


@pytest.fixture
def client(server: ModelServer) -> Iterator[httpx.Client]:
    """Speaks to the server as an OpenAI client would, with the token."""
    with server._client(60) as opened:
        yield opened


def pid_of(server: ModelServer) -> int:
    server.address()
    assert server._process is not None
    return server._process.pid


def answer(server: ModelServer, model: str, **settings: Any) -> str:
    return "".join(server.chat(model, list(QUESTION), ChatSettings(**settings)))  # type: ignore[arg-type]


def body(**changes: Any) -> dict[str, Any]:
    return {"model": f"run:{RUN}", "messages": QUESTION, "max_tokens": 8, **changes}


# -- who gets in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/studio/model"),
        ("GET", "/studio/search"),
    ],
)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic b3R0ZXI6b3R0ZXI="])
def test_without_the_token_there_is_only_401(server: ModelServer, method: str, path: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": token}
    answered = httpx.request(method, server.address() + path, json=body(), headers=headers, trust_env=False, timeout=30)
    assert answered.status_code == 401
    assert "token" in answered.json()["error"]["message"]


def test_it_listens_on_loopback_only(server: ModelServer) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(pid_of(server)).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_the_token_is_not_left_where_others_look(server: ModelServer, home: Settings) -> None:
    command = " ".join(psutil.Process(pid_of(server)).cmdline())
    assert server._token not in command
    for file in [*home.logs.iterdir(), *home.temporary.iterdir()]:
        assert not file.is_file() or server._token not in file.read_text(errors="replace")


def test_there_is_no_page_that_describes_it(client: httpx.Client) -> None:
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


# -- chat -----------------------------------------------------------------------------------------------------


def test_an_answer_has_openais_shape(client: httpx.Client) -> None:
    answered = client.post("/v1/chat/completions", json=body()).json()
    assert answered["object"] == "chat.completion"
    assert answered["model"] == f"run:{RUN}"
    choice = answered["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert isinstance(choice["message"]["content"], str)


def test_a_stream_is_server_sent_events_that_end_with_done(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/chat/completions", json=body(stream=True)) as answered:
        assert answered.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answered.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    whole = client.post("/v1/chat/completions", json=body()).json()["choices"][0]["message"]["content"]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole


def test_a_greedy_answer_is_the_same_every_time(server: ModelServer) -> None:
    assert answer(server, f"run:{RUN}", max_tokens=20) == answer(server, f"run:{RUN}", max_tokens=20, seed=7) != ""


def test_a_drawn_answer_depends_on_its_seed_alone(server: ModelServer) -> None:
    drawn = [answer(server, f"run:{RUN}", max_tokens=20, temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_base_and_run_answer_from_one_model(server: ModelServer) -> None:
    base = answer(server, f"base:{RUN}", max_tokens=20)
    answer(server, f"run:{RUN}", max_tokens=20)
    assert answer(server, f"base:{RUN}", max_tokens=20) == base == answer(server, "starter", max_tokens=20)


def test_the_trained_runs_are_listed(client: httpx.Client, home: Settings) -> None:
    put_run(home, "without-adapter")
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [f"run:{RUN}"]


def test_what_other_clients_send_besides_is_ignored(client: httpx.Client) -> None:
    extra = {"frequency_penalty": 0, "user": "me", "n": 1}
    assert client.post("/v1/chat/completions", json=body(**extra)).status_code == 200


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    ["run:nowhere", "base:nowhere", "run:../../x", "run:..", "run:/etc", "run:a\0b", "run:" + "x" * 400],
    ids=ascii,
)
def test_a_run_that_is_not_here_is_404(server: ModelServer, client: httpx.Client, model: str) -> None:
    answered = client.post("/v1/chat/completions", json=body(model=model))
    assert answered.status_code == 404
    assert "This run is gone" in answered.json()["error"]["message"]
    with pytest.raises(NotFound, match="This run is gone"):
        answer(server, model)


def test_a_run_without_an_adapter_says_so(server: ModelServer, home: Settings) -> None:
    put_run(home, "not-yet")
    with pytest.raises(NotFound, match="no adapter yet"):
        answer(server, "run:not-yet")


def test_a_model_that_is_none_is_422_with_its_field(server: ModelServer, client: httpx.Client) -> None:
    answered = client.post("/v1/chat/completions", json=body(model="/nowhere/at/all"))
    assert answered.status_code == 422
    assert answered.json()["error"]["field"] == "model.base_model"
    with pytest.raises(InvalidInput, match="There is no folder") as caught:
        answer(server, "/nowhere/at/all")
    assert caught.value.field == "model.base_model"


BAD_QUESTIONS: dict[str, dict[str, Any]] = {
    "temperature is NaN": {"temperature": float("nan")},
    "temperature is infinite": {"temperature": float("inf")},
    "temperature is negative": {"temperature": -1},
    "top_p is 0": {"top_p": 0},
    "seed is enormous": {"seed": 10**30, "temperature": 1},
    "seed is negative": {"seed": -1},
    "max_tokens is a word": {"max_tokens": "many"},
    "max_tokens is 0": {"max_tokens": 0},
    "max_tokens is enormous": {"max_tokens": 10**9},
    "no model": {"model": ""},
    "model is a number": {"model": 5},
    "model is 1 MB": {"model": "x" * 1_000_000},
    "model is half a character": {"model": "\ud800"},
    "no messages": {"messages": []},
    "messages is a number": {"messages": 5},
    "messages is null": {"messages": None},
    "a role that is none": {"messages": [{"role": "root", "content": "x"}]},
    "a message without content": {"messages": [{"role": "user"}]},
    "content is a number": {"messages": [{"role": "user", "content": 5}]},
    "content is half a character": {"messages": [{"role": "user", "content": "\ud800"}]},
    "content is 1 MB": {"messages": [{"role": "user", "content": "x" * 1_000_000}]},
    "a thousand messages": {"messages": QUESTION * 1000},
}


@pytest.mark.parametrize("changes", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bad_question_is_422_with_a_sentence(client: httpx.Client, changes: dict[str, Any], stream: bool) -> None:
    content = json.dumps({**body(stream=stream), **changes})
    headers = {"Content-Type": "application/json"}
    answered = client.post("/v1/chat/completions", content=content, headers=headers)
    assert answered.status_code == 422
    told = answered.json()["error"]
    assert told["message"]
    assert told["field"].split(".")[0] == next(iter(changes))
    assert len(answered.content) < 1000, "the answer repeats what was sent"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/studio/model", "/studio/look", "/studio/plan"])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "5", '"text"', "\x00", "NaN", "[" * 10_000], ids=lambda c: c[:8]
)
def test_a_body_that_is_no_request_is_turned_away(client: httpx.Client, path: str, content: str) -> None:
    answered = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answered.status_code in (400, 422), answered.text
    assert answered.json()["error"]["message"]


BAD_RECIPES: dict[str, str] = {
    '{"training": {"learning_rate": NaN}}': "training.learning_rate",
    '{"training": {"learning_rate": "fast"}}': "training.learning_rate",
    '{"training": 5}': "training",
    '{"training": {"max_steps": -1}}': "training.max_steps",
    '{"surprise": 1}': "surprise",
    '{"model": {"base_model": ""}}': "model.base_model",
    '{"model": {"base_model": "\\ud800"}}': "model.base_model",
    '{"model": {"base_model": "' + "x" * 1_000_000 + '"}}': "model.base_model",
    '{"model": {"base_model": "/nowhere"}}': "model.base_model",
}


@pytest.mark.parametrize(("content", "field"), BAD_RECIPES.items(), ids=[key[:40] for key in BAD_RECIPES])
@pytest.mark.parametrize("what", ["model", "plan", "scan", "lengths", "rows?numbers=1"])
def test_a_bad_recipe_is_422_and_names_its_field(client: httpx.Client, what: str, content: str, field: str) -> None:
    answered = client.post(f"/studio/{what}", content=content, headers={"Content-Type": "application/json"})
    assert answered.status_code == 422
    assert answered.json()["error"]["field"] == field
    assert answered.json()["error"]["message"]


# -- what the pages ask ---------------------------------------------------------------------------------------


def test_it_tells_its_device(server: ModelServer) -> None:
    device = server.device()
    assert device["device"]
    assert device["detail"]["memory_total_bytes"] > 0


def test_a_model_is_described_with_what_training_it_takes(server: ModelServer) -> None:
    told = server.ask("model", Recipe())
    assert "2 layers" in told["card"]["architecture"]
    assert told["card"]["has_chat_template"] is True
    assert told["card"]["parameters"] > 0
    assert {"Full", "LoRA", "QLoRA"} == set(told["methods"])
    assert told["methods"]["LoRA"]["trainable_parameters"] < told["methods"]["Full"]["trainable_parameters"]


def test_a_plan_counts_rows_and_memory(server: ModelServer) -> None:
    told = server.ask("plan", quick())
    assert told["train_rows"] == 24
    assert told["held_out_rows"] == 8
    assert told["total_bytes"] > told["adapter_bytes"] > 0
    assert told["longest_tokens"] > 0


def test_a_look_shows_the_first_rows_and_coloured_tokens(server: ModelServer) -> None:
    told = server.ask("look", quick())
    row = told["rows"][0]
    assert row["messages"][-1]["role"] == "assistant"
    kinds = {kind for _, kind in row["tokens"]}
    assert {"trained", "context"} <= kinds
    trained = "".join(text for text, kind in row["tokens"] if kind == "trained")
    assert row["messages"][-1]["content"] in trained


def test_a_scan_is_asked_for_until_it_is_done(server: ModelServer) -> None:
    told = wait_until(lambda: (answer := server.ask("scan", quick()))["state"] == "done" and answer, 60)
    assert told["train_rows"] == 24
    assert {"findings", "charts", "steps", "fingerprint"} <= told.keys()
    assert told["lengths"] == server.ask("lengths", quick())


def test_rows_are_shown_by_their_numbers(server: ModelServer) -> None:
    assert [row["number"] for row in server.ask("rows", quick(), numbers="3,1,2")["rows"]] == [3, 1, 2]


@pytest.mark.parametrize("numbers", ["", "one", "1;2", "-1", "1," * 60 + "1"])
def test_row_numbers_that_are_none_are_refused(server: ModelServer, numbers: str) -> None:
    with pytest.raises(InvalidInput, match="whole numbers") as caught:
        server.ask("rows", quick(), numbers=numbers)
    assert caught.value.field == "numbers"


def test_a_dataset_that_cannot_be_read_is_a_sentence_with_its_field(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "fake.parquet").write_text("hello")
    with pytest.raises(InvalidInput, match=r"fake\.parquet") as caught:
        server.ask("look", Recipe().changed(**{"data.dataset": str(tmp_path / "fake.parquet")}))
    assert caught.value.field == "data.dataset"


# -- coming and going -----------------------------------------------------------------------------------------


def seconds_until_free(server: ModelServer) -> float:
    begin = time.monotonic()
    answer(server, f"run:{RUN}", max_tokens=1)
    return time.monotonic() - begin


def test_closing_a_stream_frees_the_server(server: ModelServer) -> None:
    pieces = server.chat(f"run:{RUN}", list(QUESTION), ChatSettings(max_tokens=SLOW_TOKENS))  # type: ignore[arg-type]
    next(pieces)
    pieces.close()
    assert seconds_until_free(server) < 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_clients_that_hang_up_free_the_server(server: ModelServer, stream: bool) -> None:
    question = body(max_tokens=SLOW_TOKENS, stream=stream)
    for _ in range(5):
        with (
            server._client(0.3) as impatient,
            contextlib.suppress(httpx.ReadTimeout),
            impatient.stream("POST", "/v1/chat/completions", json=question) as answered,
        ):
            next(answered.iter_raw())
    assert seconds_until_free(server) < 8, "it computed answers that nobody waits for"


def test_an_answer_that_is_silent_for_long_can_be_ended_too() -> None:
    stop = threading.Event()

    def silent() -> Iterator[str]:
        yield "a"
        stop.wait(60)

    async def hang_up() -> None:
        answering = Answer(silent(), stop)
        assert await answering.next_piece() == "a"
        waiting = asyncio.ensure_future(answering.next_piece())
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait_for(answering.close(), 5)

    asyncio.run(hang_up())


def test_two_questions_at_once_are_both_answered(server: ModelServer) -> None:
    told: dict[str, str] = {}

    def ask(model: str) -> None:
        told[model] = answer(server, model, max_tokens=20)

    threads = [threading.Thread(target=ask, args=(f"{kind}:{RUN}",)) for kind in ("base", "run") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == {model: answer(server, model, max_tokens=20) for model in told}
    assert len(told) == 2


def test_it_is_started_again_after_it_was_killed(server: ModelServer) -> None:
    pid = pid_of(server)
    pieces = server.chat(f"run:{RUN}", list(QUESTION), ChatSettings(max_tokens=SLOW_TOKENS))  # type: ignore[arg-type]
    threading.Timer(1.0, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(Unavailable, match="broke off"):
        list(pieces)
    wait_until(lambda: not server.ready, 10, "the notice of the server's end")
    assert answer(server, f"run:{RUN}", max_tokens=5) is not None
    assert pid_of(server) != pid
    assert server.ready is True


def test_it_ends_when_its_studio_is_killed(home: Settings) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from studio.services.model_server import ModelServer; from studio.settings import read_settings\n"
        "server = ModelServer(read_settings(Path(sys.argv[1]))); server.address()\n"
        "print(server._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(home.home)], stdout=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        pid = int(studio.stdout.readline())
        assert not is_gone(pid)
        studio.kill()
    wait_until(lambda: is_gone(pid), 10, "the end of the server")


def test_a_server_that_cannot_start_says_where_to_look(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.services.processes.studio_command", lambda *_: [sys.executable, "-c", "exit(3)"])
    broken = ModelServer(home)
    with pytest.raises(Unavailable, match=r"exit code 3.*server\.log"):
        broken.device()
    broken.close()


def test_closing_ends_the_process_and_leaves_no_file(home: Settings) -> None:
    sleeper = ModelServer(home)
    sleeper.start()
    assert sleeper._process is not None
    pid = sleeper._process.pid
    sleeper.close()
    assert is_gone(pid)
    assert list(home.temporary.glob(f"server-{os.getpid()}.json")) == []
    sleeper.close()  # twice is once
