"""The command `studio`: the same jobs as the pages, without a browser.

    studio [ui]                 open the studio (what `python launch.py` starts)
    studio train recipe.yaml    train, show progress, wait
    studio chat RUN             ask base and adapter from the terminal
    studio export RUN           the adapter, or merged
    studio runs                 what was trained
    studio data inspect FILE    what is worth fixing in a dataset
    studio starter              fetch the starter model
    studio reindex              rebuild the database from the run folders

`worker` and `serve` are the doors of the studio's own processes. Each command imports what it needs by itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli_data import app as data_app
from studio.errors import StudioError
from studio.settings import Settings, read_settings
from studio.terminal import log_to_terminal

app = typer.Typer(add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data")
RunArgument = Annotated[str, typer.Argument(help="A run's name or id, as `studio runs` lists them.")]
Home = Annotated[Path | None, typer.Option(help="Folder for models, runs and the database.")]


@app.callback(invoke_without_command=True)
def start(  # noqa: PLR0913 - each is a flag of the command line
    context: typer.Context,
    home: Home = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need a login.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; without it the first free one from 7860 on.")] = None,
    share: Annotated[bool, typer.Option(help="Open a public gradio.live link, with a password.")] = False,
    allow_path: Annotated[list[Path] | None, typer.Option(help="Folder that may be named once exposed.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the default browser.")] = True,
) -> None:
    """Fine-tune a language model on the machine you have."""
    ways_in = {
        "host": host,
        "port": port,
        "share": share,
        "allow_paths": tuple(path.expanduser().resolve() for path in allow_path or []),
        "open_browser": browser,
    }
    context.obj = read_settings(home, **ways_in)
    if context.invoked_subcommand is None:
        open_ui(context.obj)


@app.command()
def ui(context: typer.Context) -> None:
    """Open the studio in the browser."""
    open_ui(context.obj)


def open_ui(settings: Settings) -> None:
    """Fetch the starter model if it is missing, then serve the pages until interrupted."""
    settings.make_folders()
    if not settings.starter_model.is_dir():
        from studio.services.starter import fetch_in_terminal

        fetch_in_terminal(settings)
    # Gradio reads these when it is imported: its cache belongs into our private folder, and it must not phone home.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.temporary / "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from studio.ui.app import run

    run(settings)


@app.command()
def starter(context: typer.Context) -> None:
    """Fetch the starter model now; prints where it came from."""
    from studio.ml.starter import ensure_starter

    context.obj.make_folders()

    def show(fraction: float, doing: str) -> None:
        filled = round(fraction * 24)
        end = "\n" if fraction >= 1 or not sys.stdout.isatty() else ""
        lead = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{lead}[{'#' * filled}{'.' * (24 - filled)}] Starter model: {doing}", end=end, flush=True)

    print(f"Starter model: {ensure_starter(context.obj, show)}.")


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML; `studio recipe` prints one to start from.")],
    name: Annotated[str, typer.Option(help="Name of the run; without it one is made up.")] = "",
) -> None:
    """Train a recipe and show its progress. Interrupting this leaves the run going; `studio stop` ends it."""
    from studio.recipe import read_recipe
    from studio.services.paths import from_here
    from studio.services.studio import Studio

    checked = from_here(read_recipe(recipe), Path.cwd())
    studio = Studio.open(context.obj)
    try:
        run_id = studio.start_run(checked, name)
        raise typer.Exit(follow(studio, run_id))
    finally:
        studio.close()


def follow(studio: Any, run_id: str) -> int:
    """Print a run's progress until it is over; returns 0 if it finished or was stopped."""
    from studio.runs import RunStatus

    folder = studio.folder(run_id)
    print(f"{folder.identity()['name']}  ({folder.path})", flush=True)
    offset = 0
    while True:
        run = folder.read_run()
        metrics, offset = folder.metrics(offset)
        for metric in metrics:
            if metric.name == "eval_loss" or (metric.name == "loss" and metric.step % 10 == 0):
                print(
                    f"step {metric.step:>5} of {run.total_steps}  {metric.name} {metric.value:.3f}",
                    flush=True,
                )
        if run.status.is_over:
            break
        time.sleep(0.5)
    print(f"{run.status}{': ' + run.cause if run.cause else ''}")
    for key, value in run.result.items():
        print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    return 0 if run.status in (RunStatus.FINISHED, RunStatus.STOPPED) else 1


@app.command()
def recipe(
    preset: Annotated[str, typer.Option(help="Quick look, Balanced or Thorough.")] = "Balanced",
) -> None:
    """Print a recipe in YAML, to save and change."""
    from studio.errors import InvalidInput
    from studio.recipe import PRESETS, Recipe

    if preset not in PRESETS:
        raise InvalidInput(f"There is no preset {preset}. There are: {', '.join(PRESETS)}.")
    print(Recipe().changed(**PRESETS[preset][1]).to_yaml(), end="")


