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
import socket
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from studio.errors import InvalidInput, NotFound, StudioError
from studio.messages import Message
from studio.ml import devices, hub, preview
from studio.ml.chat import ChatModel
from studio.ml.generate import Sampling
from studio.recipe import recipe_from_dict
from studio.run_folder import write_json
from studio.settings import Settings

log = logging.getLogger("studio.server")


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is understood; the rest is ignored, as their clients send more."""

    model: str = Field(max_length=1000)
    messages: list[Message] = Field(min_length=1, max_length=200)
    max_tokens: int = Field(200, ge=1, le=4096)
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    seed: int = 0
    stream: bool = False


def build_app(settings: Settings, token: str) -> FastAPI:
    """The application; `token` must come with every request as `Authorization: Bearer`."""

    def check_token(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "The token is missing or wrong.")

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check_token)])
    chat = ChatModel(settings)

    @app.exception_handler(StudioError)
    async def tell(_: Request, error: StudioError) -> JSONResponse:
        status = 404 if isinstance(error, NotFound) else 422 if isinstance(error, InvalidInput) else 409
        field = getattr(error, "field", None)
        return JSONResponse({"error": {"message": str(error), "field": field}}, status_code=status)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"device": devices.detect().sentence, "detail": asdict(devices.detect())}

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        runs = sorted(path.name for path in settings.runs.iterdir() if (path / "adapter").is_dir())
        return {"object": "list", "data": [{"id": f"run:{name}", "object": "model"} for name in runs]}

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(body: ChatRequest) -> StreamingResponse | dict[str, Any]:
        sampling = Sampling(body.max_tokens, body.temperature, body.top_p, body.seed)
        stop = threading.Event()
        pieces = chat.answer(body.model, body.messages, sampling, stop)
        first = await run_in_threadpool(next, pieces, None)  # errors of loading come before the stream begins
        if body.stream:
            return StreamingResponse(_events(body.model, first, pieces, stop), media_type="text/event-stream")
        with closing(pieces):  # type: ignore[type-var]
            text = (first or "") + await run_in_threadpool(lambda: "".join(pieces))
        return _completion(body.model, "chat.completion", message={"role": "assistant", "content": text})

    _add_studio_routes(app, settings)
    return app


def _add_studio_routes(app: FastAPI, settings: Settings) -> None:
    """What the pages ask: each takes a recipe as JSON and answers with plain values."""
    answers: dict[str, Callable[..., dict[str, Any]]] = {
        "model": preview.model,
        "dataset": preview.dataset,
        "plan": preview.plan,
    }
    for name, answer in answers.items():

        def route(body: dict[str, Any], answer: Callable[..., dict[str, Any]] = answer) -> dict[str, Any]:
            return answer(recipe_from_dict(body), settings)

        app.post(f"/studio/{name}")(route)

    @app.get("/studio/search")
    def search(text: str) -> list[dict[str, Any]]:
        return [asdict(model) for model in hub.search_models(text)]


async def _events(model: str, first: str | None, pieces: Any, stop: threading.Event) -> AsyncIterator[str]:
    """The answer as server-sent events. A client that goes away stops the generation at its next token."""
    try:
        piece = first
        while piece is not None:
            yield f"data: {json.dumps(_completion(model, 'chat.completion.chunk', delta={'content': piece}))}\n\n"
            piece = await run_in_threadpool(next, pieces, None)
        last = _completion(model, "chat.completion.chunk", delta={}, finish_reason="stop")
        yield f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    except StudioError as error:
        yield f"data: {json.dumps({'error': {'message': str(error)}})}\n\n"
    finally:
        stop.set()
        await asyncio.shield(run_in_threadpool(pieces.close))


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
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(sockets=[listener])


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; when it dies, however it dies, this reads an end of file."""
    while sys.stdin.buffer.read(1):
        continue
    log.info("The parent is gone")
    os._exit(0)
