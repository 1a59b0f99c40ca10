"""What one can log in with: found exactly, in the same time whether a name exists or not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from receiver.model.password_hash import hash_password
from receiver.settings.api import TokenRole
from receiver.web.api.problems import ProblemError
from receiver.web.console.credentials import MAX_HASHES, MAX_WAITING, Credential, CredentialKind, Credentials
from tests.integration.intake_support import configured

pytestmark = pytest.mark.anyio

TOKEN = "token-of-the-tests-0123456789"
PASSWORD = "correct horse battery"
COSTLY = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43


def credentials(tmp_path: Path, **users: Any) -> Credentials:
    tokens = [{"id": "shop", "token": TOKEN}]
    return Credentials(configured(tmp_path, api={"tokens": tokens}, console={"users": users}))


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    known = credentials(tmp_path, anna={"password_hash": COSTLY})

    async def seconds(name: str) -> float:
        begun = time.perf_counter()
        assert await known.of_password(name, PASSWORD) is None
        return time.perf_counter() - begun

    known_name = min([await seconds("anna") for _ in range(3)])
    for name in ("nobody", "", "x" * 60_000, "\ud800"):
        assert await seconds(name) > known_name / 10


async def test_an_unknown_name_always_costs_what_one_user_does_also_after_a_restart(tmp_path: Path) -> None:
    """Users may have hashes of different cost: a name whose cost varies would not exist."""
    users = {name: {"password_hash": hash_password(PASSWORD, name.encode() * 4)} for name in ("anna", "bert", "cleo")}
    first, second = (credentials(tmp_path, **users) for _ in range(2))
    substitutes = {name: first._substitute(name) for name in map(str, range(100))}
    assert substitutes == {name: second._substitute(name) for name in substitutes}
    assert set(substitutes.values()) == {user["password_hash"] for user in users.values()}


async def test_the_password_of_the_substitute_lets_nobody_in(tmp_path: Path) -> None:
    known = credentials(tmp_path, anna={"password_hash": hash_password(PASSWORD, b"0" * 16)})
    assert await known.of_password("nobody", PASSWORD) is None
    assert await known.of_password("anna", PASSWORD) is not None


async def test_passwords_are_compared_a_few_at_a_time(tmp_path: Path) -> None:
    known = credentials(tmp_path, anna={"password_hash": COSTLY})
    bound = MAX_HASHES + MAX_WAITING
    attempts = [asyncio.create_task(known.of_password("anna", PASSWORD)) for _ in range(bound)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as refusal:
        await known.of_password("anna", PASSWORD)
    assert (refusal.value.status, refusal.value.reason) == (503, "too_many_logins")
    for attempt in attempts[MAX_HASHES:]:
        attempt.cancel()  # their clients have disconnected
    assert set(await asyncio.gather(*attempts[:MAX_HASHES])) == {None}
    assert await known.of_password("anna", PASSWORD) is None


async def test_a_credential_is_found_by_kind_and_name_and_shows_no_secret(tmp_path: Path) -> None:
    known = credentials(tmp_path, anna={"password_hash": COSTLY, "role": "operator"})
    anna = known.get("user", "anna")
    assert anna == Credential(CredentialKind.USER, "anna", TokenRole.OPERATOR, COSTLY)
    assert known.of_token(TOKEN) == known.get("token", "shop")
    for kind, actor in (("token", "anna"), ("user", "shop"), ("later", "anna")):
        assert known.get(kind, actor) is None
    assert COSTLY not in repr(anna)
    assert anna.seal("a") != anna.seal("b")


async def test_without_users_no_password_is_compared(tmp_path: Path) -> None:
    known = credentials(tmp_path)
    assert not known.has_users
    assert await known.of_password("anna", PASSWORD) is None
