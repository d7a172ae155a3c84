"""The door for people: make the environment, install the studio when something changed, start it.

    python launch.py [--no-venv] [flags]                      start the studio; its flags pass as they are
    python launch.py [--no-venv] test [arguments of pytest]   run every check of the project

Standard library only, in a syntax that Python 3.6 reads, so that too old a Python ends with a sentence.
Every refusal is `sys.exit(sentence)`: the sentence on stderr, exit status 1, no traceback.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

INSTALL_BYTES = 6 * 10**9  # the packages unpacked; the CUDA build of torch is by far the largest
BROWSERS = ["google-chrome", "google-chrome-stable", "chromium", "chromium-browser"]
BROWSERS += [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Google Chrome", "Chromium")]
PROGRAMS = [os.path.expandvars(f"%{name}%") for name in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData")]
BROWSERS += [programs + r"\Google\Chrome\Application\chrome.exe" for programs in PROGRAMS]


def check_python(version: tuple) -> None:
    if version[:2] < (3, 11):
        sys.exit("Finetune Studio needs Python 3.11 or newer; this one is {}.{}.".format(*version[:2]))


def check_disk(folder: Path, free: int) -> None:
    if free < INSTALL_BYTES:
        both = f"{INSTALL_BYTES / 1e9:.1f} GB of free disk, and {folder} has {free / 1e9:.1f} GB"
        sys.exit(f"Installing needs {both}: make room and start again.")


def on_colab(variables: dict) -> bool:
    """The parent module is looked for first, because looking for the child of a missing one raises."""
    return "COLAB_RELEASE_TAG" in variables or all(map(importlib.util.find_spec, ("google", "google.colab")))


def environment_folder(root: Path, arguments: list, variables: dict, prefix: str, base_prefix: str) -> Path:
    """The running Python's own folder where that Python was chosen on purpose, else `.venv` beside us."""
    conda = "CONDA_PREFIX" in variables and (Path(prefix) / "conda-meta").is_dir()
    chosen = prefix != base_prefix or conda or on_colab(variables) or "--no-venv" in arguments
    return Path(prefix) if chosen else root / ".venv"


def make_environment(environment: Path, python: str, base_python: str) -> None:
    """Make the environment, or mend one that an interruption or a new system Python left without pip."""
    exists = Path(python).exists()
    if exists and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    command = [base_python, "-m", "venv", *([] if exists else ["--clear"]), str(environment)]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        advice = "most often the venv module is missing (Debian: apt install python3-venv)"
        said = " ".join(made.stdout.split())[:200]
        sys.exit(f"Python could not make {environment}, {advice}; it said: {said}")


def fingerprint(root: Path, extra: str) -> str:
    """Changes with all that asks for a new installation; with the root, because `-e` points there."""
    words = [extra, "{}.{}".format(*sys.version_info), str(root)]
    files = [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*files, *(word.encode() for word in words)])).hexdigest()


def is_installed(stamp: Path, root: Path, extra: str) -> bool:
    """The test extra implies the plain installation."""
    return stamp.exists() and stamp.read_text() in (fingerprint(root, extra), fingerprint(root, "test"))


def colab_constraints(constraints: str, torch: str) -> str:
    """Ours, but with Colab's own torch, which is the one that fits the driver of its GPU."""
    lines = constraints.splitlines()
    return "\n".join(f"torch=={torch}" if torch and line.startswith("torch==") else line for line in lines)


def install(python: str, root: Path, stamp: Path, extra: str) -> None:
    """The stamp is there only after a success, so that an interrupted installation starts again."""
    print("Installing what the studio needs (a few minutes the first time) ...", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    constraints, log = root / "constraints.txt", stamp.with_suffix(".log")
    if on_colab(os.environ):
        from importlib import metadata  # not above: the Pythons that check_python turns away lack it

        torch = next((found.version for found in metadata.distributions(name="torch")), "")
        constraints = stamp.with_suffix(".constraints.txt")
        constraints.write_text(colab_constraints((root / "constraints.txt").read_text(), torch))
    # A terminal gets pip's progress bars; elsewhere the line above has to do.
    command = [python, "-m", "pip", "install", *([] if sys.stdout.isatty() else ["--quiet"])]
    command += ["--no-input", "-c", str(constraints), "-e", f".[{extra}]" if extra else "."]
    with log.open("w") as errors:
        failed = subprocess.run(command, cwd=str(root), stderr=errors).returncode
    if failed:
        lines = [line.strip() for line in reversed(log.read_text().splitlines()) if line.strip()]
        said = next((line for mark in ("ERROR:", "error:", "") for line in lines if mark in line), "silence")
        why = "most likely there is no network" if "connection broken" in str(lines) else said
        sys.exit(f"pip could not install the studio ({why}): see {log}, check the network and start again.")
    stamp.write_text(fingerprint(root, extra))


def browser_for_tests(python: str, candidates: list) -> str:
    """A browser's path, installed if need be; empty when the tests are to take Playwright's own."""
    named = os.environ.get("STUDIO_BROWSER")
    found = next(filter(None, map(shutil.which, [named] if named else candidates)), "")
    if not found and not named:
        if subprocess.run([python, "-m", "playwright", "install", "chromium"]).returncode == 0:
            return ""
        if shutil.which("apt-get") and os.geteuid() == 0:
            subprocess.run(["apt-get", "update"])
            subprocess.run(["apt-get", "install", "-y", "chromium"])
        found = next(filter(None, map(shutil.which, candidates)), "")
    return found or sys.exit("The tests need Chrome or Chromium: install it, or name it in STUDIO_BROWSER.")


def run_checks(python: str, root: Path, arguments: list, browser: str) -> int:
    """Stops at the first check that fails, with its exit status."""
    variables = dict(os.environ, STUDIO_BROWSER=browser)
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["pytest", *arguments])
    runs = (subprocess.call([python, "-m", *check], cwd=str(root), env=variables) for check in checks)
    return next(filter(None, runs), 0)


def main(arguments: list, root: Path) -> int:
    check_python(sys.version_info)
    environment = environment_folder(root, arguments, os.environ, sys.prefix, sys.base_prefix)
    arguments = [argument for argument in arguments if argument != "--no-venv"]
    extra = "test" if arguments[:1] == ["test"] else ""
    own, stamp = environment != Path(sys.prefix), environment / "finetune-studio.stamp"
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    python = str(environment / inside) if own else sys.executable
    if not (Path(python).exists() and is_installed(stamp, root, extra)):
        check_disk(environment.parent, shutil.disk_usage(environment.parent).free)
        if own:
            make_environment(environment, python, sys.executable)
        install(python, root, stamp, extra)
    if extra:
        return run_checks(python, root, arguments[1:], browser_for_tests(python, BROWSERS))
    command = [python, "-m", "studio", *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(python, command)  # the studio takes this process's place, so that signals reach it


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent))
    except (KeyboardInterrupt, OSError) as error:  # OSError: such as a folder that may not be written to
        sys.exit("launch.py ended: {}.".format(str(error) or "interrupted"))
