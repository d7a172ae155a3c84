"""The locks on the door: who may reach the pages, from where, and what a failing handler may say.

An ASGI layer in front of gradio (its own checks cover localhost names only, its login has no throttle: docs/design.md)
and the decorator that every handler wears.
"""

from __future__ import annotations

import functools
import logging
import secrets
import socket
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import psutil
from starlette.responses import PlainTextResponse

from studio.errors import StudioError
from studio.settings import Settings

log = logging.getLogger("studio.ui")

MAX_FAILURES = 5
FAILURE_WINDOW_SECONDS = 60.0
HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Guard:
    """Refuses requests that another website makes in a visitor's name, slows password guessing, adds headers."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._failures: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = (scope.get("client") or ("", 0))[0]
        is_login = scope["path"].rstrip("/").endswith("/login")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(headers):
            await PlainTextResponse("This request came from another site.", 403)(scope, receive, send)
            return
        if is_login and self._too_many(client):
            await PlainTextResponse("Too many wrong passwords. Wait a minute.", 429)(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
                if is_login and message["status"] >= 400:
                    self._failures[client].append(time.monotonic())
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _too_many(self, client: str) -> bool:
        recent = self._failures[client]
        while recent and time.monotonic() - recent[0] > FAILURE_WINDOW_SECONDS:
            recent.popleft()
        return len(recent) >= MAX_FAILURES


def is_foreign(headers: dict[str, str]) -> bool:
    """Whether a browser says that another site makes this request. Programs send no Origin and are not meant."""
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


def trusted_hosts(settings: Settings) -> list[str]:
    """Names under which this studio may be asked, so that a foreign name pointed at us (DNS rebinding) is refused."""
    hosts = {"127.0.0.1", "localhost", "[", settings.host}  # "[": what starlette reads of an IPv6 host like [::1]
    if settings.exposed:
        hosts |= {socket.gethostname(), f"{socket.gethostname()}.local"}
        hosts |= {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    if settings.share:
        hosts.add("*.gradio.live")
    return sorted(hosts)


def make_login(settings: Settings) -> tuple[str, str] | None:
    """A user and a fresh password once others can reach the pages; None on loopback."""
    return ("studio", secrets.token_urlsafe(9)) if settings.exposed else None


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose failures reach the page as a sentence: refusals as they are, a bug without details."""

    @functools.wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except StudioError as error:
            raise gr.Error(str(error), duration=12, print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            log.exception("A handler failed: %s", handler.__qualname__)
            raise gr.Error(BUG_SENTENCE, duration=12, print_exception=False) from error

    return guarded


BUG_SENTENCE = (
    "Something went wrong in the studio itself. The log (logs/studio.log in the studio's home) has the whole story."
)
