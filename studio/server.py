"""The door of the model server: one warm process that holds a base model with its adapters and answers for the pages.

    python -m studio serve --port-file FILE          # STUDIO_SERVER_TOKEN holds the token

OpenAI-compatible `/v1/chat/completions` (streaming) and `/v1/models`; `/studio/*` describes models, datasets and plans
through the trainer's own code. Listens on loopback only, refuses everything without the token that its parent made,
and ends when its parent does (its standard input closes). Knows no database and no page.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import starlette.exceptions
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from studio.errors import InvalidInput, NotFound, StudioError
from studio.messages import Message
from studio.ml import devices, hub
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.ml.looking import dataset_view, preview
from studio.ml.looking.scan import Scans
from studio.recipe import Recipe, recipe_from_dict
from studio.run_folder import write_json
from studio.settings import Settings

log = logging.getLogger("studio.server")

LONGEST_CONVERSATION = 200_000
"""Characters of a conversation that are read at all; far beyond what the models here can attend to."""
LOOK_SECONDS = 0.3
"""How often to look whether the client that waits for an answer is still there."""


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is understood; the rest is ignored, as their clients send more."""

    model: str = Field(min_length=1, max_length=500)
    messages: list[Message] = Field(min_length=1, max_length=200)
    max_tokens: int = Field(200, ge=1, le=4096)
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    seed: int = Field(0, ge=0, le=2**32 - 1)
    stream: bool = False


def build_app(settings: Settings, token: str) -> FastAPI:
    """The application; `token` must come with every request as `Authorization: Bearer`."""

    def check_token(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "The token is missing or wrong.")

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check_token)])
    chat = ChatModel(settings)
    _tell_errors(app)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"device": devices.detect().sentence, "detail": asdict(devices.detect())}

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        runs = sorted(path.name for path in settings.runs.iterdir() if (path / "adapter").is_dir())
        return {"object": "list", "data": [{"id": f"run:{name}", "object": "model"} for name in runs]}

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(body: ChatRequest, request: Request) -> StreamingResponse | dict[str, Any]:
        check_question(body, settings)
        sampling = Sampling(body.max_tokens, body.temperature, body.top_p, body.seed)
        stop = threading.Event()
        answer = Answer(chat.answer(body.model, body.messages, sampling, stop), stop)
        watch = asyncio.create_task(_stop_when_gone(request, stop))
        try:
            first = await answer.next_piece()  # errors of loading come before the stream begins
            if body.stream:
                return StreamingResponse(_events(body.model, first, answer), media_type="text/event-stream")
            text, piece = "", first
            while piece is not None:
                text += piece
                piece = await answer.next_piece()
        finally:
            watch.cancel()
        message = {"role": "assistant", "content": text}
        return _completion(body.model, "chat.completion", finish_reason="stop", message=message)

    _add_studio_routes(app, settings)
    return app


