"""The locks: requests from other sites, guessing passwords, names that are not ours, and what a bug may say."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.errors import Refused
from studio.settings import read_settings
from studio.ui.downloads import Downloads
from studio.ui.guard import Guard, make_login, told, trusted_hosts


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("no", 400) if request.url.path == "/login" else PlainTextResponse("ok")

    hosts = trusted_hosts(read_settings(tmp_path))
    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Guard)],
    )
    return TestClient(app, base_url="http://127.0.0.1:7860")


def test_our_own_page_and_programs_may_post(client: TestClient) -> None:
    assert client.post("/x", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client.post("/x").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_may_not_post_in_a_visitors_name(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/x", headers=headers).status_code == 403
    assert client.get("/x", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # following a link is fine


def test_a_foreign_name_pointed_at_us_is_refused(client: TestClient) -> None:
    assert client.get("/x", headers={"Host": "evil.example"}).status_code == 400


def test_the_sixth_wrong_password_in_a_minute_is_turned_away(client: TestClient) -> None:
    assert [client.post("/login").status_code for _ in range(6)] == [400] * 5 + [429]


def test_every_answer_forbids_framing_and_sniffing(client: TestClient) -> None:
    headers = client.get("/x").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_login_is_made_exactly_when_others_can_reach_the_pages(tmp_path: Path) -> None:
    assert make_login(read_settings(tmp_path)) is None
    user, password = make_login(read_settings(tmp_path, host="0.0.0.0")) or ("", "")
    assert user == "studio"
    assert len(password) >= 12
    assert make_login(read_settings(tmp_path, share=True)) != (user, password)


def test_a_refusal_reaches_the_page_as_it_is_and_a_bug_without_its_details() -> None:
    def refuse() -> None:
        raise Refused("The disk is full.")

    def fail() -> None:
        raise KeyError("secret detail")

    with pytest.raises(gr.Error, match=r"The disk is full\."):
        told(refuse)()
    with pytest.raises(gr.Error) as caught:
        told(fail)()
    assert "secret detail" not in str(caught.value)
    assert "log" in str(caught.value)


def test_a_download_needs_the_address_that_was_shown(tmp_path: Path) -> None:
    file = tmp_path / "adapter.zip"
    file.write_bytes(b"zipped")
    downloads = Downloads()
    client = TestClient(Starlette(routes=[downloads.route()]))
    assert client.get(f"/studio/files/{'x' * 32}/adapter.zip").status_code == 404
    link = downloads.link(file)
    assert downloads.link(file) == link
    assert client.get(link).content == b"zipped"
    assert client.get(link, headers={"Range": "bytes=0-2"}).content == b"zip"
    file.unlink()
    assert client.get(link).status_code == 404
