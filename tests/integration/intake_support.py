"""A receiver with a real store, started by its own lifespan, and what a provider does to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from receiver import logs
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.settings import Settings
from receiver.store.schema import metadata
from tests.patience import PATIENCE
from tests.stores import query

SECRET = "tts_signing_secret_0123456789"
UNAUTHORIZED = b'{"error":"unauthorized"}'


def configured(folder: Path, **tables: Any) -> Settings:
    """Settings with one source `aitts`; `source={…}` adds to it, other names are whole tables."""
    source = {"provider": "aitts", "signing_secrets": [SECRET], **tables.pop("source", {})}
    defaults = {"sources": {"aitts": source}, "handlers": {"log": {}}}
    return Settings(**{**defaults, **tables}, base=folder)


def signature(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """The provider's signature, by the standard library."""
    now = int(time.time() if at is None else at)
    return f"t={now},v1=" + hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()


def completed(job: str = "job_1", **data: Any) -> bytes:
    """A documented body."""
    return json.dumps({"event": "job.completed", "data": {"job_id": job, "status": "completed", **data}}).encode()


@dataclass
class Running:
    """A started receiver and a provider's client."""

    receiver: Receiver
    client: httpx.AsyncClient

    async def post(
        self, body: bytes, *, path: str = "/webhooks/aitts", at: float | None = None, **headers: str
    ) -> httpx.Response:
        """A signed delivery; `headers` with underscores for hyphens add to or replace the signed ones."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=body, headers={"x-tts-signature": signature(body, at=at), **named})

    def counted(self, outcome: str, source: str = "aitts") -> float:
        """How many deliveries the metrics show with this outcome."""
        wanted = f'tts_receiver_deliveries_total{{outcome="{outcome}",source="{source}"}} '
        lines = self.receiver.metrics.render().decode().splitlines()
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    def rows(self, table: str = "events") -> list[dict[str, Any]]:
        """The rows that another process would see."""
        return query(self.receiver.database, metadata.tables[table])


def running(settings: Settings) -> AbstractAsyncContextManager[Running]:
    """Start a receiver by its lifespan, stop it at the end."""
    return started(build_receiver(settings))


@asynccontextmanager
async def started(receiver: Receiver) -> AsyncIterator[Running]:
    """Run this receiver's lifespan."""
    transport = httpx.ASGITransport(app=receiver.public)
    async with (
        receiver.public.router.lifespan_context(receiver.public),
        httpx.AsyncClient(transport=transport, base_url="http://receiver.test") as client,
    ):
        yield Running(receiver, client)


async def until_waiting(receiver: Receiver) -> None:
    """Return once a delivery waits for its commit. `Database.waiting` counts what other parts write as well."""
    async with asyncio.timeout(PATIENCE):
        while all(stored.done() for _, stored in receiver.public._writer._waiting):
            await asyncio.sleep(0)


class Lines:
    """The log as it was written: JSON lines."""

    def __init__(self, level: str, format: str, secrets: tuple[str, ...]) -> None:
        self.stream = io.StringIO()
        self.writer = logs.configure(level=level, format=format, secrets=secrets, stream=self.stream)

    @property
    def text(self) -> str:
        """All of it, so far."""
        assert self.writer.flush(30)
        return self.stream.getvalue()

    def of(self, message: str) -> list[dict[str, Any]]:
        """Lines with this message."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]


@contextmanager
def logged(format: str = "json", level: str = "debug", secrets: tuple[str, ...] = (SECRET,)) -> Iterator[Lines]:
    """Write the log into memory; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.LIBRARY_LEVELS}
    lines = Lines(level, format, secrets)
    try:
        yield lines
    finally:
        lines.writer.close()
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(root_level)
        for name, old in levels.items():
            logging.getLogger(name).setLevel(old)
