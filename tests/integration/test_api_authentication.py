"""Who may use the private listener: holders of a token; without tokens, programs of this machine and no page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from receiver import Settings
from receiver.errors import ConfigError
from receiver.settings.private import require_private
from receiver.web.api.operations import Operation
from receiver.web.api.routes import ROUTES
from tests.integration.api_support import BEARER, TOKEN, api, event_number, listening, problem
from tests.integration.intake_support import configured, logged
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

PATHS = ["/v1/events", "/v1/jobs", "/v1/stream?seconds=0", "/metrics", "/", "/v1/nothing", "/docs/", "/docs/x"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={})


@pytest.fixture
def guarded(tmp_path: Path) -> Settings:
    tokens = [{"id": "app", "token": TOKEN}, {"id": "old", "token": "another-token-0123456789"}]
    return configured(tmp_path, handlers={}, api={"tokens": tokens})


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_wants_a_token_if_there_are_tokens(guarded: Settings, path: str) -> None:
    async with api(guarded) as client:
        answer = await client.get(path)
        assert problem(answer) == (401, "no_token")
        assert answer.headers["www-authenticate"] == 'Bearer realm="tts-receiver"'
        answer = await client.get(path, authorization="Bearer something-else-0123456789")
        assert problem(answer) == (401, "bad_token")
        assert answer.headers["www-authenticate"] == 'Bearer realm="tts-receiver", error="invalid_token"'
        assert (await client.get(path, **BEARER)).status_code in (200, 404)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json"])
async def test_health_and_what_describes_the_api_are_for_everybody(guarded: Settings, path: str) -> None:
    async with api(guarded) as client:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert TOKEN not in answer.text
        assert (await client.get(path, authorization="Bearer something-else-0123456789")).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        ("Bearer another-token-0123456789", 200),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer \xff\xfe", 401),
    ],
)
async def test_a_token_is_taken_as_it_is_or_not_at_all(guarded: Settings, given: str, status: int) -> None:
    async with api(guarded) as client:
        answer = await client.client.get("/v1/events", headers=[(b"authorization", given.encode("latin-1"))])
        assert answer.status_code == status


async def test_two_authorizations_are_none(guarded: Settings) -> None:
    async with api(guarded) as client:
        headers = [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")]
        assert problem(await client.client.get("/v1/events", headers=headers)) == (401, "bad_token")


async def test_no_refusal_and_no_log_line_has_a_token(guarded: Settings) -> None:
    with logged(secrets=()) as lines:
        async with api(guarded) as client:
            answer = await client.get("/v1/events", authorization="Bearer sent-by-mistake-0123456789")
            assert "sent-by-mistake" not in answer.text
            answer = await client.post("/v1/jobs", {"source": "nobody", "job_id": "1"}, **BEARER)
            assert TOKEN not in answer.text
        assert "sent-by-mistake" not in lines.text
        assert TOKEN not in lines.text
        assert [line["outcome"] for line in lines.of("api.refused")] == ["bad_token"]


async def test_the_token_that_changed_something_is_named_in_the_log(guarded: Settings) -> None:
    with logged() as lines:
        async with api(guarded) as client:
            (id,) = await client.add(1)
            assert (await client.post(f"/v1/events/{id}/replay", **BEARER)).status_code == 202
        (line,) = lines.of("api.changed")
        assert (line["operation"], line["status"], line["token"]) == ("replay", 202, "app")


async def test_with_tokens_any_host_may_be_named(guarded: Settings) -> None:
    async with api(guarded, base_url="http://receiver.internal:8081") as client:
        assert (await client.get("/v1/events", origin="http://app.internal", **BEARER)).status_code == 200


async def test_with_a_user_of_the_console_the_api_needs_a_token_even_if_there_is_none(tmp_path: Path) -> None:
    hash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
    settings = configured(tmp_path, handlers={}, console={"users": {"anna": {"password_hash": hash}}})
    async with api(settings) as client:
        for path in ("/v1/events", "/metrics", "/"):
            assert problem(await client.get(path)) == (401, "no_token"), path
        assert problem(await client.get("/v1/events", **BEARER)) == (401, "bad_token")
        assert (await client.get("/docs")).status_code == 200
        assert "securitySchemes" in (await client.json("/openapi.json"))["components"]


VIEWER = {"Authorization": "Bearer token-of-a-viewer-0123456789"}
QUERIES = {"stream": "?seconds=0"}
"""Of operations that otherwise do not end."""


@pytest.mark.parametrize("operation", ROUTES, ids=lambda operation: operation.name)
async def test_a_viewer_reads_everything_and_changes_nothing(tmp_path: Path, operation: Operation) -> None:
    tokens = [{"id": "app", "token": TOKEN}, {"id": "looks", "token": VIEWER["Authorization"][7:], "role": "viewer"}]
    settings = configured(tmp_path, handlers={}, api={"tokens": tokens})
    path = operation.path.replace("{id}", event_number(1)) + QUERIES.get(operation.name, "")
    with logged() as lines:
        async with api(settings) as client:
            await client.add(1)
            request = client.client.build_request(operation.method, path, content=b"[]", headers=VIEWER)
            answer = await client.client.send(request)
            if operation.method == "GET":
                request.headers.update(BEARER)
                assert answer.status_code == (await client.client.send(request)).status_code != 403
            else:
                assert problem(answer) == (403, "read_only_token")
                assert 'need a token with role = "operator"' in answer.json()["detail"]
            assert client.up.rows("audit_entries") == []
        assert lines.of("api.changed") == []


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost", "LOCALHOST:8081", "[::1]:8081", "127.9.9.9", "::1"])
async def test_without_tokens_the_host_is_this_machine(settings: Settings, host: str) -> None:
    async with api(settings) as client:
        status = (await client.get("/v1/events", host=host)).status_code
        assert status == (403 if host == "::1" else 200)


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8081", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1", "localhost@evil.test",
     "127.0.0.1/evil", "0.0.0.0", "localhost:x", "[::1", ""],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/events", "/metrics", "/docs"])
async def test_without_tokens_a_name_that_was_made_to_point_here_is_refused(
    settings: Settings, host: str, path: str
) -> None:
    async with api(settings) as client:
        assert problem(await client.get(path, host=host)) == (403, "foreign_host")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "https://127.0.0.1:8081"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_without_tokens_a_page_of_another_origin_is_refused(settings: Settings, headers: dict[str, str]) -> None:
    async with api(settings) as client:
        body = b'{"source":"aitts","job_id":"1"}'
        answer = await client.client.post("/v1/jobs", content=body, headers=headers)
        assert problem(answer) == (403, "foreign_origin")
        assert client.up.rows("jobs") == []


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything", "X-Real-IP",
     "Via", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/events", "/metrics", "/docs"])
async def test_without_tokens_what_a_proxy_passes_on_is_refused(settings: Settings, header: str, path: str) -> None:
    async with api(settings) as client:
        answer = await client.client.get(path, headers={header: "x"})
        assert problem(answer) == (403, "proxied")
        detail = answer.json()["detail"]
        assert f"it has the header {header.lower()}." in detail
        assert "[api] tokens" in detail
        assert (await client.client.get("/livez", headers={header: "x"})).status_code == 200


async def test_with_tokens_proxies_may_pass_requests_on(guarded: Settings) -> None:
    async with api(guarded, **BEARER) as client:
        assert (await client.get("/v1/events", x_forwarded_for="203.0.113.9", via="1.1 proxy")).status_code == 200


@pytest.mark.parametrize(("version", "status"), [("1.0", 403), ("1.1", 200)])
async def test_without_tokens_a_request_as_nginx_passes_it_on_is_refused(
    settings: Settings, version: str, status: int
) -> None:
    """nginx by default: HTTP/1.0, the upstream's address as `Host`, and no header that tells of the client."""
    async with api(settings) as client, listening(client.up.receiver.private) as base:
        host = base.removeprefix("http://")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(f"GET /v1/events HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        assert int(answer.split()[1]) == status
        assert (b'"reason": "proxied"' in answer) == (status == 403)


async def test_our_own_page_may_ask(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/openapi.json", origin="http://127.0.0.1:8081", sec_fetch_site="same-origin")
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_token(tmp_path: Path, host: str) -> None:
    require_private(configured(tmp_path, server={"private_host": host}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "receiver.internal"])
def test_another_address_needs_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.private_host: .* is not a loopback address .*\[api\] tokens"):
        require_private(configured(tmp_path, server={"private_host": host}))
    require_private(configured(tmp_path, server={"private_host": host}, api={"tokens": [TOKEN]}))
