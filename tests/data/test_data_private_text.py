"""Keys, passwords and addresses are found and masked; ordinary sentences about them are left alone."""

from __future__ import annotations

import time

import pytest

from studio.data.private_text import has_email, has_secret, masked

KEYS = {
    "amazon": "AKIA" + "IOSFODNN7" + "ABCDEFG",
    "github": "ghp_" + "a1B2" * 9,
    "github fine-grained": "github_pat_" + "11ABCDEFG0" * 4,
    "gitlab": "glpat-" + "x1y2z3w4v5" * 2,
    "openai": "sk-proj-" + "Ab3dEf6hIj" * 4,
    "hugging face": "hf_" + "AbCdEfGhIj" * 3 + "4567",
    "slack": "xoxb-" + "123456789012-abcdefghij",
    "google": "AIza" + "SyA1234567" * 3 + "abcde",
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "web token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + "." + "SflKxwRJSMeKKF2QT4",
}
"""Made up, and put together here, so that nobody who looks for keys in this file finds one."""


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_are_known_by_their_shape_and_masked_whole(key: str) -> None:
    text = f"Use {key} for this."

    assert has_secret(text)
    assert masked(text) == "Use [secret] for this."


def test_a_private_key_is_masked_to_its_end() -> None:
    block = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"

    assert masked(f"Here:\n{block}\nThanks") == "Here:\n[secret]\nThanks"
    assert masked("Cut off: -----BEGIN PRIVATE KEY-----\nMIIEow") == "Cut off: [secret]"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("My password: hunter2!x", "My password: [secret]"),
        ('{"PASSWORD": "tr0ub4dor&3"}', '{"PASSWORD": "[secret]"}'),
        ("api_key = 'Zx81Zx81Zx81Zx81Zx81'", "api_key = '[secret]'"),
        ("psql postgres://ann:s3cr3t@db.example/x", "psql postgres://ann:[secret]@db.example/x"),
    ],
)
def test_only_the_value_that_is_assigned_is_masked(text: str, after: str) -> None:
    assert has_secret(text)
    assert masked(text) == after


@pytest.mark.parametrize(
    "text",
    [
        "The password: required, at least eight letters.",
        "password=${DB_PASSWORD}",
        "api_key = os.environ['API_KEY']",
        "The secret: patience and more patience.",
        "The key to a good risk-management-and-control-framework is care.",
        "token: the smallest unit of text that a model reads",
        "He asked me to come at 10:30@home",
    ],
)
def test_what_only_speaks_of_secrets_is_left_alone(text: str) -> None:
    assert not has_secret(text)
    assert masked(text) == text


def test_addresses_are_masked_and_what_resembles_them_is_not() -> None:
    assert masked("Write to Ann.Lee+x@mail.example.co.uk, or jörg@firma.de.") == "Write to [e-mail], or [e-mail]."
    for text in ("@property", "follow @ann", "git@github.com:ann/x.git", "a@b", "3 @ 4.50"):
        assert not has_email(text)
        assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a" * 400_000 + "@",
        "a@" * 100_000,
        "x@" + "a." * 200_000,
        "sk-" * 150_000,
        ".eyJ" + "eyJ" + "a" * 300_000,
        "password:" * 50_000,
        "secret_key=" + "a" * 300_000,
        "-----BEGIN PRIVATE KEY-----" * 10_000,
        "https://" + "a:" * 100_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.perf_counter()
    has_secret(text)
    has_email(text)
    masked(text)
    assert time.perf_counter() - started < 5
