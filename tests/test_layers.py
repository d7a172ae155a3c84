"""The house rules of docs/design.md, read off the imports and the sizes of every file of the studio.

Whoever knows which library a change touches knows which room to open: that only holds while these tests do.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDIO = ROOT / "studio"
FILES = sorted(STUDIO.rglob("*.py"))

ROOM_OF_LIBRARY = {
    "gradio": "ui",
    "sqlalchemy": "history",
    "alembic": "history",
    **dict.fromkeys(("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "safetensors"), "ml"),
    **dict.fromkeys(("datasets", "pyarrow", "cel", "ftfy", "rensa", "ijson", "charset_normalizer"), "data"),
}
DOORS = {"worker", "server", "cli", "cli_data", "__main__", "__init__"}
MAY_IMPORT = {
    "front": {"front"},
    "history": {"history", "front"},
    "data": {"data", "front"},
    "ml": {"ml", "data", "front"},
    "services": {"services", "history", "front"},
    "ui": {"ui", "services", "front"},
    "worker": {"ml", "front"},
    "server": {"ml", "front"},
    "cli": {"front", "services", "history", "ml", "ui", "worker", "server", "cli_data"},
    "cli_data": {"front", "services", "data", "ml", "server"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""Room or door -> the rooms of the studio it may import. The front door is every other file beside them."""

LONGEST_FILE = 300
LONGEST_FUNCTION = 50
MOST_FILES_IN_A_ROOM = 12
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "engine", "handler", "base", "core", "misc"}

LONGER_FILES: dict[str, str] = {}
LONGER_FUNCTIONS = {
    "ml/train.py _train": "one training, read from top to bottom",
    "ui/chat_tab.py build": "layout first, events after: a page is read in one piece",
    "ui/model_tab.py build": "layout first, events after: a page is read in one piece",
    "ui/tune_tab.py build": "layout first, events after: a page is read in one piece",
}
FULLER_ROOMS = {
    "ui": "one file a tab and the pieces that they share (docs/design.md)",
    "ui/data": "the largest tab: a file a card and a file a view, each with its HTML or its events",
    "ml": "one file a job with models and data: each is opened by the library call that it holds",
}
"""What is allowed to be larger, each with its reason. An entry that is not needed any more fails."""


def name_of(file: Path) -> str:
    return file.relative_to(STUDIO).as_posix()


def room_of(module: str) -> str:
    """`studio.ml.train` -> ml, `studio.worker` -> worker, `studio.recipe` -> front, `studio` -> __init__."""
    parts = module.split(".")[1:]
    if not parts:
        return "__init__"
    if parts[0] in MAY_IMPORT:
        return parts[0]
    return "front"


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for number, part in enumerate(parts) if part != "__init__" or number == 1)


def imports_of(file: Path) -> set[str]:
    """Every module that `file` imports anywhere in it, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)} imports relatively; write the whole name"
            module = str(node.module)
            found.add(module)
            # `from studio.services import names` imports a module, `from studio.runs import Run` does not
            found.update(f"{module}.{a.name}" for a in node.names if (ROOT / module.replace(".", "/")).is_dir())
    return found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_big_library_is_imported_in_its_own_room_only(file: Path) -> None:
    here = room_of(module_of(file))
    strangers = {
        imported
        for imported in imports_of(file)
        if (room := ROOM_OF_LIBRARY.get(imported.split(".")[0])) is not None and room != here
    }
    assert not strangers, f"{name_of(file)} is in {here} and imports {', '.join(sorted(strangers))}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_within_the_studio_point_one_way(file: Path) -> None:
    here = room_of(module_of(file))
    rooms = {imported: room_of(imported) for imported in imports_of(file) if imported.split(".")[0] == "studio"}
    wrong = {
        imported for imported, room in rooms.items() if room != "__init__" and room not in MAY_IMPORT[here] | {here}
    }
    assert not wrong, f"{name_of(file)} is in {here} and imports {', '.join(sorted(wrong))}"


def test_every_room_is_known_here() -> None:
    rooms = {folder.name for folder in STUDIO.iterdir() if (folder / "__init__.py").is_file()}
    assert rooms == {"data", "history", "ml", "services", "ui"}
    assert {file.stem for file in STUDIO.glob("*.py")} >= DOORS


def test_the_pages_process_loads_no_model_library() -> None:
    heavy = "torch transformers trl datasets peft bitsandbytes accelerate".split()
    program = f"import sys, studio.ui.app, studio.services.studio; print([n for n in {heavy} if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.strip() == "[]", ended.stdout + ended.stderr


def test_the_workers_door_loads_no_database_and_no_page() -> None:
    others = ["sqlalchemy", "gradio", "torch"]
    program = f"import sys, studio.worker, studio.cli; print([n for n in {others} if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.strip() == "[]", ended.stdout + ended.stderr


def test_files_stay_short_enough_to_read_in_one_go() -> None:
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    over = {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}
    check_against(over, LONGER_FILES, f"longer than {LONGEST_FILE} lines")


def test_functions_stay_short() -> None:
    over = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    over[f"{name_of(file)} {node.name}"] = lines
    check_against(over, LONGER_FUNCTIONS, f"longer than {LONGEST_FUNCTION} lines")


def test_rooms_hold_few_files() -> None:
    counts: dict[str, int] = {}
    for file in FILES:
        room = file.parent.relative_to(STUDIO).as_posix()
        if not room.startswith("history/migrations"):
            counts[room] = counts.get(room, 0) + 1
    counts["."] -= len(DOORS)  # the doors are no part of what the front door holds
    over = {room: count for room, count in counts.items() if count > MOST_FILES_IN_A_ROOM}
    check_against(over, FULLER_ROOMS, f"more than {MOST_FILES_IN_A_ROOM} files")


def check_against(over: dict[str, int], allowed: dict[str, str], what: str) -> None:
    unexpected = {name: number for name, number in over.items() if name not in allowed}
    assert not unexpected, f"{what}: {unexpected}. Split it, or give the reason here and in docs/design.md"
    assert not allowed.keys() - over.keys(), f"not {what} any more: {sorted(allowed.keys() - over.keys())}"


def test_nothing_has_a_name_that_says_nothing() -> None:
    empty = []
    for file in FILES:
        names = [file.stem, file.parent.name]
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names += [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        empty += [f"{name_of(file)}: {name}" for name in names if name.lower() in FORBIDDEN_NAMES]
        empty += [
            f"{name_of(file)}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and node.name.lower().endswith(("utils", "helper", "manager", "handler"))
        ]
    assert empty == []


def test_nothing_starts_a_shell() -> None:
    shells = [
        name_of(file)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert shells == []
