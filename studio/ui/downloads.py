"""Links to files on this machine that a page may hand out: an unguessable address a file, made when it is shown.

Gradio's own file components copy the file into a cache first (twice the disk) and open whole folders to every visitor.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route


class Downloads:
    """Remembers which address stands for which file, for as long as this process lives."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._addresses: dict[Path, str] = {}

    def link(self, path: Path) -> str:
        """The address of `path`; the same file keeps its address."""
        if path not in self._addresses:
            token = secrets.token_urlsafe(24)
            self._addresses[path] = token
            self._files[token] = path
        return f"/studio/files/{self._addresses[path]}/{path.name}"

    def route(self) -> Route:
        """The route that answers these addresses, with ranges, so that a broken download can go on."""
        return Route("/studio/files/{token}/{name}", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> Response:
        path = self._files.get(request.path_params["token"])
        if path is None or not path.is_file():
            return PlainTextResponse("This file is gone. Open the page again.", 404)
        return FileResponse(path, filename=path.name)
