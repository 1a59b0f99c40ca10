"""Sessions of the console: on every replica, through restarts, as long as what they were begun with is the same."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver import Settings
from receiver.assembly.receiver import build_receiver
from receiver.clock import SteadyClock
from receiver.model.password_hash import hash_password
from receiver.store import sessions
from receiver.store.sessions import SessionRow
from receiver.web.console import long_responses
from receiver.web.console.sessions import IDLE_SECONDS, LIFETIME_SECONDS
from tests.integration.api_support import BEARER, HOST, Api, api
from tests.integration.console_support import (
    COOKIE,
    HASH,
    PASSWORD,
    TOKENS,
    USERS,
    csrf,
    is_inside,
    log_in,
    logged_in,
    send_form,
    with_users,
)
from tests.integration.intake_support import started
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


class Time:
    """Time that a test lets pass: the wall clock and the monotonic one alike."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.clock = SteadyClock(lambda: time.time() + self.passed, lambda: time.monotonic() + self.passed)


@asynccontextmanager
async def api_at(settings: Settings, clock: SteadyClock) -> AsyncIterator[Api]:
    async with (
        started(build_receiver(settings, clock=clock)) as up,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=up.receiver.private), base_url=HOST, timeout=PATIENCE
        ) as client,
    ):
        yield Api(up, client)


def changed(name: str, **fields: Any) -> dict[str, Any]:
    """The users, one of them with other keys."""
    return {"users": {**USERS, name: {**USERS[name], **fields}}}


async def test_a_session_holds_through_a_restart_and_on_another_replica(tmp_path: Path) -> None:
    settings = with_users(tmp_path)
    async with api(settings) as client:
        cookie = f"{COOKIE}={await logged_in(client)}"
    async with api(settings) as client, api(settings) as other:
        for replica in (client, other):
            assert await is_inside(replica, cookie=cookie)
        other.client.cookies.set(COOKIE, cookie.partition("=")[2], domain="127.0.0.1", path="/console")
        answer = await send_form(other, "/console/logout", csrf=await csrf(other))
        assert answer.status_code == 303
        for replica in (client, other):
            assert not await is_inside(replica, cookie=cookie), "ended on one, ended on all"


@pytest.mark.parametrize(
    ("tables", "holds"),
    [
        ({}, True),
        ({"console": {"users": {**USERS, "cleo": USERS["ben"]}}}, True),
        ({"console": changed("anna", role="viewer")}, True),
        ({"console": changed("anna", password_hash=hash_password(PASSWORD, b"1" * 16))}, False),
        ({"console": {"users": {"ben": USERS["ben"]}}}, False),
        ({"console": {"users": {"ben": USERS["ben"]}}, "api": {"tokens": [{**TOKENS[0], "id": "anna"}]}}, False),
    ],
)
async def test_a_session_ends_when_its_user_is_removed_or_has_another_password(
    tmp_path: Path, tables: dict[str, Any], holds: bool
) -> None:
    async with api(with_users(tmp_path)) as client:
        cookie = f"{COOKIE}={await logged_in(client)}"
    async with api(with_users(tmp_path, **tables)) as client:
        assert await is_inside(client, cookie=cookie) == holds


@pytest.mark.parametrize(
    ("tokens", "holds"),
    [
        (TOKENS, True),
        ([{**TOKENS[0], "token": "another-token-0123456789"}], False),
        ([{**TOKENS[0], "id": "shop2"}], False),
        ([TOKENS[1]], False),
    ],
)
async def test_a_session_ends_when_its_token_is_removed_or_changed(
    tmp_path: Path, tokens: list[dict[str, str]], holds: bool
) -> None:
    async with api(with_users(tmp_path)) as client:
        answer = await send_form(client, "/console/login", token=TOKENS[0]["token"])
        cookie = answer.headers["set-cookie"].partition(";")[0]
    async with api(with_users(tmp_path, api={"tokens": tokens})) as client:
        assert await is_inside(client, cookie=cookie) == holds


