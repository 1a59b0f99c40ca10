"""What is refused is logged with whom it came from, behind a proxy too."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from receiver import Settings
from tests.integration.api_support import TOKEN, api
from tests.integration.intake_support import completed, configured, logged, running

pytestmark = pytest.mark.anyio

FORWARDED = {"x_forwarded_for": "1.2.3.4, 203.0.113.9"}


def behind(folder: Path, *trusted: str, stale: str = "quarantine") -> Settings:
    """Settings that trust these proxies; the tests' requests come from 127.0.0.1."""
    return configured(folder, handlers={}, server={"trusted_proxies": trusted}, source={"stale": stale})


@pytest.mark.parametrize(
    ("trusted", "client"),
    [((), "127.0.0.1"), (("127.0.0.1", "::1"), "203.0.113.9")],
    ids=["nobody is trusted", "the proxy is trusted"],
)
async def test_a_refused_delivery_is_logged_with_the_clients_address(
    tmp_path: Path, trusted: tuple[str, ...], client: str
) -> None:
    settings = behind(tmp_path, *trusted)
    with logged() as lines:
        async with running(settings) as up:
            assert (await up.post(completed(), x_tts_signature="t=1,v1=00", **FORWARDED)).status_code == 401
            assert (await up.post(b"[1]", **FORWARDED)).status_code == 400
            large = b" " * (settings.server.max_body_bytes + 1)
            assert (await up.post(large, **FORWARDED)).status_code == 413
        refused = [(line["outcome"], line["client"]) for line in lines.of("delivery.refused")]
        assert refused == [("malformed_header", client), ("not_an_object", client), ("too_large", client)]


@pytest.mark.parametrize("stale", ["quarantine", "reject"])
async def test_a_stale_delivery_is_logged_with_the_clients_address(tmp_path: Path, stale: str) -> None:
    with logged() as lines:
        async with running(behind(tmp_path, "127.0.0.0/8", stale=stale)) as up:
            await up.post(completed(), at=time.time() - 10_000, **FORWARDED)
        (line,) = lines.of("delivery.stale") + lines.of("delivery.refused")
        assert line["client"] == "203.0.113.9"


async def test_an_accepted_delivery_is_logged_without(tmp_path: Path) -> None:
    with logged() as lines:
        async with running(behind(tmp_path, "127.0.0.1")) as up:
            assert (await up.post(completed(), **FORWARDED)).status_code == 202
        (line,) = lines.of("delivery.accepted")
        assert "client" not in line


async def test_a_refused_request_of_the_api_is_logged_with_the_clients_address(tmp_path: Path) -> None:
    settings = configured(tmp_path, handlers={}, api={"tokens": [TOKEN]}, server={"trusted_proxies": ["127.0.0.1"]})
    with logged() as lines:
        async with api(settings) as client:
            assert (await client.get("/v1/events", forwarded='for="[2001:db8::9]:80"')).status_code == 401
        (line,) = lines.of("api.refused")
        assert (line["outcome"], line["client"], line["path"]) == ("no_token", "2001:db8::9", "/v1/events")
