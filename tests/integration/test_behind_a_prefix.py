"""`server.root_path`: both listeners behind a proxy with a prefix, which it keeps or strips."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver import Settings
from receiver.web.root_path import under
from tests.integration.api_support import BEARER, HOST, TOKEN, Api, api, problem
from tests.integration.intake_support import completed, configured, running, signature

pytestmark = pytest.mark.anyio

PREFIXES = pytest.mark.parametrize("passed_on", ["/tts", ""], ids=["passed on", "taken off"])


def prefixed(folder: Path, **tables: Any) -> Settings:
    """Settings of a receiver that a proxy shows under `/tts`."""
    source = {"api_key": "key_0123456789", "base_url": "http://127.0.0.1:9", "allow_private_addresses": True}
    return configured(folder, handlers={}, server={"root_path": "/tts"}, source=source, **tables)


@asynccontextmanager
async def shown(settings: Settings) -> AsyncIterator[tuple[Api, httpx.AsyncClient]]:
    """The private and the public listener, under their prefix as `serve` has them."""
    async with running(settings) as up:
        private = httpx.ASGITransport(app=under(settings.server.root_path, up.receiver.private))
        public = httpx.ASGITransport(app=under(settings.server.root_path, up.receiver.public))
        async with (
            httpx.AsyncClient(transport=private, base_url=HOST) as client,
            httpx.AsyncClient(transport=public, base_url="http://receiver.test") as outside,
        ):
            yield Api(up, client), outside


@PREFIXES
async def test_a_delivery_is_taken_under_the_prefix(tmp_path: Path, passed_on: str) -> None:
    async with shown(prefixed(tmp_path)) as (_, outside):
        body = completed()
        signed = {"x-tts-signature": signature(body)}
        for path, status in (
            (f"{passed_on}/webhooks/aitts", 202),
            (f"{passed_on}/tts/webhooks/aitts", 404 if passed_on else 202),
            (f"{passed_on}/webhooks/other", 404),
            ("/ttswebhooks/aitts", 404),
            ("/tts", 404),
        ):
            assert (await outside.post(path, content=body, headers=signed)).status_code == status, path
        assert (await outside.get(f"{passed_on}/livez")).status_code == 200
        assert (await outside.get(f"{passed_on}/webhooks/aitts")).status_code == 405


@PREFIXES
async def test_a_location_leads_back_through_the_proxy(tmp_path: Path, passed_on: str) -> None:
    async with shown(prefixed(tmp_path)) as (client, _):
        answer = await client.post(f"{passed_on}/v1/jobs", {"source": "aitts", "job_id": "j-1"})
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/tts/v1/jobs/{answer.json()['id']}"
        assert (await client.json(answer.headers["location"]))["job_id"] == "j-1"
        (event,) = await client.add(1)
        await client.give_audio(event, b"RIFF")
        (artifact,) = (await client.json(f"{passed_on}/v1/events/{event}"))["artifacts"]
        assert artifact["audio"] == f"/tts/v1/events/{event}/audio?n=0"
        assert (await client.get(artifact["audio"])).content == b"RIFF"


@PREFIXES
async def test_the_document_and_its_page_are_of_the_prefix(tmp_path: Path, passed_on: str) -> None:
    async with shown(prefixed(tmp_path)) as (client, _):
        assert (await client.json(f"{passed_on}/openapi.json"))["servers"] == [{"url": "/tts"}]
        page = await client.get(f"{passed_on}/docs")
        assert page.status_code == 200
        assert 'href="openapi.json"' in page.text  # beside the page, wherever that is
        assert (await client.get(f"{passed_on}/metrics")).status_code == 200
        assert problem(await client.get(f"{passed_on}/v1/nothing")) == (404, "no_such_path")


async def test_without_a_prefix_there_are_no_servers_in_the_document(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={})) as client:
        assert "servers" not in await client.json("/openapi.json")


@PREFIXES
async def test_the_guard_sees_paths_without_the_prefix(tmp_path: Path, passed_on: str) -> None:
    async with shown(prefixed(tmp_path, api={"tokens": [TOKEN]})) as (client, _):
        assert (await client.get(f"{passed_on}/livez")).status_code == 200
        assert problem(await client.get(f"{passed_on}/v1/events")) == (401, "no_token")
        assert problem(await client.get(f"{passed_on}/metrics")) == (401, "no_token")
        assert (await client.get(f"{passed_on}/v1/events", **BEARER)).status_code == 200
