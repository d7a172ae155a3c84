"""What fake Hubs have in common: a server on loopback that the real client takes for the Hub, and its answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def as_json(value: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def refusal(status: int, code: str) -> Answer:
    return status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}"


def file_entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": sha1(data).hexdigest()}


def content(data: bytes, commit: str) -> Answer:
    return 200, {"ETag": f'"{sha1(data).hexdigest()}"', "X-Repo-Commit": commit}, data


@contextmanager
def serving(answer: Callable[[str, bytes], Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Answer requests of the real Hub client with `answer(path, body)`; caches are the test's own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = answer(self.path, sent)
            if status == 200 and (asked := self.headers.get("Range")):
                first, last = asked.removeprefix("bytes=").split("-")
                status, body = 206, body[int(first) : int(last) + 1 if last else None]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET
        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    point_client_at(address, monkeypatch, tmp_path)
    try:
        yield address
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()


def point_client_at(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the Hub client talk to `address`, online, with no token and a cache of the test's own."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(_http, "time", SimpleNamespace(time=time.time, sleep=lambda seconds: None))  # retry at once
