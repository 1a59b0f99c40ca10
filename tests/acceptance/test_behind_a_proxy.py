"""Behind each proxy of the how-to, with the very configuration that it shows."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from receiver import settings
from tests.acceptance.proxies import (
    APACHE,
    CADDY,
    HOW_TO,
    NGINX,
    PROXIES,
    README,
    SITE,
    STRANGER,
    TRUSTED,
    WEBHOOK,
    Behind,
    Client,
    Proxy,
    in_front,
    shown,
)
from tests.acceptance.support import Server, Site, completed, signed_headers, until
from tests.patience import PATIENCE

TOKEN = "token-of-the-tests-0123456789"


EXAMPLES = {**{proxy.name: (proxy, HOW_TO) for proxy in PROXIES}, "caddy of the README": (CADDY, README)}


@pytest.fixture(scope="module", params=EXAMPLES)
def behind(
    request: pytest.FixtureRequest,
    receiver: tuple[Site, Server],
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Behind]:
    """Each example before it."""
    proxy, page = EXAMPLES[request.param]
    with in_front(receiver, proxy, shown(proxy, page), certificate, tmp_path_factory.mktemp(proxy.name)) as behind:
        yield behind


def test_signed_deliveries_get_through_over_connections_that_are_kept(behind: Behind) -> None:
    jobs = [f"job-{uuid.uuid4()}" for _ in range(20)]
    events = []
    with behind.client() as client:
        for job in jobs:
            body = completed(job)
            status, answer = client.ask("POST", WEBHOOK, signed_headers(body), body)
            assert status == 202, answer
            events.append(json.loads(answer)["event"])
    stored = {row["id"]: row["job_id"] for row in behind.site.rows("SELECT id, job_id FROM events")}
    assert [stored[event] for event in events] == jobs


@pytest.mark.parametrize(
    "path",
    ["/", "/webhooks", "/webhook/aitts", "/webhooksx/aitts", "/webhooks/other", "/livez", "/readyz", "/metrics",
     "/docs", "/v1/events", "/webhooks/../livez", "/webhooks/%2e%2e/livez", "//livez", "/WEBHOOKS/aitts"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_every_other_path_is_not_found(behind: Behind, method: str, path: str) -> None:
    body = completed("lost") if method == "POST" else b""
    assert behind.ask(method, path, signed_headers(body), body)[0] == 404


def padded(size: int) -> bytes:
    """A delivery of so many bytes."""
    job = f"job-{uuid.uuid4()}"
    return completed(job, filler="x" * (size - len(completed(job, filler=""))))


def test_the_body_limit_is_the_receivers(behind: Behind) -> None:
    limit = settings.Server().max_body_bytes
    body = padded(limit)
    assert behind.ask("POST", WEBHOOK, signed_headers(body), body)[0] == 202
    body = padded(limit + 1)
    assert behind.ask("POST", WEBHOOK, signed_headers(body), body)[0] == 413
    with behind.client() as client:
        head = [f"POST {WEBHOOK} HTTP/1.1", f"Host: {SITE}", "Transfer-Encoding: chunked"]
        head += [f"{name}: {value}" for name, value in signed_headers(body).items()]
        whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        assert client.send("\r\n".join(head).encode() + b"\r\n\r\n" + whole)[0] == 413


def test_a_refused_delivery_is_logged_with_the_clients_address(behind: Behind) -> None:
    def lines() -> list[dict[str, Any]]:
        """Those of wrong signatures: the line of another test's delivery may still be on its way into the log."""
        return [line for line in behind.server.lines("delivery.refused") if line["outcome"] == "mismatch"]

    before = len(lines())
    spoofed = {"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=1.2.3.4", **signed_headers(b"{}", secret="another")}
    assert behind.ask("POST", WEBHOOK, spoofed, b"{}")[0] == 401
    assert [line["client"] for line in until("the line", lambda: lines()[before:])] == [STRANGER]


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_no_example_passes_an_upgrade_on(proxy: Proxy, certificate: Path, tmp_path: Path) -> None:
    """Asked of what arrives at a server that is none of ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as upstream:
        listener.settimeout(PATIENCE)
        arrived = upstream.submit(head_of_one_request, listener)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with proxy.running(shown(proxy), address, tmp_path / "proxy", certificate) as port:
            client = Client(port, certificate)
            offered = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAA"}
            assert client.ask("POST", WEBHOOK, offered, b"{}")[0] == 202
            client.close()
    head = arrived.result(PATIENCE)
    assert b"x-forwarded-for: " + STRANGER.encode() in head
    assert b"h2c" not in head


def head_of_one_request(listener: socket.socket) -> bytes:
    """Answer one request 202; its head in lower case."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as file:
        connection.settimeout(PATIENCE)
        head = b"".join(iter(lambda: file.readline().strip() + b"\n", b"\n")).lower()
        file.read(2)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return head


