"""Publish each event to a message broker: RabbitMQ, NATS JetStream or a Redis stream.

A run succeeds after the broker has confirmed the message. An attempt may follow one whose confirmation was lost, so a
message can arrive twice, each time with the same id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from receiver import Context, Event, handler

from ._broker import BrokerConnection, Session
from ._message import build_message
from ._publish_options import NATS, RABBITMQ, PublishOptions


async def open_session(options: PublishOptions) -> Session:
    """Connect to the broker; its library is imported only here."""
    if options.broker is RABBITMQ:
        from ._rabbitmq import RabbitMqSession

        return await RabbitMqSession.open(options)
    if options.broker is NATS:
        from ._nats import NatsSession

        return await NatsSession.open(options)
    from ._redis import RedisSession

    return await RedisSession.open(options)


@asynccontextmanager
async def connect(options: PublishOptions) -> AsyncIterator[BrokerConnection]:
    """The connection to the broker, opened by the first message and closed when the receiver stops."""
    connection = BrokerConnection(lambda: open_session(options), options.server, options.secrets)
    try:
        yield connection
    finally:
        await connection.close()


@handler(on=Event, attempts=30, options=PublishOptions, lifespan=connect)
async def publish(event: Event, ctx: Context[PublishOptions, BrokerConnection]) -> dict[str, Any]:
    """Publish the event's message; the result says where it is.

    The message's id is `ctx.idempotency_key`: RabbitMQ's `message_id`, the header `Nats-Msg-Id`, the field `id` of
    a Redis stream's entry.
    """
    message = await build_message(event, ctx)
    return await ctx.state.publish(event, message, ctx.idempotency_key)
