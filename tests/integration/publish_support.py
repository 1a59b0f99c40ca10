"""What the tests of `publish` need of each broker: how to make a destination, and how to read what is in it."""

from __future__ import annotations

import asyncio
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from receiver import Event
from receiver.testing import HandlerOutcome, completed, run_handler
from tests import brokers

WRONG_PASSWORD = "not-the-password"

_number = itertools.count(1)


@dataclass(frozen=True)
class Stored:
    """A message as a consumer finds it."""

    id: str
    body: bytes
    headers: Mapping[str, str]


@dataclass
class Target(ABC):
    """A broker, and a destination on it that no other test uses."""

    broker: brokers.Broker
    name: str = field(default_factory=lambda: f"tts-{next(_number)}")

    @property
    @abstractmethod
    def destination(self) -> dict[str, Any]:
        """The options of `publish` that say where a message goes."""

    @property
    @abstractmethod
    def missing(self) -> dict[str, Any]:
        """The same for a destination that does not exist."""

    def options(self, **more: Any) -> dict[str, Any]:
        """The options of `publish`."""
        return {"url": self.broker.url(), **self.destination, **more}

    @abstractmethod
    async def create(self) -> None:
        """Make the destination."""

    @abstractmethod
    async def stored(self) -> list[Stored]:
        """All messages, in the order of the broker; they stay."""


class NatsTarget(Target):
    @property
    def destination(self) -> dict[str, Any]:
        return {"subject": f"{self.name}.{{source}}.{{type}}"}

    @property
    def missing(self) -> dict[str, Any]:
        return {"subject": f"nowhere.{self.name}"}

    async def client(self) -> Any:
        import nats

        address = f"nats://127.0.0.1:{self.broker.port}"
        return await nats.connect(address, user=brokers.USER, password=brokers.PASSWORD)

    async def create(self) -> None:
        client = await self.client()
        await client.jetstream().add_stream(name=self.name, subjects=[f"{self.name}.>"])
        await client.close()

    async def stored(self) -> list[Stored]:
        client = await self.client()
        stream = client.jetstream()
        count = (await stream.stream_info(self.name)).state.messages
        found = []
        for sequence in range(1, count + 1):
            message = await stream.get_msg(self.name, seq=sequence)
            headers = {name.lower(): value for name, value in message.headers.items()}
            found.append(Stored(headers.pop("nats-msg-id"), message.data, headers))
        await client.close()
        return found


class RedisTarget(Target):
    @property
    def destination(self) -> dict[str, Any]:
        return {"stream": f"{self.name}:{{source}}"}

    @property
    def missing(self) -> dict[str, Any]:
        raise NotImplementedError("Redis makes the stream")

    def client(self) -> Any:
        from redis.asyncio.client import Redis

        return Redis(port=self.broker.port, password=brokers.PASSWORD)

    async def create(self) -> None:
        """Redis makes the stream with the first entry."""

    async def stored(self) -> list[Stored]:
        async with self.client() as client:
            entries = await client.xrange(f"{self.name}:test")
        found = []
        for _, entry in entries:
            fields = {name.decode(): value for name, value in entry.items()}
            id, body = fields.pop("id").decode(), fields.pop("data")
            found.append(Stored(id, body, {name: value.decode() for name, value in fields.items()}))
        return found


class RabbitMqTarget(Target):
    arguments: dict[str, Any] | None = None

    @property
    def destination(self) -> dict[str, Any]:
        return {"routing_key": self.name}

    @property
    def missing(self) -> dict[str, Any]:
        return {"routing_key": f"nowhere-{self.name}"}

    async def connection(self) -> Any:
        import aio_pika

        return await aio_pika.connect(self.broker.url())

    async def create(self) -> None:
        async with await self.connection() as connection:
            channel = await connection.channel()
            await channel.declare_queue(self.name, durable=True, arguments=self.arguments)

    async def stored(self) -> list[Stored]:
        found = []
        async with await self.connection() as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(self.name, ensure=False)
            while (message := await queue.get(fail=False)) is not None:  # unacknowledged: returned with the connection
                headers = {**message.headers, "content-type": message.content_type}
                found.append(Stored(str(message.message_id), message.body, headers))
        return found


TARGETS: dict[type[brokers.Broker], type[Target]] = {
    brokers.Nats: NatsTarget,
    brokers.Redis: RedisTarget,
    brokers.RabbitMq: RabbitMqTarget,
}


def target(broker: brokers.Broker) -> Target:
    """A destination on the broker."""
    return TARGETS[type(broker)](broker)


def started(kind: type[brokers.Broker], base: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    """A started broker, for a fixture."""
    with brokers.running(kind, base.mktemp(kind.__name__.lower())) as broker:
        yield broker


async def attempt(options: dict[str, Any], event: Event | None = None, **more: Any) -> HandlerOutcome:
    """One run of the handler, as in the receiver; without audio, unless the options say so."""
    from handlers.publish import publish

    options = {"audio": "none"} | options
    return await asyncio.to_thread(run_handler, publish, event or completed(), options=options, **more)


def assert_retried(outcome: HandlerOutcome, what: str, reason: str) -> None:
    """It failed with a sentence for an operator, without a password."""
    assert outcome.state == "retry"
    text = str(outcome.error)
    assert re.search(what, text)
    assert getattr(outcome.error, "reason", None) == reason
    assert_no_password(text)


def assert_no_password(text: str) -> None:
    """Neither the right one, in both of its forms, nor the wrong one."""
    for password in (brokers.PASSWORD, quote(brokers.PASSWORD, safe=""), WRONG_PASSWORD):
        assert password not in text
