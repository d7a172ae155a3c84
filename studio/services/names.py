"""Names for runs that people can say aloud, and folder names that no input can break out of."""

from __future__ import annotations

import random
import re
import secrets

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
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return cleaned[:40].strip("-") or "run"
