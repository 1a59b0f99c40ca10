"""The private listener of a started receiver, asked over its own ASGI application or over a socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from receiver.engine.handler import Handler
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.settings import Settings
from receiver.store import artifacts, inbox
from receiver.store.artifacts import ArtifactRow
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.limits import Limits
from receiver.web.http.server import listener_server
from tests.integration.engine_support import receiving
from tests.integration.intake_support import SECRET, Running, running, signature
from tests.patience import PATIENCE

HOST = "http://127.0.0.1:8081"
TOKEN = "token-of-the-tests-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
T0 = 1_800_000_000.0


def event_number(number: int) -> str:
    """An event's id; they sort by their numbers."""
    return f"evt_{number:032x}"


@dataclass
class Api:
    """A started receiver, and a client of its private listener."""

    up: Running
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """GET; `headers` with underscores for hyphens."""
        return await self.client.get(path, headers={name.replace("_", "-"): of for name, of in headers.items()})

    async def json(self, path: str) -> Any:
        """The JSON of a 200."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST of a JSON body."""
        content = b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): of for name, of in headers.items()}
        return await self.client.post(path, content=content, headers=named)

    async def add(self, *numbers: int, type: str = "job.completed", **fields: Any) -> list[str]:
        """Commit events with these numbers, in this order, one transaction each; their ids."""
        given = [
            Delivery(
                **{
                    "event_id": event_number(number),
                    "source": "aitts",
                    "type": type,
                    "key": f"job-{number}",
                    "job_id": f"job-{number}",
                    "origin": "webhook",
                    "payload": "{}",
                    "body": b"{}",
                    "headers": "[]",
                    "key_id": None,
                    "skew": 0.0,
                    "received_at": T0 + number,
                    "handlers": (),
                    **fields,
                }
            )
            for number in numbers
        ]
        for delivery in given:
            await self.up.receiver.database.write(lambda connection, one=delivery: inbox.accept(connection, [one]))
            self.up.receiver.feed.wake()
        return [delivery.event_id for delivery in given]

    async def give_audio(self, event_id: str, content: bytes, n: int = 0, **fields: Any) -> str:
        """Put audio where the receiver's storage is, with its row; its SHA-256."""
        storage = self.up.receiver.storage
        part = self.up.receiver.settings.base / "part"
        part.write_bytes(content)
        stored = await storage.publish(part, f"aitts/{event_id}-{n}.wav", "audio/wav")
        digest = hashlib.sha256(content).hexdigest()
        facts = {"content_type": "audio/wav", "format": "wav", "duration": 1.5, "sample_rate": 24_000, "channels": 1}
        row = ArtifactRow(
            **{
                "event_id": event_id,
                "n": n,
                "address": stored.address,
                "bytes": len(content),
                "sha256": digest,
                "fetched_at": T0,
                "fetch_seconds": 0.1,
                **facts,
                **fields,
            }
        )
        await self.up.receiver.database.batch(artifacts.put_all, row)
        return digest


async def until_ended(client: Api, id: str) -> Any:
    """The operation, once it has ended."""
    async with asyncio.timeout(PATIENCE):
        while (found := await client.json(f"/v1/operations/{id}"))["state"] == "unfinished":
            await asyncio.sleep(0.01)
    return found


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a problem, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem_body = answer.json()
    assert problem_body["status"] == answer.status_code
    assert problem_body["type"] == f"urn:tts-receiver:problem:{problem_body['reason']}"
    assert problem_body["title"]
    assert problem_body["detail"]
    assert "instance" not in problem_body
    return answer.status_code, problem_body["reason"]


@asynccontextmanager
async def api(settings: Settings, *handlers: Handler, base_url: str = HOST, **headers: str) -> AsyncIterator[Api]:
    """A started receiver's private side, asked without a socket."""
    async with (
        receiving(settings, *handlers) if handlers else running(settings) as up,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=up.receiver.private), base_url=base_url, headers=headers, timeout=PATIENCE
        ) as client,
    ):
        yield Api(up, client)


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[str]:
    """The application on a port of its own, served as `serve` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = listener_server(app, ConnectionTable("private", Limits(100, 30, 130), Metrics()))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def deliver(up: Running, body: bytes, **headers: str) -> str:
    """A delivery by webhook; its event's id."""
    answer = await up.client.post(
        "/webhooks/aitts", content=body, headers={"x-tts-signature": signature(body, SECRET), **headers}
    )
    assert answer.status_code == 202, answer.text
    event: str = answer.json()["event"]
    return event


def path_of(settings: Settings) -> Path:
    """The store's file."""
    return settings.base / "data" / "receiver.db"
