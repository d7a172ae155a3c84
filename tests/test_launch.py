"""launch.py, the door for people: where it installs, when it installs, and what it says when it cannot.

It is loaded by its path, as it is no part of the package. Nothing here touches the network: where pip would
be called, the "python" is a small script that does what pip does on a bad day.
"""

import ast
import importlib.util
import os
import stat
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

LAUNCH = Path(__file__).resolve().parent.parent / "launch.py"
GIGABYTE = 10**9


def load_launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", LAUNCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


launch = load_launch()


def executable(path: Path, script: str) -> Path:
    """A small program at `path`, as real as any other to whoever starts it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def seconds_of(command: list[str], folder: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    begin = time.perf_counter()
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return time.perf_counter() - begin, ended


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as small as can be, with a studio that prints the arguments it is started with."""
    root = tmp_path / "a project"
    (root / "studio").mkdir(parents=True)
    (root / "launch.py").write_bytes(LAUNCH.read_bytes())
    (root / "pyproject.toml").write_text('[project]\nname = "tiny"\nversion = "1"\n')
    (root / "constraints.txt").write_text("numpy==2.0.0\ntorch==2.13.0\ntorchao==1.0\n")
    (root / "studio" / "__main__.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    return root


@pytest.fixture(autouse=True)
def an_ordinary_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLAB_RELEASE_TAG", "CONDA_PREFIX", "STUDIO_BROWSER"):
        monkeypatch.delenv(name, raising=False)


# --- where it installs ---


def test_a_plain_python_gets_an_environment_beside_launch(tmp_path: Path) -> None:
    folder = launch.environment_folder(tmp_path, ["--port", "7000"], {}, "/usr", "/usr")
    assert folder == tmp_path / ".venv"


def test_a_virtualenv_is_used_as_it_is(tmp_path: Path) -> None:
    assert launch.environment_folder(tmp_path, [], {}, "/home/ada/env", "/usr") == Path("/home/ada/env")


def test_an_active_conda_environment_is_used_as_it_is(tmp_path: Path) -> None:
    conda = tmp_path / "conda"
    (conda / "conda-meta").mkdir(parents=True)
    variables = {"CONDA_PREFIX": str(conda)}
    assert launch.environment_folder(tmp_path, [], variables, str(conda), str(conda)) == conda


def test_an_active_conda_does_not_count_for_another_python(tmp_path: Path) -> None:
    variables = {"CONDA_PREFIX": "/opt/conda"}
    assert launch.environment_folder(tmp_path, [], variables, "/usr", "/usr") == tmp_path / ".venv"


def test_no_venv_installs_into_the_running_python(tmp_path: Path) -> None:
    assert launch.environment_folder(tmp_path, ["--no-venv"], {}, "/usr", "/usr") == Path("/usr")


def test_colab_is_known_by_its_release(tmp_path: Path) -> None:
    variables = {"COLAB_RELEASE_TAG": "release-colab-2026"}
    assert launch.environment_folder(tmp_path, [], variables, "/usr", "/usr") == Path("/usr")


def test_colab_is_known_by_its_module(project: Path) -> None:
    # In processes of their own, because a `google` that was looked at once stays imported.
    question = [sys.executable, "-c", "import launch; print(launch.on_colab({}))"]
    assert seconds_of(question, project)[1].stdout == "False\n"
    (project / "google" / "colab").mkdir(parents=True)
    (project / "google" / "colab" / "__init__.py").touch()
    assert seconds_of(question, project)[1].stdout == "True\n"


# --- when it installs ---


def test_nothing_is_installed_before_the_first_stamp(project: Path) -> None:
    assert not launch.is_installed(project / "stamp", project, extra="")


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_asks_for_a_new_installation(project: Path, changed: str) -> None:
    stamp = project / "stamp"
    stamp.write_text(launch.fingerprint(project, ""))
    assert launch.is_installed(stamp, project, extra="")

    (project / changed).write_text("# something else\n")
    assert not launch.is_installed(stamp, project, extra="")


def test_the_test_extra_implies_the_plain_installation(project: Path) -> None:
    stamp = project / "stamp"
    stamp.write_text(launch.fingerprint(project, ""))
    assert not launch.is_installed(stamp, project, extra="test")

    stamp.write_text(launch.fingerprint(project, "test"))
    assert launch.is_installed(stamp, project, extra="test")
    assert launch.is_installed(stamp, project, extra="")


def test_a_moved_project_is_installed_again(project: Path) -> None:
    stamp = project / "stamp"
    stamp.write_text(launch.fingerprint(project, ""))
    moved = project.rename(project.with_name("moved"))
    assert not launch.is_installed(moved / "stamp", moved, extra="")


# --- the installation ---


def test_pip_gets_the_project_its_extra_and_the_constraints(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    python = executable(project / "python", 'pwd\necho "$@"')
    launch.install(str(python), project, project / "finetune-studio.stamp", "test")

    captured = capfd.readouterr()
    assert captured.err.startswith("Installing what the studio needs")  # so that `launch.py recipe > file` stays clean
    said = captured.out.splitlines()
    assert said[0] == str(project)
    assert said[1].startswith("-m pip install ")
    assert said[1].endswith(f"-c {project / 'constraints.txt'} -e .[test]")
    assert launch.is_installed(project / "finetune-studio.stamp", project, "test")


def failing_pip(path: Path, words: list[str]) -> Path:
    return executable(path, "\n".join(f"echo '{line}' >&2" for line in words) + "\nexit 1")


def test_a_missing_network_is_one_sentence_and_leaves_no_stamp(project: Path) -> None:
    words = [
        "WARNING: Retrying after connection broken by NameResolutionError",
        "ERROR: ResolutionImpossible",
    ]
    python = failing_pip(project / "python", words)
    stamp = project / "finetune-studio.stamp"
    stamp.write_text("of an older version")

    with pytest.raises(SystemExit) as ended:
        launch.install(str(python), project, stamp, "")
    log = project / "finetune-studio.log"
    why = "most likely there is no network"
    assert ended.value.code == (
        f"pip could not install the studio ({why}): see {log}, check the network and start again."
    )
    assert log.read_text().splitlines() == words
    assert not stamp.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["ERROR: No matching distribution found for torch", "error: subprocess", "note: end"],
            "No matching",
        ),
        (["error: externally-managed-environment", "", "hint: See PEP 668"], "externally-managed"),
        (["python: No module named pip"], "No module named pip"),
        ([], "silence"),
    ],
)
def test_any_other_failure_of_pip_is_told_by_its_last_error(project: Path, words: list[str], told: str) -> None:
    python = failing_pip(project / "python", words)
    with pytest.raises(SystemExit, match=rf"could not install the studio \(.*{told}.*\): see "):
        launch.install(str(python), project, project / "finetune-studio.stamp", "")