async def test_the_role_is_that_of_the_configuration_now(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        cookie = f"{COOKIE}={await logged_in(client)}"
        assert "reads only" not in (await client.get("/console", cookie=cookie)).text
    async with api(with_users(tmp_path, console=changed("anna", role="viewer"))) as client:
        assert "reads only" in (await client.get("/console", cookie=cookie)).text


async def test_a_session_ends_after_its_lifetime_however_much_it_is_used(tmp_path: Path) -> None:
    at = Time()
    async with api_at(with_users(tmp_path), at.clock) as client:
        await logged_in(client)
        while at.passed < LIFETIME_SECONDS - IDLE_SECONDS / 2:
            at.passed += IDLE_SECONDS / 2
            assert await is_inside(client)
        at.passed += IDLE_SECONDS / 2
        assert not await is_inside(client)


async def test_a_session_ends_when_no_page_is_opened_although_one_updates_itself(tmp_path: Path) -> None:
    at = Time()
    async with api_at(with_users(tmp_path), at.clock) as client:
        await logged_in(client)
        for _ in range(3):
            at.passed += IDLE_SECONDS / 4
            assert (await client.get("/console", sec_fetch_mode="cors")).status_code == 200
        at.passed += IDLE_SECONDS / 4 + 1
        assert (await client.get("/console", sec_fetch_mode="cors")).status_code == 401
        assert not await is_inside(client)


async def test_the_store_has_nothing_that_lets_anybody_in(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        value = await logged_in(client)
        (row,) = client.up.rows("console_sessions")
        texts = [str(value) for value in row.values()]
        assert not any(secret in text for text in texts for secret in (value, HASH, PASSWORD))
        for text in (row["id"], row["credential"], row["id"][:43]):
            assert not await is_inside(client, cookie=f"{COOKIE}={text}")


async def test_a_row_that_somebody_writes_into_the_store_is_no_session(tmp_path: Path) -> None:
    """It would need a MAC of the password's hash, or of the token."""
    async with api(with_users(tmp_path)) as client:
        await logged_in(client)
        (row,) = client.up.rows("console_sessions")
        mine = "m" * 43
        planted = SessionRow(**{**row, "id": hashlib.sha256(mine.encode()).hexdigest()})
        await client.up.receiver.database.write(sessions.create, planted)
        client.client.cookies.clear()
        assert not await is_inside(client, cookie=f"{COOKIE}={mine}")


async def test_many_logins_leave_a_bounded_number_of_sessions(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        for _ in range(sessions.MAX_OF_ACTOR + 3):
            client.client.cookies.clear()
            await logged_in(client)
        assert len(client.up.rows("console_sessions")) == sessions.MAX_OF_ACTOR
        assert await is_inside(client)


async def test_too_many_failed_logins_have_to_wait_even_with_the_right_password(tmp_path: Path) -> None:
    settings = with_users(tmp_path, server={"trusted_proxies": ["127.0.0.1"]})
    async with api(settings) as client:
        for _ in range(10):
            assert (await log_in(client, password="wrong")).status_code == 401
        answer = await log_in(client)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert "Too many failed logins. Wait" in answer.text
        assert "set-cookie" not in answer.headers
        elsewhere = {"Origin": HOST, "X-Forwarded-For": "203.0.113.7"}
        fields = {"name": "ben", "password": PASSWORD}
        assert (await client.client.post("/console/login", data=fields, headers=elsewhere)).status_code == 303
        metrics = (await client.get("/metrics", **BEARER)).text
        assert 'tts_receiver_console_logins_total{outcome="too_many_failures"} 1.0' in metrics


async def test_many_logins_at_once_are_compared_a_few_at_a_time_and_the_others_refused(tmp_path: Path) -> None:
    settings = with_users(tmp_path, server={"trusted_proxies": ["127.0.0.1"]})
    async with api(settings) as client:

        async def attempt(number: int) -> int:
            headers = {"Origin": HOST, "X-Forwarded-For": f"203.0.113.{number}"}
            fields = {"name": f"user_{number}", "password": PASSWORD}
            return (await client.client.post("/console/login", data=fields, headers=headers)).status_code

        codes = await asyncio.gather(*(attempt(number) for number in range(60)))
        assert set(codes) == {401, 503}
        assert codes.count(503) > 20
        assert (await log_in(client)).status_code == 303


async def test_a_stream_ends_with_its_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_responses, "CHECK_SECONDS", 0.05)
    async with api(with_users(tmp_path)) as client:
        value = await logged_in(client)
        app = client.up.receiver.private
        sent: asyncio.Queue[Any] = asyncio.Queue()
        scope = {
            "type": "http", "method": "GET", "path": "/console/stream", "query_string": b"", "http_version": "1.1",
            "headers": [(b"host", b"127.0.0.1:8081"), (b"cookie", f"{COOKIE}={value}".encode())], "client": None,
        }  # fmt: skip

        async def receive() -> Any:
            return await asyncio.Event().wait()

        task = asyncio.create_task(app(scope, receive, sent.put))
        assert (await sent.get())["status"] == 200
        await sent.get()
        await send_form(client, "/console/logout", csrf=await csrf(client))
        async with asyncio.timeout(PATIENCE):
            await task
            while (last := await sent.get()).get("more_body"):
                pass
        assert last == {"type": "http.response.body", "body": b""}
