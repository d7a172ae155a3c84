"""Names for runs that people can say aloud, and folder names that no input can break out of."""

from __future__ import annotations

import random
import re
import secrets
import unicodedata

_QUALITIES = (
    "amber bold brave bright brisk calm clear clever crisp curious eager early fair fleet fresh gentle glad golden "
    "grand happy honest humble jolly keen kind lively lucky mellow merry mild modest neat noble patient plain proud "
    "quick quiet ready rosy sharp shiny silver smooth steady still sunny swift tidy true vivid warm wise witty young"
).split()
_ANIMALS = (
    "badger bear beaver bison crane deer dove eagle falcon finch fox gecko goose hare hawk heron horse ibis jay koala "
    "lark lemur lion lynx marten mole moose newt otter owl panda pony puffin quail rabbit raven robin salmon seal "
    "shrew sparrow spider squid stork swan swift tapir tiger toad trout turtle viper walrus whale wolf wombat wren"
).split()


_UNSEEN = {"Cc", "Cs", "Cn", "Co", "Zl", "Zp"}
_TURNS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: a name with one would change the line it stands in."""


_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
"""Names that Windows keeps for devices, with any ending."""


def one_line(text: str, longest: int = 80) -> str:
    """`text` as a name to show: one line of characters that can be seen; empty if nothing is left."""
    words = " ".join(text.split())
    kept = [c for c in words if unicodedata.category(c) not in _UNSEEN and c not in _TURNS]
    return "".join(kept)[:longest].strip()


def suffix(text: str) -> str:
    """A file's ending as a harmless one, with its dot: `.jsonl`; empty if it is none."""
    return text.lower() if re.fullmatch(r"\.[a-zA-Z0-9]{1,10}", text) else ""


def new_name(taken: set[str]) -> str:
    """A name like bright-otter that is not in `taken`; with a number once that has become hard."""
    chance = random.SystemRandom()
    for _ in range(50):
        name = f"{chance.choice(_QUALITIES)}-{chance.choice(_ANIMALS)}"
        if name not in taken:
            return name
    return f"{name}-{chance.randrange(100, 1000)}"


def new_id(name: str, timestamp: str) -> str:
    """A run's id and folder name: sortable, readable, unique."""
    return f"{timestamp}-{slug(name)}-{secrets.token_hex(2)}"


def slug(text: str) -> str:
    """`text` as a harmless file name: lower-case letters, digits and dashes, at most 40; "run" if nothing is left."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return f"{cleaned}-1" if cleaned in _DEVICES else cleaned or "run"
