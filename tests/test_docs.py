"""The documents say what is true: commands exist, links lead somewhere, tables are what the code says.

    python tests/test_docs.py        # writes the tables that are made from the code, between their marks

Reads README, CONTRIBUTING, CHANGELOG and docs/; runs nothing of what they say.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from typer.core import TyperArgument, TyperOption
from typer.main import get_command

from studio.cli import app
from studio.errors import InvalidInput
from studio.recipe import PRESETS, Recipe, field_help, field_limits

ROOT = Path(__file__).resolve().parent.parent
STUDIO = ROOT / "studio"
GUIDE = ROOT / "docs" / "guide"
FOR_USERS = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
PAGES = [*FOR_USERS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

LONGEST_LINE = 120
"""Of prose; a row of a table is one line, however long."""
FIELDS = [
    f"{part}.{field}"
    for part, info in Recipe.model_fields.items()
    for field in info.annotation.model_fields  # type: ignore[union-attr]
]
STUDIO_COMMAND: Any = get_command(app)
"""The tree that the command `studio` is made from; the names of its parts are typer's and click's own."""


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=page_name)
each_page_for_users = pytest.mark.parametrize("page", FOR_USERS, ids=page_name)


# -- reading Markdown ---------------------------------------------------------------------------------------------

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
INLINE_CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_lines(text: str) -> list[str]:
    """The lines of the fenced blocks, without the fences."""
    return [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]


def code_spans(text: str) -> list[str]:
    """What stands between backticks in the prose, in one line each."""
    return [" ".join(span.split()) for span in INLINE_CODE.findall(FENCE.sub("", text))]


def prose(text: str) -> str:
    """The text without code and comments; links keep their words and lose their address."""
    text = INLINE_CODE.sub("", COMMENT.sub("", FENCE.sub("", text)))
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)


# -- commands -----------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"(?:\.venv/bin/)?(?:python (?:launch\.py|-m studio|benchmarks/\S+)|studio)(?: .*)?")


def commands_in(text: str) -> Iterator[tuple[list[str], bool]]:
    """(words, whether it must be complete) of every command of ours; one inside a sentence may be a mere mention."""
    for places, complete in ((code_lines(text), True), (code_spans(text), False)):
        for line in filter(COMMAND.fullmatch, places):
            words = shlex.split(line.removeprefix(".venv/bin/"), comments=True)
            yield words[: words.index(">")] if ">" in words else words, complete


def problem_of(words: list[str], complete: bool) -> str:
    """What is wrong with a command; empty if nothing is."""
    match words:
        case ["python", "launch.py", *rest]:
            rest = [word for word in rest if word != "--no-venv"]
            if rest[:1] == ["test"]:
                return missing_paths([word for word in rest[1:] if not word.startswith("-")])
            return problem_of_studio(rest, complete)
        case ["studio", *rest] | ["python", "-m", "studio", *rest]:
            return problem_of_studio(rest, complete)
        case ["python", script, *rest]:
            source = read(ROOT / script) if (ROOT / script).is_file() else ""
            options = [word for word in rest if word.startswith("--")]
            unknown = [option for option in options if f'add_argument("{option}"' not in source]
            return missing_paths([script]) or " and ".join(f"{script} has no option {option}" for option in unknown)
    return "it is no command of ours"


def missing_paths(paths: list[str]) -> str:
    return " and ".join(f"there is no {path}" for path in paths if not (ROOT / path.split("::")[0]).exists())


def problem_of_studio(words: list[str], complete: bool) -> str:
    """What is wrong with the arguments of `studio`, by its own tree of commands."""
    command, values, waiting = STUDIO_COMMAND, [], iter(words)
    for word in waiting:
        if word.startswith("-"):
            name, is_joined, _ = word.partition("=")
            options = {n: p for p in command.params if isinstance(p, TyperOption) for n in names_of(p)}
            if name not in (*options, "--help"):
                return f"{command.name} has no option {name}"
            if name in options and not options[name].is_flag and not is_joined and next(waiting, None) is None:
                return f"{name} needs a value"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"there is no command {command.name or 'studio'} {word}"
            command = command.commands[word]
        else:
            values.append(word)
    arguments = [parameter for parameter in command.params if isinstance(parameter, TyperArgument)]
    needed = sum(argument.required for argument in arguments) if complete else 0
    if not needed <= len(values) <= len(arguments):
        return f"{command.name} takes {len(arguments)} arguments and not {len(values)}"
    return ""


def names_of(option: TyperOption) -> list[str]:
    return [*option.opts, *option.secondary_opts]


@each_page
def test_every_command_exists(page: Path) -> None:
    problems = {
        " ".join(words): problem
        for words, complete in commands_in(read(page))
        if (problem := problem_of(words, complete))
    }
    assert problems == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`studio train`", ""),
        ("```\nstudio train\n```", "train takes 1 arguments and not 0"),
        ("```\nstudio --home here train my.yaml --name=first > log\n```", ""),
        ("```\nstudio recipe --home here\n```", "recipe has no option --home"),
        ("`python launch.py trian my.yaml`", "there is no command studio trian"),
        ("`python launch.py --no-venv test tests/nowhere -x`", "there is no tests/nowhere"),
        ("`python launch.py --port`", "--port needs a value"),
        ("`.venv/bin/python benchmarks/train_speed.py --slow`", "benchmarks/train_speed.py has no option --slow"),
    ],
)
def test_a_wrong_command_would_be_noticed(text: str, problem: str) -> None:
    ((words, complete),) = commands_in(text)
    assert problem_of(words, complete) == problem


# -- links, paths and names ---------------------------------------------------------------------------------------

PATH = re.compile(r"(?:studio|tests|docs|benchmarks|assets)/[\w./-]*\w")
FIELD = re.compile(rf"(?:{'|'.join(Recipe.model_fields)})\.\w+")
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|tmp|home)\b|\.\./shared")


def anchors_of(page: Path) -> set[str]:
    """The anchors that a page's headings get: small letters, dashes for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(INLINE_CODE.sub("", FENCE.sub("", read(page)))):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert not broken, f"{page_name(page)} links to what is not there: {', '.join(broken)}"