def test_colab_keeps_its_own_torch(project: Path) -> None:
    ours = (project / "constraints.txt").read_text()
    kept = launch.colab_constraints(ours, "2.12.1+cu130")
    assert kept.splitlines() == ["numpy==2.0.0", "torch==2.12.1+cu130", "torchao==1.0"]
    # A Colab machine without torch gets ours.
    assert launch.colab_constraints(ours, "").splitlines() == ours.splitlines()


def test_on_colab_pip_gets_the_rewritten_constraints(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab-2026")
    metadata = project / "torch-2.12.1+cu130.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.12.1+cu130\n")
    monkeypatch.syspath_prepend(project)
    python = executable(project / "python", 'echo "$@"')
    launch.install(str(python), project, project / "finetune-studio.stamp", "")

    rewritten = project / "finetune-studio.constraints.txt"
    assert f"-c {rewritten} -e ." in capfd.readouterr().out
    assert "torch==2.12.1+cu130\n" in rewritten.read_text()
    assert "torch==2.13.0\n" in (project / "constraints.txt").read_text()


def test_a_missing_venv_module_is_one_sentence(tmp_path: Path) -> None:
    python = executable(tmp_path / "python", "echo 'ensurepip is not available.'; exit 1")
    with pytest.raises(SystemExit, match=r"apt install python3-venv.*ensurepip is not available"):
        launch.make_environment(tmp_path / ".venv", str(tmp_path / ".venv" / "bin" / "python"), str(python))


def test_an_environment_that_can_run_pip_is_reused(tmp_path: Path) -> None:
    python = executable(tmp_path / ".venv" / "bin" / "python", "exit 0")
    launch.make_environment(tmp_path / ".venv", str(python), "/no/python/is/needed")


@pytest.mark.parametrize(("half_made", "options"), [(False, "--clear "), (True, "")])
def test_a_broken_environment_is_made_again_and_a_half_made_one_is_mended(
    tmp_path: Path, half_made: bool, options: str
) -> None:
    environment = tmp_path / ".venv"
    python = environment / "bin" / "python"
    if half_made:
        executable(python, "exit 1")
    base_python = executable(tmp_path / "python", f'echo "$@" > "{tmp_path}/arguments"')
    launch.make_environment(environment, str(python), str(base_python))
    assert (tmp_path / "arguments").read_text() == f"-m venv {options}{environment}\n"


# --- what it refuses ---


def test_too_old_a_python_is_one_sentence() -> None:
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; this one is 3\.8\.$"):
        launch.check_python((3, 8, 10))
    launch.check_python((3, 11, 0))