@app.command()
def stop(context: typer.Context, run: RunArgument) -> None:
    """Ask a run (name or id) to stop at its next step, keeping what it learned."""
    from studio.services.studio import Studio

    studio = Studio.open(context.obj, start_runs=False)
    try:
        studio.stop_run(find_run(studio, run))
        print("It stops at its next step.")
    finally:
        studio.close()


def find_run(studio: Any, text: str) -> str:
    """The id of the run that `text` names: an id, or the newest run of that name. Raises NotFound."""
    from studio.errors import NotFound

    studio.sync()
    for run in studio.history.runs(limit=10_000):
        if text in (run.id, run.name):
            return str(run.id)
    raise NotFound(f"There is no run {text}. `studio runs` lists them.")


@app.command()
def runs(
    context: typer.Context,
    search: Annotated[str, typer.Option(help="Only runs with this in their name, model or dataset.")] = "",
) -> None:
    """List the runs, newest first."""
    from studio.services.studio import Studio

    studio = Studio.open(context.obj, start_runs=False)
    try:
        studio.sync()
        found = studio.history.runs(search=search)
        if not found:
            print("No runs yet. `studio train recipe.yaml` makes one.")
        for run in found:
            accuracy = run.result.get("accuracy_after")
            told = f"accuracy {accuracy:.0%}" if accuracy is not None else ""
            loss = run.result.get("eval_loss_last")
            told = told or (f"held-out loss {loss:.3f}" if loss is not None else "")
            print(f"{run.created_at:%Y-%m-%d %H:%M}  {run.name:<22} {run.status:<12} step {run.last_step:<6} {told}")
    finally:
        studio.close()


@app.command()
def chat(
    context: typer.Context,
    run: RunArgument,
    prompt: Annotated[str, typer.Option(help="Ask once and end; without it, ask again and again.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely word; higher is more varied.")] = 0.0,
) -> None:
    """Ask the base model and a run's adapter the same question."""
    from studio.services.model_server import ChatSettings, ModelServer
    from studio.services.studio import Studio

    studio = Studio.open(context.obj, start_runs=False)
    try:
        run_id = find_run(studio, run)
    finally:
        studio.close()  # a studio that is opened while we talk must not wait for us
    server = ModelServer(context.obj)
    try:
        questions = [prompt] if prompt else iter(lambda: input("you: ").strip(), "")
        for question in questions:
            for label, model in (("base", f"base:{run_id}"), (run, f"run:{run_id}")):
                print(f"{label}: ", end="", flush=True)
                settings = ChatSettings(max_tokens=max_tokens, temperature=temperature)
                for piece in server.chat(model, [{"role": "user", "content": question}], settings):
                    print(piece, end="", flush=True)
                print()
    except (EOFError, KeyboardInterrupt):
        print()
    finally:
        server.close()


@app.command()
def export(
    context: typer.Context,
    run: RunArgument,
    kind: Annotated[
        str, typer.Option(help="adapter (a zip for peft) or merged (a folder for transformers).")
    ] = "adapter",
) -> None:
    """Export a run; prints where it lies."""
    from studio.services.studio import Studio

    studio = Studio.open(context.obj, start_runs=False)
    try:
        run_id = find_run(studio, run)
        made = studio.export(run_id, kind)
        print(studio.export_path(run_id, made))
    finally:
        studio.close()


@app.command()
def reindex(context: typer.Context) -> None:
    """Rebuild the database from the run folders; the old one is set aside."""
    from studio.history import set_aside
    from studio.services.studio import Studio, refuse_if_supervised

    context.obj.make_folders()
    refuse_if_supervised(context.obj)
    aside = set_aside(context.obj.database_url)
    studio = Studio.open(context.obj, start_runs=False)
    try:
        studio.sync()
        print(f"{len(studio.history.ids())} runs are in the new database. The old one is {aside or 'gone'}.")
    finally:
        studio.close()


@app.command(hidden=True)
def worker(context: typer.Context, folder: Path, export: str = "", to: str = "") -> None:
    """The door of a job; started by the supervisor."""
    from studio.worker import run_export, run_training

    log_to_terminal()
    raise typer.Exit(run_export(folder, export, to, context.obj) if export else run_training(folder, context.obj))


@app.command(hidden=True)
def serve(context: typer.Context, port_file: Annotated[Path, typer.Option()]) -> None:
    """The door of the model server; started by the pages."""
    from studio.server import serve as listen

    log_to_terminal()
    listen(context.obj, port_file)


def main() -> None:
    """Run the command; what the studio refuses is one sentence on the terminal and exit code 1."""
    try:
        app()
    except StudioError as error:
        print(str(error), file=sys.stderr)
        sys.exit(1)