@each_page
def test_every_named_file_of_this_project_exists(page: Path) -> None:
    paths = filter(PATH.fullmatch, code_spans(read(page)))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@each_page
def test_every_named_field_is_one_of_the_recipe(page: Path) -> None:
    named = set(filter(FIELD.fullmatch, code_spans(read(page))))
    assert named - set(FIELDS) == set()


@each_page
def test_no_page_names_the_machine_it_was_written_on(page: Path) -> None:
    assert MACHINE.findall(read(page)) == []


def test_the_guide_links_to_each_of_its_pages() -> None:
    linked = set(LINK.findall(read(GUIDE / "index.md")))
    assert {page.name for page in GUIDE.glob("*.md")} - linked == {"index.md"}


# -- the map of the house -----------------------------------------------------------------------------------------


def the_map() -> dict[str, str]:
    """Path -> comment of every line of the README's map; a folder's path ends with a slash."""
    house = read(ROOT / "README.md").partition("\n## The house\n")[2]
    entries: dict[str, str] = {}
    folders: list[str] = []
    for line in code_lines(house.partition("\n## ")[0]):
        name, _, comment = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        path = "".join(folders[:depth]) + name
        if name.endswith("/"):
            folders[depth:] = [name]
        entries[path] = comment.strip()
    return entries


def test_the_map_names_exactly_the_files_of_the_studio() -> None:
    there = {file.relative_to(ROOT).as_posix() for file in STUDIO.rglob("*.py")}
    mapped = {path for path in the_map() if path.startswith("studio/") and not path.endswith("/")}
    assert not there - mapped, f"the README's map lacks {', '.join(sorted(there - mapped))}"
    assert not mapped - there, f"the README's map names what is gone: {', '.join(sorted(mapped - there))}"


def test_the_map_says_what_each_thing_is() -> None:
    entries = the_map()
    assert [path for path in entries if not (ROOT / path).exists()] == []
    assert [path for path, comment in entries.items() if not comment] == ["studio/"]


# -- refusals -----------------------------------------------------------------------------------------------------

QUOTED = re.compile(r"\"([^\"]+)\"")


