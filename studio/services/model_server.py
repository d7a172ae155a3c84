"""The pages' side of the model server: start the process, ask it, and start it again if it died.

Speaks HTTP on loopback with a token made here. Knows no model library.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from studio.errors import InvalidInput, NotFound, Refused, StudioError, Unavailable
from studio.messages import Message
from studio.recipe import Recipe
from studio.services import processes
from studio.settings import Settings

START_SECONDS = 90.0
"""How long the server may take to import its libraries; about 8 s on two cores, a minute on a cold disk."""
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class ChatSettings:
    """How an answer is drawn; see `ml.generate.Sampling`."""

    max_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0


class ModelServer:
    """One child process. `start` returns at once; every question waits until it answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._token = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._lock = threading.Lock()
        self._port_file = settings.temporary / f"server-{os.getpid()}.json"

    def start(self) -> None:
        """Start the process if it is not running; does not wait for it."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # of the one that died
        self._port = None
        self._port_file.unlink(missing_ok=True)
        with open(self.settings.logs / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                processes.studio_command("serve", "--port-file", str(self._port_file)),
                stdin=subprocess.PIPE,  # never written to: its end tells the server that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.settings.home,
                env={
                    **os.environ,
                    **processes.COMPUTE_ENVIRONMENT,
                    "STUDIO_HOME": str(self.settings.home),
                    "STUDIO_SERVER_TOKEN": self._token,
                },
            )

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is None:
                return
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._port_file.unlink(missing_ok=True)
            self._process = None

    @property
    def ready(self) -> bool:
        """Whether a question would be answered without waiting for the start."""
        return self._port is not None and self._process is not None and self._process.poll() is None

    def address(self) -> str:
        """The server's URL, once it listens. Starts it (again) where needed. Raises Unavailable."""
        deadline = time.monotonic() + START_SECONDS
        with self._lock:
            self._start()
            assert self._process is not None
            while self._port is None:
                if self._process.poll() is not None:
                    raise Unavailable(
                        f"The model server ended as it started ({processes.signal_name(self._process.returncode)}). "
                        f"{self.settings.logs / 'server.log'} says why."
                    )
                if time.monotonic() > deadline:
                    raise Unavailable("The model server takes too long to start. Look at server.log, and try again.")
                if self._port_file.exists():
                    self._port = int(json.loads(self._port_file.read_text(encoding="utf-8"))["port"])
                else:
                    time.sleep(0.05)
        return f"http://127.0.0.1:{self._port}"

    def _client(self, timeout_seconds: float) -> httpx.Client:
        return httpx.Client(
            base_url=self.address(),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=timeout_seconds,
            trust_env=False,  # a proxy from the environment must not see loopback
        )

    def ask(self, what: str, recipe: Recipe, **query: str) -> dict[str, Any]:
        """The server's answer about `recipe`: what is "model", "plan", "look", "scan", "lengths" or "rows" (with the
        query numbers="1,2"). Raises StudioError.
        """
        body = recipe.model_dump(mode="json")
        return dict(self._request("POST", f"/studio/{what}", json=body, params=query))

    def search(self, text: str) -> list[dict[str, Any]]:
        """Models on the Hub that match `text`."""
        return list(self._request("GET", "/studio/search", params={"text": text}))

    def device(self) -> dict[str, Any]:
        """The device and its free memory now."""
        return dict(self._request("GET", "/health"))

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            with self._client(ANSWER_SECONDS) as client:
                response = client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise Unavailable("The model server did not answer. It is started again at the next try.") from error
        if response.is_success:
            return response.json()
        raise _error_of(response)

    def chat(self, model: str, messages: list[Message], settings: ChatSettings) -> Iterator[str]:
        """Pieces of the answer as they come; closing the iterator stops the generation. Raises StudioError."""
        body = {
            "model": model,
            "messages": messages,
            "stream": True,
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": settings.seed,
        }
        try:
            with (
                self._client(ANSWER_SECONDS) as client,
                client.stream("POST", "/v1/chat/completions", json=body) as answer,
            ):
                if not answer.is_success:
                    answer.read()
                    raise _error_of(answer)
                for line in answer.iter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    event = json.loads(line.removeprefix("data: "))
                    if "error" in event:
                        raise StudioError(event["error"]["message"])
                    if piece := event["choices"][0]["delta"].get("content"):
                        yield piece
        except UnicodeEncodeError:
            raise InvalidInput("The question holds half a character (a lone surrogate). Type it anew.") from None
        except httpx.HTTPError as error:
            raise Unavailable("The answer broke off: the model server ended. Ask again to start it anew.") from error


def _error_of(response: httpx.Response) -> StudioError:
    """The server's sentence as the same error that it raised there."""
    try:
        told = response.json()["error"]
        message, field = str(told["message"]), told.get("field")
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The model server failed ({response.status_code}). server.log has the whole story.")
    if response.status_code == 404:
        return NotFound(message)
    if response.status_code == 422:
        return InvalidInput(message, field=field)
    return Refused(message)