def test_too_little_disk_is_one_sentence_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"needs 6\.0 GB .* has 2\.5 GB: make room"):
        launch.check_disk(tmp_path, 2 * GIGABYTE + GIGABYTE // 2)
    launch.check_disk(tmp_path, 6 * GIGABYTE)


# --- the browser of the tests ---


def test_the_first_browser_in_the_list_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chromium = executable(tmp_path / "chromium", "exit 0")
    assert launch.browser_for_tests("no python is needed", launch.BROWSERS[:4]) == str(chromium)

    chrome = executable(tmp_path / "google-chrome-stable", "exit 0")
    assert launch.browser_for_tests("no python is needed", launch.BROWSERS[:4]) == str(chrome)


def test_a_browser_in_its_usual_place_need_not_be_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    usual = executable(tmp_path / "Google Chrome.app" / "Google Chrome", "exit 0")
    assert launch.browser_for_tests("no python is needed", ["google-chrome", str(usual)]) == str(usual)


def test_a_named_browser_wins_and_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    executable(tmp_path / "chromium", "exit 0")
    mine = executable(tmp_path / "my browser", "exit 0")
    monkeypatch.setenv("STUDIO_BROWSER", str(mine))
    assert launch.browser_for_tests("no python is needed", ["chromium"]) == str(mine)

    monkeypatch.setenv("STUDIO_BROWSER", str(tmp_path / "gone"))
    with pytest.raises(SystemExit, match="STUDIO_BROWSER"):
        launch.browser_for_tests("no python is needed", ["chromium"])


def test_without_a_browser_playwright_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    python = executable(tmp_path / "python", f'echo "$@" > "{tmp_path}/arguments"')
    assert launch.browser_for_tests(str(python), ["chromium"]) == ""
    assert (tmp_path / "arguments").read_text() == "-m playwright install chromium\n"


def test_root_on_debian_gets_chromium_from_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    chromium, asked = tmp_path / "the chromium of apt", tmp_path / "asked"
    executable(tmp_path / "apt-get", f'echo "$@" >> "{asked}"\n[ "$1" = update ] || cp "$0" "{chromium}"')
    no_playwright = executable(tmp_path / "python", "exit 1")

    assert launch.browser_for_tests(str(no_playwright), [chromium.name]) == str(chromium)
    assert asked.read_text() == "update\ninstall -y chromium\n"


def test_without_any_browser_the_tests_do_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    python = executable(tmp_path / "python", "exit 1")
    with pytest.raises(SystemExit, match="need Chrome or Chromium: install it, or name it"):
        launch.browser_for_tests(str(python), ["chromium"])


def test_the_checks_stop_at_the_first_failure(tmp_path: Path) -> None:
    python = executable(tmp_path / "python", 'echo "$STUDIO_BROWSER: $2 $3" >> done; [ "$2" != mypy ] || exit 5')
    assert launch.run_checks(str(python), tmp_path, ["-x"], "/a/browser") == 5
    assert (tmp_path / "done").read_text().splitlines() == [
        "/a/browser: ruff check",
        "/a/browser: ruff format",
        "/a/browser: mypy ",
    ]


def test_the_last_check_is_pytest_with_its_arguments(tmp_path: Path) -> None:
    python = executable(tmp_path / "python", 'echo "$@" > last')
    assert launch.run_checks(str(python), tmp_path, ["-k", "recipe"], "") == 0
    assert (tmp_path / "last").read_text() == "-m pytest -k recipe\n"


# --- the file itself ---


def test_launch_is_short_and_readable_by_old_pythons() -> None:
    source = LAUNCH.read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    assert len(source.splitlines()) <= 150
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_launch_starts_no_shell_and_leaves_sys_argv_alone() -> None:
    tree = ast.parse(LAUNCH.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if any(keyword.arg == "shell" for keyword in call.keywords)]
    assert "os.system" not in LAUNCH.read_text()
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "argv"][1:]


# --- the whole of it ---


def test_a_second_start_passes_all_flags_on_and_adds_less_than_a_second(project: Path) -> None:
    # The environment is the Python of this machine, with the stamp that a finished installation leaves.
    environment = project / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    (environment / "finetune-studio.stamp").write_text(launch.fingerprint(project, ""))
    base_python = os.path.realpath(sys.executable)
    flags = ["--port", "7861", "--share", "--home", "a b", "--allow-path=/data", "--unknown", "--help"]

    through, direct = [], []
    for _ in range(3):
        seconds, ended = seconds_of([base_python, "launch.py", *flags], project)
        assert (ended.stdout, ended.stderr, ended.returncode) == (f"{flags}\n", "", 7)
        through.append(seconds)
        seconds, ended = seconds_of([base_python, "-m", "studio", *flags], project)
        assert ended.returncode == 7
        direct.append(seconds)
    assert statistics.median(through) - statistics.median(direct) < 1.0


def test_no_venv_is_for_launch_itself_and_not_passed_on(project: Path) -> None:
    # `--no-venv` in a real virtual environment, so that the stamp does not land in the Python of the machine.
    environment = project / "mine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (environment / "finetune-studio.stamp").write_text(launch.fingerprint(project, ""))
    python = str(environment / "bin" / "python")
    _, ended = seconds_of([python, "launch.py", "--no-venv", "--host", "0.0.0.0"], project)
    assert (ended.stdout, ended.returncode) == ("['--host', '0.0.0.0']\n", 7)
    assert not (project / ".venv").exists()
