"""A stranger's `Upgrade` takes nothing from the next delivery on a connection that a proxy keeps.

Its body looks like the head of a request of its own, whole or half. A receiver that stopped reading the body because of
the `Upgrade` would take it for the next request on that connection, which is shared with the provider's deliveries: the
answer to it, a 200, would then go to a delivery that was never read.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.proxies import APACHE, CADDY, HAPROXY, NGINX, WEBHOOK, Client, Proxy, shown
from tests.acceptance.support import Server, Site, completed, signed_headers

ROUNDS = 30

NAIVE = {
    CADDY: "tts.example.com {\n\treverse_proxy /webhooks/* 127.0.0.1:8080\n}\n",
    NGINX: """
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream receiver { server 127.0.0.1:8080; keepalive 16; }
server {
    listen 443 ssl;
    ssl_certificate /etc/ssl/x.pem;
    ssl_certificate_key /etc/ssl/x.key;
    location / {
        proxy_pass http://receiver;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }
}
""",
    HAPROXY: """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend tts
    bind :443 ssl crt /etc/haproxy/x.pem
    default_backend receiver
backend receiver
    server receiver 127.0.0.1:8080
""",
    APACHE: """
<VirtualHost *:443>
    SSLEngine on
    SSLCertificateFile /etc/ssl/x.pem
    SSLCertificateKeyFile /etc/ssl/x.key
    ProxyPass / http://127.0.0.1:8080/ upgrade=ANY
</VirtualHost>
""",
}
"""Configurations that are in use out there: they pass `Upgrade` on."""

WHOLE = b"GET /livez HTTP/1.1\r\nHost: tts.example.com\r\n\r\n"
HALF = b"GET /livez HTTP/1.1\r\nHost: tts.example.com\r\nX-Swallowed: "
BLANK = b"\r\n" * 40_000
"""Blank lines before a request are passed over. So many of them leave a proxy that gathers bodies in several pieces."""
SMUGGLED = {"whole": WHOLE, "half": HALF, "whole, large": BLANK + WHOLE, "half, large": BLANK + HALF}
CASES = [(proxy, "how-to") for proxy in NAIVE] + [(proxy, "naive") for proxy in NAIVE]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].name}, {case[1]}")
def port(
    request: pytest.FixtureRequest,
    receiver: tuple[Site, Server],
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """The port of a proxy before the receiver."""
    proxy: Proxy = request.param[0]
    site = shown(proxy) if request.param[1] == "how-to" else NAIVE[proxy]
    upstream = receiver[1].public.removeprefix("http://")
    with proxy.running(site, upstream, tmp_path_factory.mktemp(proxy.name) / "proxy", certificate) as port:
        yield port


def attack(port: int, certificate: Path, body: bytes) -> None:
    """A stranger's POST. What it is answered is the stranger's concern."""
    head = (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: tts.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client = Client(port, certificate)
    with contextlib.suppress(OSError, ValueError, IndexError):
        client.send(head.encode(), body)
    client.close()


@pytest.mark.parametrize("smuggled", SMUGGLED)
def test_a_strangers_upgrade_takes_no_delivery(
    port: int, receiver: tuple[Site, Server], certificate: Path, smuggled: str
) -> None:
    answers = {}
    with contextlib.closing(Client(port, certificate)) as provider, ThreadPoolExecutor(2) as strangers:
        for _ in range(ROUNDS):
            for _ in strangers.map(lambda body: attack(port, certificate, body), [SMUGGLED[smuggled]] * 2):
                pass
            body = completed(f"job-{uuid.uuid4()}")
            answers[body] = provider.ask("POST", WEBHOOK, signed_headers(body), body)
    assert [(status, answer) for status, answer in answers.values() if status != 202] == []
    events = {json.loads(answer)["event"]: body for body, (_, answer) in answers.items()}
    assert len(events) == ROUNDS
    stored = {row["id"]: bytes(row["body"]) for row in receiver[0].rows("SELECT id, body FROM events")}
    assert {event: stored.get(event) for event in events} == events
