"""The pages put together, and the server that shows them.

`build_app` makes a fresh app for a studio that it is handed; `run` opens the studio, serves until interrupted, closes.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import secrets
import signal
import socket
import sys
import threading
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

import studio
from studio.errors import Refused, StudioError
from studio.runs import RunStatus
from studio.services.studio import Studio
from studio.settings import DEFAULT_PORT, Settings
from studio.ui import chat_tab, export_tab, history_tab, model_tab, run_view, tune_tab
from studio.ui.data import tab as data_tab
from studio.ui.downloads import Downloads
from studio.ui.guard import Guard, make_login, trusted_hosts
from studio.ui.shared import AT_ONCE, START_DRAFT, Shared, piece

log = logging.getLogger("studio")

ASSETS = Path(__file__).resolve().parents[2] / "assets"
TICK_SECONDS = 2
ATTEMPTS = 3
"""To begin listening."""
TABS = (
    ("model", "1 Model"),
    ("data", "2 Data"),
    ("tune", "3 Fine-tune"),
    ("chat", "4 Chat"),
    ("export", "5 Export"),
    ("history", "History"),
)


def build_app(opened: Studio, downloads: Downloads) -> gr.Blocks:
    """The app with all tabs: layout first, then the events."""
    with gr.Blocks(
        title="Finetune Studio", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)
    ) as demo:
        secret = browser_secret(opened.settings)
        draft = gr.BrowserState(START_DRAFT, storage_key="finetune-studio-draft-2", secret=secret)
        sketch = gr.BrowserState(None, storage_key="finetune-studio-data", secret=secret)
        watched, preview, adopted, header_seen = gr.State(None), gr.State(0), gr.State(0), gr.State(None)
        timer = gr.Timer(TICK_SECONDS)
        header = piece(header_html("Idle", ""), elem_id="header")
        piece(notices_html(opened))
        with gr.Tabs(selected="model") as tabs:
            parts: dict[str, Any] = {}
            tab_items: dict[str, Any] = {}
            for name, label in TABS:
                with gr.Tab(label, id=name, elem_id=f"tab-{name}") as item:
                    parts[name] = BUILDERS[name]()
                tab_items[name] = item
        piece(f'<div class="frame-foot">Finetune Studio {studio.__version__}</div>')

        shared = Shared(opened, draft, watched, tabs, preview, adopted)
        steps = [tab_items[name] for name, _ in TABS[:3]]
        demo.load(_begin(opened), None, [watched, tabs, *steps], **AT_ONCE)
        gr.on(
            [timer.tick, demo.load],
            lambda seen: refresh_header(opened, seen),
            [header_seen],
            [header, header_seen],
            **AT_ONCE,
        )
        model_tab.connect(parts["model"], shared, demo)
        data_tab.connect(parts["data"], shared, demo, sketch, parts["tune"].fields, tab_items["data"].select)
        tune_tab.connect(parts["tune"], shared, demo, timer)
        parts["tune"].chat.click(lambda: gr.update(selected="chat"), None, [tabs], **AT_ONCE)
        chat_tab.connect(parts["chat"], shared, demo, tab_items["chat"].select)
        export_tab.connect(parts["export"], shared, downloads, tab_items["export"].select)
        history_tab.connect(parts["history"], shared, demo, tab_items["history"].select)
    return demo


BUILDERS = {
    "model": model_tab.build,
    "data": data_tab.build,
    "tune": tune_tab.build,
    "chat": chat_tab.build,
    "export": export_tab.build,
    "history": history_tab.build,
}


def browser_secret(settings: Settings) -> str:
    """The key under which browsers keep the draft: the same after a restart, so that a reload loses nothing."""
    file = settings.home / "browser.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _begin(opened: Studio) -> Any:
    def begin(request: gr.Request) -> list[Any]:
        """Where a visitor starts: the tab that the address names, and the run that is going on or was last."""
        wanted = request.query_params.get("tab", "")
        tab = wanted if wanted in dict(TABS) else "model"
        live = opened.live_run()
        newest = opened.history.runs(limit=1)
        run = live or (newest[0] if newest else None)
        return [run.id if run else None, gr.update(selected=tab), *ticks(opened)]

    return begin


def ticks(opened: Studio) -> list[Any]:
    """Names of the five steps with a tick where there is something: model and data always are chosen."""
    trained = any(run.status in (RunStatus.FINISHED, RunStatus.STOPPED) for run in opened.history.runs(limit=50))
    done = {"model": True, "data": True, "tune": trained}
    return [gr.update(label=f"✓ {label}" if done.get(name) else label) for name, label in TABS[:3]]


def header_html(now: str, device: str) -> str:
    """The line on top: name, what is going on, device, light and dark. `now` is HTML, `device` is text."""
    return (
        f'<div class="frame-head"><b>Finetune Studio</b><span class="now">{now}</span>'
        f'<span class="dev">{escape(device)}</span>'
        '<button id="theme-switch" aria-label="Switch between light and dark">light / dark</button></div>'
    )


def notices_html(opened: Studio) -> str:
    """What the person should know before anything else: no starter model, a rebuilt database."""
    told = ""
    if opened.notice:
        told += run_view.say("warn", "Note", opened.notice)
    if not opened.settings.starter_model.is_dir():
        told += run_view.say(
            "warn",
            "No starter model",
            "It could not be fetched. Run `studio starter` with a network, or choose a model folder on the Model page.",
        )
    if opened.supervisor is None:
        told += run_view.say(
            "note", "Second window", "Another studio process on this home runs the queue; this one shows it."
        )
    return told


def refresh_header(opened: Studio, seen: Any) -> list[Any]:
    """The header if it says something new. Asks the model server only when it is there: a tick must not wait."""
    try:
        live = opened.live_run()
        last = opened.history.last_metrics(live.id) if live else {}
        device = opened.server.device()["device"] if opened.server.ready else "the model server is starting"
    except StudioError:
        return [gr.skip(), gr.skip()]
    state = [run_view.now_sentence(live, last), device]
    return [gr.skip(), gr.skip()] if state == seen else [header_html(*state), state]


def free_port(settings: Settings) -> int:
    """The port to listen on: the one asked for, else the first free one from 7860 on, and it is said which."""
    wanted = settings.port or DEFAULT_PORT
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                continue
        if port != wanted:
            print(f"Port {wanted} is in use, so this studio takes {port}.", flush=True)
        return port
    raise Refused(f"The ports {wanted} to {wanted + 99} are all in use. Choose another with --port.")


def closed_paths(settings: Settings) -> list[str]:
    """Everything in the home but the folder that browsers upload into: gradio refuses to read a blocked upload."""
    folders = (settings.models, settings.uploads, settings.data_cache, settings.runs, settings.trash, settings.logs)
    inside = {*folders, *settings.home.iterdir()} - {settings.temporary}
    return sorted(str(path) for path in inside)


def launch(opened: Studio) -> tuple[gr.Blocks, str]:
    """Serve the pages; returns the app and its URL. Raises Refused when no attempt to listen succeeds."""
    for _ in range(ATTEMPTS):
        try:
            return _serve(opened)
        except OSError as error:  # the port was taken after we looked, or a busy machine answered gradio too late
            log.warning("The pages could not be served: %s", error)
    raise Refused(
        f"The pages could not be served after {ATTEMPTS} attempts: another program takes the port, or the machine is "
        "too busy. Try again, or choose another port with --port."
    )


def _serve(opened: Studio) -> tuple[gr.Blocks, str]:
    """One attempt to listen. Every argument that is not gradio's default is there for safety."""
    settings = opened.settings
    downloads = Downloads()
    demo = build_app(opened, downloads)
    login = make_login(settings)
    port = free_port(settings)
    _, url, share_url = demo.queue(max_size=200, default_concurrency_limit=8, api_open=False).launch(
        server_name=settings.host,
        server_port=port,
        auth=login,
        share=settings.share,
        inbrowser=settings.open_browser,
        prevent_thread_lock=True,
        quiet=True,
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        strict_cors=True,
        allowed_paths=[],
        blocked_paths=closed_paths(settings),
        max_file_size="4gb",
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        footer_links=[],
        app_kwargs={
            "middleware": [
                Middleware(TrustedHostMiddleware, allowed_hosts=trusted_hosts(settings)),
                Middleware(Guard),
            ],
            "routes": [downloads.route()],
        },
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css_paths=[str(ASSETS / "style.css")],
        head=f"<script>{(ASSETS / 'studio.js').read_text(encoding='utf-8')}</script>",
    )
    if login:
        print(f"Others can reach this studio. Log in as {login[0]} with the password {login[1]}", flush=True)
    return demo, share_url or url


def run(settings: Settings) -> None:
    """Open the studio, serve the pages until Ctrl-C or SIGTERM, close. Trainings go on without us."""
    log_to_file(settings)
    opened = Studio.open(settings)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    try:
        _, url = launch(opened)
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        print(f"Finetune Studio is at {url}", flush=True)
        opened.server.start()
        while not ended.wait(timeout=0.5):
            continue  # a signal that another thread caught is handled only when this one wakes up
        live = opened.live_run()
        if live is not None and live.status.is_live:
            print(f"{live.name} goes on training. Start the studio again to watch it.", flush=True)
    finally:
        opened.close()
    sys.stdout.flush()
    os._exit(0)  # gradio would wait for every browser that is still connected


def log_to_file(settings: Settings) -> None:
    """Everything that the studio logs goes to logs/studio.log, in at most four files of 5 MB."""
    handler = logging.handlers.RotatingFileHandler(settings.logs / "studio.log", maxBytes=5_000_000, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    log.setLevel(logging.INFO)