def _tell_errors(app: FastAPI) -> None:
    """Every refusal in one shape, with a sentence: {"error": {"message": ..., "field": ...}}."""

    def told(status: int, message: str, field: str | None = None) -> JSONResponse:
        return JSONResponse({"error": {"message": message, "field": field}}, status_code=status)

    @app.exception_handler(StudioError)
    async def refused(_: Request, error: StudioError) -> JSONResponse:
        status = 404 if isinstance(error, NotFound) else 422 if isinstance(error, InvalidInput) else 409
        return told(status, str(error), getattr(error, "field", None))

    @app.exception_handler(RequestValidationError)
    async def misread(_: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats what was sent, and fails where that is NaN or half a character.
        first = error.errors()[0]
        field = "" if first["type"] == "json_invalid" else ".".join(str(part) for part in first["loc"][1:])
        return told(422, f"{field or 'The request'}: {first['msg']}.", field or None)

    @app.exception_handler(starlette.exceptions.HTTPException)  # of which FastAPI's own is a kind
    async def turned_away(_: Request, error: starlette.exceptions.HTTPException) -> JSONResponse:
        return told(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return told(500, _failure(error))


def _failure(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return f"The model server failed: {type(error).__name__}: {reason}. server.log has the whole story."


def check_question(body: ChatRequest, settings: Settings) -> None:
    """Refuse a run that is none of this home's, and a conversation that no model here could read."""
    kind, _, name = body.model.partition(":")
    if kind in ("run", "base") and name:
        path = settings.runs / name
        if path.parent != settings.runs or not os.path.isdir(path):
            raise NotFound("This run is gone: it was deleted or belongs to another studio home.")
    text = "".join(message["content"] for message in body.messages)
    characters = len(text)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("The conversation holds half a character (a lone surrogate). Type it anew.", "messages")
    if characters > LONGEST_CONVERSATION:
        raise InvalidInput(
            f"The conversation has {characters:,} characters, at most {LONGEST_CONVERSATION:,} are read. "
            "Shorten it, or begin a new one.",
            field="messages",
        )


async def _stop_when_gone(request: Request, stop: threading.Event) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK_SECONDS)
    stop.set()


class Answer:
    """Pieces of an answer that a thread is computing. The thread cannot be cancelled, but whoever waits for it can."""

    def __init__(self, pieces: Iterator[str], stop: threading.Event) -> None:
        self._pieces: Any = pieces
        self._stop = stop
        self._next: asyncio.Future[str | None] | None = None

    async def next_piece(self) -> str | None:
        """The next piece; None at the end."""
        self._next = asyncio.ensure_future(run_in_threadpool(next, self._pieces, None))
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """End the answer at its next token. Goes on in the background where the caller is cancelled."""
        self._stop.set()
        await asyncio.shield(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        if self._next is not None:
            await asyncio.wait([self._next])
        await run_in_threadpool(self._pieces.close)


def _add_studio_routes(app: FastAPI, settings: Settings) -> None:
    """What the pages ask: each takes a recipe as JSON and answers with plain values."""
    scans = Scans(settings)
    answers: dict[str, Callable[[Recipe, Settings], dict[str, Any]]] = {
        "model": preview.model,
        "plan": lambda recipe, _: preview.plan(recipe, settings, scans),
        "look": dataset_view.look,
        "lengths": dataset_view.lengths_at,
        "scan": lambda recipe, _: scans.ask(recipe),
    }
    for name, answer in answers.items():

        def route(
            body: dict[str, Any], answer: Callable[[Recipe, Settings], dict[str, Any]] = answer
        ) -> dict[str, Any]:
            return answer(recipe_from_dict(body), settings)

        app.post(f"/studio/{name}")(route)

    @app.post("/studio/rows")
    def rows(body: dict[str, Any], numbers: str) -> dict[str, Any]:
        if not re.fullmatch(r"\d{1,12}(,\d{1,12}){0,49}", numbers):
            raise InvalidInput("Row numbers are whole numbers with commas between them, at most 50.", field="numbers")
        return dataset_view.rows(recipe_from_dict(body), settings, [int(number) for number in numbers.split(",")])

    @app.get("/studio/search")
    def search(text: str) -> list[dict[str, Any]]:
        return [asdict(model) for model in hub.search_models(text)]


async def _events(model: str, first: str | None, answer: Answer) -> AsyncIterator[str]:
    """The answer as server-sent events. A client that goes away stops the generation at its next token."""
    try:
        piece = first
        while piece is not None:
            yield f"data: {json.dumps(_completion(model, 'chat.completion.chunk', delta={'content': piece}))}\n\n"
            piece = await answer.next_piece()
        last = _completion(model, "chat.completion.chunk", delta={}, finish_reason="stop")
        yield f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    except Exception as error:
        if not isinstance(error, StudioError):
            log.exception("The answer failed")
        message = str(error) if isinstance(error, StudioError) else _failure(error)
        yield f"data: {json.dumps({'error': {'message': message}})}\n\n"
    finally:
        await answer.close()


def _completion(model: str, kind: str, finish_reason: str | None = None, **choice: Any) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:12]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "finish_reason": finish_reason, **choice}],
    }


def serve(settings: Settings, port_file: Path) -> None:
    """Listen on a free loopback port, write it to `port_file`, and serve until the parent's pipe closes."""
    token = os.environ.pop("STUDIO_SERVER_TOKEN")
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_app(settings, token)
    write_json(port_file, {"port": listener.getsockname()[1], "pid": os.getpid()})
    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(sockets=[listener])


def end_with_parent() -> None:
    """The parent holds the other end of standard input; when it dies, however it dies, this reads an end of file."""
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin.buffer: its lock would be held while the process ends
        continue
    log.info("The parent is gone")
    os._exit(0)
