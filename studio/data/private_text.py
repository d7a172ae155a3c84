"""What should not be taught: e-mail addresses, keys and passwords in a text, found and masked.

Knows plain text alone. It looks for the shapes that issuers of keys have published and for "password: …"; it is no
guarantee that nothing private is left, and the pages say so. Every pattern runs in time linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EMAIL_PLACEHOLDER = "[e-mail]"
SECRET_PLACEHOLDER = "[secret]"


@dataclass(frozen=True)
class _Shape:
    """One kind of secret: a pattern, and small letters without which it cannot match, which cost far less to look for.

    Where the pattern has a group "value", that is the secret; otherwise the whole match is.
    """

    hints: frozenset[str]
    pattern: re.Pattern[str]


def _shape(pattern: str, *hints: str) -> _Shape:
    return _Shape(frozenset(hint.lower() for hint in hints), re.compile(pattern))


_VALUE_END = r"\s\"'`,;<>${}()\[\]*"  # quotes end a value; brackets and $ are placeholders such as ${TOKEN} or <key>
SHAPES = (
    _shape(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", "AKIA", "ASIA"),  # Amazon
    _shape(r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),  # GitHub
    _shape(r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b", "github_pat_"),
    _shape(r"\bglpat-[A-Za-z0-9_-]{20,100}", "glpat-"),  # GitLab
    _shape(r"\bsk-(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{20,250}", "sk-"),  # OpenAI, Anthropic and those like them
    _shape(r"\bhf_[A-Za-z0-9]{30,60}\b", "hf_"),  # Hugging Face
    _shape(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}", "xox"),  # Slack
    _shape(r"\bAIza[0-9A-Za-z_-]{35}", "AIza"),  # Google
    _shape(r"\b[sr]k_live_[0-9A-Za-z]{16,250}", "k_live_"),  # Stripe
    _shape(r"\beyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}", ".eyJ"),  # JSON web tokens
    _shape(
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-]|-(?!----)){0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
        "PRIVATE KEY-----",
    ),
    _shape(r"://[^\s/:@]{1,64}:(?P<value>[^\s/:@]{1,128})@[\w-]", "://"),  # https://name:password@host
    _shape(
        rf"(?i)\b(?:password|passwort|passwd|pwd)[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?"
        rf"(?P<value>(?=[^{_VALUE_END}]{{0,63}}[0-9!#@%&^?+=~])[^{_VALUE_END}]{{6,64}})",
        "passw",
        "pwd",
    ),
    _shape(
        r"(?i)(?:api[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|(?:access|auth)[_-]?token)[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
        r"(?P<value>(?=[A-Za-z_./+=-]{0,60}[0-9])[A-Za-z0-9_./+=-]{16,250})",
        "key",
        "secret",
        "token",
    ),
)
_HINTS = tuple(sorted(frozenset().union(*(shape.hints for shape in SHAPES))))

_EMAIL = re.compile(
    r"(?<![\w.+%-])(?!git@)[\w.+%-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}(?![\w@])"
)
"""`git@host:path` is how a repository is named, not a person's address."""


def has_secret(text: str) -> bool:
    """Whether something in `text` looks like a key or a password."""
    return any(shape.pattern.search(text) for shape in _possible(text))


def has_email(text: str) -> bool:
    """Whether an e-mail address stands in `text`."""
    return "@" in text and _EMAIL.search(text) is not None


def masked(text: str) -> str:
    """`text` with placeholders in the place of secrets and e-mail addresses; itself if there are none."""
    for shape in _possible(text):
        text = shape.pattern.sub(_without_value, text)
    return _EMAIL.sub(EMAIL_PLACEHOLDER, text) if "@" in text else text


def _possible(text: str) -> list[_Shape]:
    """The shapes that can match at all: nearly always none, which is what keeps millions of rows quick."""
    small = text.lower()
    found = [hint for hint in _HINTS if hint in small]
    return [shape for shape in SHAPES if not shape.hints.isdisjoint(found)] if found else []


def _without_value(found: re.Match[str]) -> str:
    """The match with the secret in it replaced; `password: ` before it stays."""
    if "value" not in found.re.groupindex:
        return SECRET_PLACEHOLDER
    start, end = found.span("value")
    offset = found.start()
    whole = found.group()
    return whole[: start - offset] + SECRET_PLACEHOLDER + whole[end - offset :]
