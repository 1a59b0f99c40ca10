"""Deliveries of the documented services reach a real receiver, signed by openssl: no code is shared with ours."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.acceptance.support import Site
from tests.signature_page import SERVICES, Service, rows

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")

ISO = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
TEXTS = {row[0].partition("]")[0].strip("["): row[2].strip("`") for row in rows("Services")}
BODY = json.dumps({"type": "speech.done", "id": "job-1", "event": "evt_1"}).encode()


def delivery(service: Service, body: bytes = BODY, ago: int = 0) -> dict[str, str]:
    """The headers of a delivery in the form of the service's vector, with another time and body."""
    at, headers = int(time.time()) - ago, dict(service.headers)
    name, old = service.headers[-1]
    found = next(iter(re.findall(rf"{ISO}|\b\d{{10}}\b", " ".join(headers.values()))), None)
    new = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.123456789Z}" if found and "T" in found else str(at)
    if found is not None:
        headers = {header: value.replace(found, new) for header, value in headers.items()}
    id_ = next((value for header, value in headers.items() if header.lower().endswith("id")), "")
    text = TEXTS[service.title].replace("{timestamp}", new).replace("{id}", id_).encode()
    before, _, after = text.partition(b"{body}")
    signature = max(re.split(r"[=,](?=[A-Za-z0-9+/])", old), key=len)
    made = openssl(service.secret, before + body + after)
    encoded = made.hex() if re.fullmatch(r"[0-9a-f]{64}", signature) else base64.b64encode(made).decode()
    return headers | {name: headers[name].replace(signature, encoded)}


def openssl(secret: str, text: bytes) -> bytes:
    """HMAC-SHA256; a secret `whsec_…` is base64."""
    raw = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{raw.hex()}", "-binary"]
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder: Path = tmp_path_factory.mktemp("signatures")
    return Site(folder).configure("\n".join(service.toml for service in SERVICES))


def test_deliveries_of_each_service_are_accepted_once_and_changed_ones_refused(site: Site) -> None:
    server = site.start()
    try:
        for service in SERVICES:
            url, title = f"{server.public}/webhooks/{service.source}", service.title
            headers = delivery(service)
            answers = [httpx.post(url, content=BODY, headers=headers, timeout=30) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [202, 202], title
            assert [answer.json()["status"] for answer in answers] == ["accepted", "duplicate"], title
            assert httpx.post(url, content=BODY + b" ", headers=headers, timeout=30).status_code == 401, title
            assert httpx.post(url, content=BODY, timeout=30).status_code == 401, title
            repeated = [*headers.items(), list(headers.items())[-1]]
            assert httpx.post(url, content=BODY, headers=repeated, timeout=30).status_code == 401, title
            old = b'{"type":"speech.late","id":"job-2"}'
            late = httpx.post(url, content=old, headers=delivery(service, old, ago=3600), timeout=30)
            assert late.json()["status"] == ("quarantined" if "{timestamp}" in TEXTS[title] else "accepted"), title
        sent = site.together(
            *(
                ["send", "--source", service.source, "--url", f"{server.public}/webhooks/{service.source}"]
                for service in SERVICES
            )
        )
        assert [done.stdout[:3] for done in sent] == ["202"] * len(SERVICES), [done.stdout for done in sent]
    finally:
        server.stop()
    stored = site.rows("SELECT source, type, status FROM events WHERE type = 'speech.done' ORDER BY source")
    assert [row["source"] for row in stored] == sorted(service.source for service in SERVICES)
    assert {row["status"] for row in stored} == {"accepted"}


def test_what_is_signed_by_hand_verifies_and_check_says_which_signatures_have_no_time(site: Site) -> None:
    checked = site.command("check").stdout
    for service in SERVICES[::3]:
        signed = site.command("sign", "--source", service.source, stdin=BODY)
        lines = [word for line in signed.stdout.splitlines() for word in ("-H", line)]
        verified = site.command("verify", "--source", service.source, *lines, stdin=BODY)
        assert (signed.returncode, verified.returncode) == (0, 0), verified.stdout
        assert "  ✓ HMAC" in verified.stdout
        changed = site.command("verify", "--source", service.source, *lines, stdin=BODY + b"!")
        assert (changed.returncode, "  ✗ HMAC" in changed.stdout) == (1, True), changed.stdout
    for service in SERVICES:
        said = checked.partition(f"  source   {service.source}: ")[2].partition("\n  source ")[0]
        assert f"of {TEXTS[service.title]} in " in said
        assert ("! the signature has no time" in said) == ("{timestamp}" not in TEXTS[service.title])
