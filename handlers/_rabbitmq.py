"""Publishing to RabbitMQ: persistent, mandatory messages, each confirmed by the broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aio_pika import RobustConnection, exceptions
from aio_pika.connection import make_url
from faststream.rabbit import Channel, RabbitBroker, RabbitExchange

from receiver import Event

from ._broker import APP_ID, CONNECT_SECONDS, PublishError
from ._message import Message
from ._publish_options import fill

if TYPE_CHECKING:
    from ._publish_options import PublishOptions


class RabbitMqSession:
    """A connection to RabbitMQ with one channel, whose messages are confirmed."""

    def __init__(self, options: PublishOptions) -> None:
        self._broker = _OwnedBroker(
            options.url.get_secret_value(),
            # Without `on_return_raises` an unroutable message is returned to a callback, and counts as published.
            default_channel=Channel(publisher_confirms=True, on_return_raises=True),
            on_close=[self._on_close],
            app_id=APP_ID,
            logger=None,
        )
        self._options = options
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, options: PublishOptions) -> RabbitMqSession:
        """Connect.

        Raises:
            PublishError: RabbitMQ refuses the login.
            Exception: the library's own, for any other failure.
        """
        session = cls(options)
        await session.connect()
        return session

    async def connect(self) -> None:
        """Connect; see `open`."""
        try:
            await self._broker.connect()
        except (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError):
            raise PublishError(f"{self._options.server} refused the login.", reason="login_refused") from None

    @property
    def lost(self) -> bool:
        """Whether the connection is closed."""
        return self._stopping is not None

    async def publish(self, event: Event, message: Message, key: str) -> dict[str, Any]:
        """Publish to the exchange; returns after the confirmation, which durable queues give after writing to disk."""
        exchange, routing_key = fill(self._options.exchange, event), fill(self._options.routing_key, event)
        try:
            await self._broker.publish(
                message.body,
                exchange=RabbitExchange(exchange, declare=False, robust=False) if exchange else None,
                routing_key=routing_key,
                mandatory=True,
                persist=True,
                message_id=key,
                correlation_id=key,
                content_type=message.content_type,
                headers=dict(message.headers),
            )
        except exceptions.PublishError:
            name = f"the exchange {exchange!r}" if exchange else "the default exchange"
            raise PublishError(
                f"{self._options.server} returned the message: {name} has no queue for the routing key "
                f"{routing_key!r}.",
                reason="unroutable",
            ) from None
        except exceptions.DeliveryError:
            what = "a queue is full, or cannot store it"
            raise PublishError(f"{self._options.server} refused the message (nack): {what}.") from None
        except exceptions.ChannelClosed as error:  # no such exchange, no permission: the broker's own words
            self.stop()
            raise PublishError(f"{self._options.server} refused the message: {error}.") from None
        return {"exchange": exchange, "routing_key": routing_key, "bytes": len(message.body)}

    def stop(self) -> asyncio.Task[None]:
        """Begin to close the connection, which may be lost already: the library would connect again by itself."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
            self._stopping.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._stopping

    def _on_close(self, *_: Any) -> None:
        # Returns nothing: the library would wait for a task, which waits for the library.
        self.stop()

    async def _stop(self) -> None:
        # First the connection: closing the channel of a lost one would wait for an answer.
        connection = await self._broker.connect()
        await connection.close()
        await self._broker.stop()

    async def close(self) -> None:
        """Close the connection."""
        await self.stop()


class _OwnedBroker(RabbitBroker):
    """Ends a connection that could not be completed; the library would try to complete it without end."""

    async def _connect(self) -> RobustConnection:
        connection = RobustConnection(make_url(self._connection_kwargs["url"]))
        try:
            await connection.connect(timeout=CONNECT_SECONDS)
            for callback in self._on_close:
                connection.close_callbacks.add(callback)
            self.config.connect(connection)
            self._channel = await self.config.channel_manager.get_channel()
        except BaseException:
            await connection.close()
            raise
        return connection