@pytest.mark.parametrize("proxy", [CADDY, NGINX, APACHE], ids=lambda proxy: proxy.name)
def test_idle_connections_are_given_up_by_the_proxy_first(proxy: Proxy) -> None:
    found = re.findall(r"(?:keepalive_timeout|keepalive(?! 16)|ttl)[ =](\d+)s?\b;?$", shown(proxy), re.MULTILINE)
    assert [0 < int(seconds) < settings.Server().idle_seconds for seconds in found] == [True]


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_a_prefix_may_be_passed_on(
    proxy: Proxy, certificate: Path, tmp_path: Path, prefixed: tuple[Site, Server]
) -> None:
    site = shown(proxy).replace("/webhooks/", "/tts/webhooks/").replace("(?!webhooks/)", "(?!tts/webhooks/)")
    with in_front(prefixed, proxy, site, certificate, tmp_path) as behind:
        body = completed(f"job-{uuid.uuid4()}")
        assert behind.ask("POST", f"/tts{WEBHOOK}", signed_headers(body), body)[0] == 202
        assert behind.ask("POST", WEBHOOK, signed_headers(body), body)[0] == 404


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Server]]:
    """A receiver that is shown under `/tts`, and its private API with a token."""
    site = Site(tmp_path_factory.mktemp("prefixed") / "site")
    site.configure(f'[api]\ntokens = ["{TOKEN}"]', server=f'port = 0\nprivate_port = 0\n{TRUSTED}\nroot_path = "/tts"')
    yield site, site.start()
    site.close()
    assert TOKEN not in site.everything_written()


TAKEN_OFF = {
    CADDY: "tts.example.com {\n\thandle_path /tts/* {\n\t\treverse_proxy 127.0.0.1:8080\n\t}\n}\n",
    NGINX: (
        "server { listen 443 ssl; ssl_certificate /etc/ssl/x.pem; ssl_certificate_key /etc/ssl/x.key;"
        "\nlocation /tts/ { proxy_pass http://127.0.0.1:8080/; } }"
    ),
}


@pytest.mark.parametrize("proxy", TAKEN_OFF, ids=lambda proxy: proxy.name)
def test_a_location_leads_back_through_a_proxy_that_takes_the_prefix_off(
    proxy: Proxy, certificate: Path, tmp_path: Path, prefixed: tuple[Site, Server]
) -> None:
    private = prefixed[1].private.removeprefix("http://")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with proxy.running(TAKEN_OFF[proxy], private, tmp_path / "proxy", certificate) as port:
        client = Client(port, certificate)
        status, answer = client.ask("POST", "/tts/v1/jobs", bearer, b'{"source":"aitts","job_id":"j-1"}')
        assert status in (200, 201), answer
        place = client.headers[b"location"].decode()
        assert place == f"/tts/v1/jobs/{json.loads(answer)['id']}"
        status, answer = client.ask("GET", place, bearer)
        assert (status, json.loads(answer)["job_id"]) == (200, "j-1")
        client.close()


BARE = {
    CADDY: "tts.example.com {\n\treverse_proxy 127.0.0.1:8080\n}\n",
    NGINX: (
        "server { listen 443 ssl; ssl_certificate /etc/ssl/x.pem; ssl_certificate_key /etc/ssl/x.key;"
        "\nlocation / { proxy_pass http://127.0.0.1:8080; } }"
    ),
    APACHE: (
        "<VirtualHost *:443>\nSSLEngine on\nSSLCertificateFile /etc/ssl/x.pem\nSSLCertificateKeyFile /etc/ssl/x.key\n"
        "ProxyPass / http://127.0.0.1:8080/\n</VirtualHost>\n"
    ),
}
"""The shortest possible configurations."""


@pytest.mark.parametrize("proxy", BARE, ids=lambda proxy: proxy.name)
def test_a_bare_proxy_before_the_private_listener_opens_nothing_without_tokens(
    proxy: Proxy, receiver: tuple[Site, Server], certificate: Path, tmp_path: Path
) -> None:
    _, server = receiver
    private = server.private.removeprefix("http://")
    with ExitStack() as stack:
        port = stack.enter_context(proxy.running(BARE[proxy], private, tmp_path / "proxy", certificate))
        client = Client(port, certificate)
        stack.callback(client.close)
        for path in ("/v1/events", "/metrics", "/docs", "/openapi.json"):
            status, answer = client.ask("GET", path, {})
            assert status == 403
            assert json.loads(answer)["reason"] in ("proxied", "foreign_host")
    lines = list(server.lines("api.refused"))
    assert {line["client"] for line in lines} <= {STRANGER, "127.0.0.1"}