def sentences_in_the_code() -> str:
    """Every text of the code, one a line, with dots in the place of what is filled in."""
    found = []
    for file in [ROOT / "launch.py", *STUDIO.rglob("*.py")]:
        for node in ast.walk(ast.parse(read(file))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{\w*\}", "…", node.value))
    return "\n".join(" ".join(text.split()) for text in found)


def test_every_refusal_that_is_explained_is_still_said() -> None:
    said = sentences_in_the_code()
    explained = [" ".join(quote.split()) for quote in QUOTED.findall(FENCE.sub("", read(GUIDE / "troubles.md")))]
    assert len(explained) > 50
    gone = [sentence for sentence in explained if sentence not in said]
    assert not gone, f"troubles.md explains what nothing says any more: {gone}"


# -- how it is written --------------------------------------------------------------------------------------------


@each_page_for_users
def test_pages_are_written_in_plain_words(page: Path) -> None:
    text = prose(read(page))
    assert re.findall(r".*!.*", text) == [], "no exclamation marks"
    assert re.findall(r"(?i)\b(?:please|successfully|simply|easily)\b", text) == [], "words that say nothing"
    assert re.findall("[\u2600-\u27bf\U0001f000-\U0001faff]", text) == [], "no emoji"


@each_page_for_users
def test_lines_are_short_enough_to_read(page: Path) -> None:
    lines = [line for line in read(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


# -- tables made from the code ------------------------------------------------------------------------------------


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def fields_table() -> str:
    """Every field of a recipe: what it does, its default, what it may be, where it is set."""
    rows = [(f"`{n}`", field_help(n)[0], default_of(n), allowed_in(n), where_it_is(n)) for n in FIELDS]
    return table(("Field", "What it does", "Default", "Allowed", "Where"), rows)


def default_of(name: str) -> str:
    part, _, field = name.partition(".")
    value = getattr(getattr(Recipe(), part), field)
    return "empty" if value in (None, "", (), {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def allowed_in(name: str) -> str:
    """Limits with their unit, or the choices, or what kind of value it is."""
    part, _, field = name.partition(".")
    annotation = Recipe.model_fields[part].annotation.model_fields[field].annotation  # type: ignore[union-attr]
    low, high = field_limits(name)
    if low is not None and high is not None:
        first = f"{low:,.10g}" if is_allowed(name, low) else f"more than {low:,.10g}"
        return f"{first} to {high:,.10g} {field_help(name)[2]}"
    if annotation is bool:
        return "`true` or `false`"
    if get_origin(annotation) in (dict, tuple):
        return "role: column" if get_origin(annotation) is dict else "a list"
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    return ", ".join(f"`{choice}`" for choice in choices) or "text"


def is_allowed(name: str, value: float) -> bool:
    try:
        Recipe().changed(**{name: value})
    except InvalidInput:
        return False
    return True


def where_it_is(name: str) -> str:
    """The group of the Fine-tune page that holds the field, or the page that sets it."""
    from studio.ui.forms import BASIC, FOLDED

    groups = {field: group for group, fields in FOLDED.items() for field in fields}
    pages = {"model": "Model page", "data": "Data page", "cleaning": "Data page"}
    return "on top" if name in BASIC else groups.get(name) or pages[name.partition(".")[0]]


def presets_table() -> str:
    """What each preset is for and what it sets."""
    rows = [
        (name, sentence, ", ".join(f"`{field}` {value:g}" for field, value in changes.items()))
        for name, (sentence, changes) in PRESETS.items()
    ]
    return table(("Preset", "For", "Sets"), rows)


def commands_list() -> str:
    """The command, then each job that it can do, with arguments and options."""
    jobs = {name: command for name, command in STUDIO_COMMAND.commands.items() if not command.hidden}
    rows = [(f"`studio {name}`", first_line(command.help)) for name, command in jobs.items()]
    parts = ["### `studio`", first_line(STUDIO_COMMAND.help), *options_table(STUDIO_COMMAND)]
    parts.append(table(("Job", "What it does"), rows))
    for name, command in jobs.items():
        options = options_table(command)
        if options:
            arguments = [p.name.upper() for p in command.params if isinstance(p, TyperArgument)]
            parts += [f"### `{' '.join(['studio', name, *arguments])}`", first_line(command.help), *options]
    return "\n\n".join(parts)


def first_line(text: str | None) -> str:
    return " ".join((text or "").split())


def options_table(command: Any) -> list[str]:
    """One table of arguments and options; none where there are none."""
    rows = [option_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    return [table(("Option", "What it does", "Default"), rows)] if rows else []


def option_row(parameter: Any) -> tuple[str, str, str]:
    words = first_line(getattr(parameter, "help", ""))
    if isinstance(parameter, TyperArgument):
        return f"`{parameter.name.upper()}`", words, "has to be given" if parameter.required else ""
    if parameter.is_flag:
        default = parameter.opts[0] if parameter.default else (parameter.secondary_opts or [""])[0]
        return " or ".join(f"`{name}`" for name in names_of(parameter)), words, f"`{default}`" if default else ""
    if parameter.multiple:
        words += " Can be given more than once."
    default = f"`{parameter.default}`" if parameter.default not in (None, "", (), []) else ""
    return f"`{parameter.opts[0]} {parameter.name.upper()}`", words, default


MADE = {
    "fields": ("fine-tune.md", fields_table),
    "presets": ("fine-tune.md", presets_table),
    "commands": ("command-line.md", commands_list),
}
"""Name of the marks -> the page that holds them, and what belongs between them."""


def between_marks(mark: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- /{mark} -->)", re.DOTALL)


@pytest.mark.parametrize("mark", MADE)
def test_tables_are_what_the_code_says(mark: str) -> None:
    page, make = MADE[mark]
    (found,) = between_marks(mark).findall(read(GUIDE / page))
    wanted = make()
    assert found.strip() == wanted, f"{page} is behind the code; `python tests/test_docs.py` writes this:\n\n{wanted}"


def test_the_fields_table_knows_limits_choices_and_units() -> None:
    rows = {line.split("`")[1]: line for line in fields_table().splitlines()[2:]}
    assert list(rows) == FIELDS
    assert "| more than 0 to 1 per step |" in rows["training.learning_rate"]
    assert "| 0 to 1,000,000 steps |" in rows["training.max_steps"]
    assert "| `none`, `int8`, `nf4` | on top |" in rows["quantization.method"]
    assert "| empty | text | Model page |" in rows["model.revision"]


def write_tables() -> None:
    """Put what the code says between the marks."""
    for mark, (page, make) in MADE.items():
        text = read(GUIDE / page)
        made = f"\n{make()}\n\n"
        (GUIDE / page).write_text(between_marks(mark).sub(lambda _, made=made: made, text), encoding="utf-8")


if __name__ == "__main__":
    write_tables()
