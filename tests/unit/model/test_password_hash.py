"""Hashes of passwords: what is made is accepted, and what costs too much or too little is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.password_hash import (
    MAX_PASSWORD_BYTES,
    SALT_BYTES,
    hash_password,
    hash_problem,
    password_problem,
    verify_password,
)

SALT = "AAAAAAAAAAAAAAAAAAAAAA"
SUM = "A" * 43
PASSWORD = "correct horse battery"


def test_a_new_hash_is_usable_and_only_its_password_matches() -> None:
    made = hash_password(PASSWORD, bytes(SALT_BYTES))
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_problem(made) is None
    assert verify_password(PASSWORD, made)
    assert not verify_password(PASSWORD + " ", made)
    assert not verify_password("", made)
    assert hash_password(PASSWORD, b"1" * SALT_BYTES) != made


def test_a_password_matches_however_its_characters_are_composed() -> None:
    made = hash_password("pässwörter sind lang", bytes(SALT_BYTES))
    assert verify_password("pa\u0308sswo\u0308rter sind lang", made)


def test_a_password_that_is_too_long_never_matches() -> None:
    """Also not the hash of what it is replaced by."""
    assert not verify_password("x" * (MAX_PASSWORD_BYTES + 1), hash_password("", bytes(SALT_BYTES)))
    assert not verify_password("\ud800", hash_password(PASSWORD, bytes(SALT_BYTES)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a hash by Argon2id"),
        ("secret", "not a hash by Argon2id"),
        (f"$argon2i$v=19$m=19456,t=2,p=1${SALT}${SUM}", "not a hash by Argon2id"),
        (f"$argon2id$v=16$m=19456,t=2,p=1${SALT}${SUM}", "not a hash by Argon2id"),
        (f"$argon2id$v=19$m=19456,t=2,p=1,keyid=x${SALT}${SUM}", "not a hash by Argon2id"),
        (f"$argon2id$v=19$m=019456,t=2,p=1${SALT}${SUM}", "not a hash by Argon2id"),
        (f"$argon2id$v=19$m=19456,t=2,p=1${SALT}${SUM}\n", "not a hash by Argon2id"),
        (f"$argon2id$v=19$m=19456,t=2,p=1$A${SUM}", "has a salt"),
        (f"$argon2id$v=19$m=19456,t=2,p=1${SALT}${'A' * 600}", "not a hash by Argon2id"),
        (f"$argon2id$v=19$m=19456,t=2,p=1$AAAA${SUM}", "has a salt"),
        (f"$argon2id$v=19$m=19456,t=2,p=1${SALT}$AAAA", "has a salt"),
        (f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${SUM}", "costs too much"),
        (f"$argon2id$v=19$m=19456,t=9999999999,p=1${SALT}${SUM}", "costs too much"),
        (f"$argon2id$v=19$m=19456,t=2,p=255${SALT}${SUM}", "costs too much"),
        (f"$argon2id$v=19$m=8,t=9999,p=1${SALT}${SUM}", "too weak"),
        (f"$argon2id$v=19$m=19456,t=1,p=1${SALT}${SUM}", "too weak"),
    ],
)
def test_a_hash_that_cannot_be_used_is_refused_with_the_command_that_makes_one(text: str, why: str) -> None:
    found = hash_problem(text)
    assert found is not None
    assert why in found
    assert "`tts-receiver users hash`" in found


@pytest.mark.parametrize(("memory", "passes"), [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)])
def test_whatever_owasp_recommends_can_be_used(memory: int, passes: int) -> None:
    assert hash_problem(f"$argon2id$v=19$m={memory},t={passes},p=1${SALT}${SUM}") is None


@given(st.text() | st.from_regex(r"\A\$argon2id\$v=19\$m=\d{1,7},t=\d{1,4},p=\d{1,3}\$\w{0,30}\$\w{0,60}\Z"))
def test_any_text_is_a_hash_that_can_be_verified_or_is_refused(text: str) -> None:
    if hash_problem(text) is None:
        assert verify_password("x", text) in (True, False)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "fewer than 12"),
        ("x" * 1025, "more than 1024"),
        ("ü" * 513, "more than 1024"),
        ("a\x07" * 9, "control"),
    ],
)
def test_a_password_that_is_refused_says_why(password: str, why: str) -> None:
    assert why in (password_problem(password) or "")
