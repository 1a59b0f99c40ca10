"""`mcp --http`: clients send the API's tokens; without tokens only programs on this machine are served."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.mcp_support import (
    OPERATOR,
    TOKENS,
    VIEWER,
    failure,
    listening,
    over_http,
    run,
    speaking,
    started,
    success,
)
from tests.acceptance.support import Provider, Site
from tests.patience import PATIENCE

CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "by-hand", "version": "1"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT}


def post(url: str, path: str = "/mcp", method: str = "POST", **headers: str) -> tuple[int, dict[str, str], str]:
    """One request by hand: status, headers, body."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=PATIENCE)
    try:
        sent: dict[str, Any] = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        connection.request(
            method,
            path,
            json.dumps(INITIALIZE),
            sent | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_each_client_has_the_role_of_its_token_and_is_named_in_the_audit_log(mode: str, site: Site) -> None:
    provider = Provider(job_seconds=0.3)
    try:
        server = speaking(site, provider, TOKENS)

        async def use(url: str) -> None:
            reports: list[float] = []

            async def report(progress: float, total: float | None, message: str | None) -> None:
                reports.append(progress)

            async with over_http(url, OPERATOR, mode) as operator, over_http(url, VIEWER, mode) as viewer:
                arguments = {"text": "Hello.", "voice": "alloy", "wait_seconds": PATIENCE}
                result = await operator.call_tool("generate_speech", arguments, progress_callback=report)
                assert result.structured_content is not None
                job = result.structured_content["id"]
                assert reports == sorted(reports)
                assert reports
                assert (await success(viewer, "job_status", job_id=job))["state"] == "completed"
                assert "operator" in await failure(viewer, "generate_speech", text="Hello.", voice="alloy")

        with listening(site, server.private) as url:
            run(use(url))
            for headers in ({}, {"Authorization": f"Basic {OPERATOR}"}, {"Authorization": "Bearer wrong-0123456789"}):
                status, answered, body = post(url, **headers)
                assert status == 401
                assert answered["www-authenticate"].startswith("Bearer ")
                assert "wrong-0123456789" not in body
            page = {"Authorization": f"Bearer {OPERATOR}", "Origin": "http://elsewhere.example"}
            assert post(url, **page)[0] == 403
    finally:
        provider.close()
    [change] = json.loads(site.command("changes", "list", "--json").stdout)["items"]
    assert change["actor"] == "assistant"


def test_without_tokens_only_programs_on_this_machine_are_served(site: Site) -> None:
    server = site.configure().start()

    async def use(url: str) -> None:
        async with over_http(url) as client:
            assert (await success(client, "recent_events"))["events"] == []

    with listening(site, server.private) as url:
        run(use(url))
        assert post(url)[0] == 200
        refused = {
            "a name that was made to point here": {"Host": "evil.example"},
            "a page of elsewhere": {"Origin": "http://evil.example"},
            "a proxy": {"X_Forwarded_For": "192.0.2.1"},
            "another site": {"Sec_Fetch_Site": "cross-site"},
            "a proxy, with a header that looks like a token": {"Authorization": "Bearer x", "Via": "1.1 proxy"},
        }
        assert {what: post(url, **headers)[0] for what, headers in refused.items()} == dict.fromkeys(refused, 403)
        assert post(url, method="GET")[0] == 405
        assert post(url, "/")[0] == 404


def test_a_receiver_without_tokens_is_not_opened_to_other_machines(site: Site) -> None:
    server = site.configure().start()
    with started(site, "--api", server.private, "--http", "0.0.0.0:0") as command:
        code, out, errors = command.end()
        assert (code, out) == (1, "")
        assert "has no tokens" in errors


def test_while_the_receiver_is_down_clients_are_answered_503(site: Site) -> None:
    server = site.configure().start()
    private = urlsplit(server.private).port
    with listening(site, server.private) as url:
        server.stop()
        status, answered, body = post(url)
        assert (status, answered["retry-after"]) == (503, "10")
        assert "Is `tts-receiver serve` running there?" in body
        site.start("--private-port", str(private))
        assert post(url)[0] == 200


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--http", "eighty"], "is not [HOST:]PORT"),
        (["--http", "::1:8082"], "write the IPv6 address as [::1]:8082"),
        (["--http", "192.0.2.1:8082", "--api", "http://127.0.0.1:9"], "Cannot listen on 192.0.2.1"),
        (["--http", "0", "--token-file", "x"], "each client sends its own token"),
        (["--api", "http://receiver.example"], "--plain-http"),
        (["--token-file", "missing"], "missing does not exist"),
    ],
)
def test_wrong_options_are_explained(words: list[str], what: str, site: Site) -> None:
    done = site.command("mcp", *words)
    assert done.returncode != 0
    assert what in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""
