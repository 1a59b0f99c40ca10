"""Publishing to a Redis stream: each entry is confirmed by the id that Redis gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faststream.redis import RedisBroker
from redis.asyncio.client import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from receiver import Event

from ._broker import CONFIRM_SECONDS, CONNECT_SECONDS, PublishError
from ._message import Message
from ._publish_options import fill

if TYPE_CHECKING:
    from ._publish_options import PublishOptions


class RedisSession:
    """A pool of connections to Redis, which replaces those that were lost.

    Args:
        broker: connected by `open`.
        client: the broker's own.
    """

    lost = False

    def __init__(self, broker: RedisBroker, client: Redis, options: PublishOptions) -> None:
        self._broker = broker
        self._client = client
        self._options = options

    @classmethod
    async def open(cls, options: PublishOptions) -> RedisSession:
        """Connect.

        Raises:
            PublishError: Redis refuses the login.
            Exception: the library's own, for any other failure.
        """
        broker = RedisBroker(
            options.url.get_secret_value(),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=CONFIRM_SECONDS,
            retry=Retry(NoBackoff(), 0),  # an attempt is one attempt; the receiver repeats it
        )
        session = cls(broker, await broker.connect(), options)
        try:
            await session.ping()
        except BaseException:
            await session.close()
            raise
        return session

    async def ping(self) -> None:
        """Check that the server answers and accepts the login."""
        try:
            await self._client.ping()
        except AuthenticationError:
            raise self._refused_login() from None
        except NoPermissionError:  # a user who may only add to streams: the login is accepted
            return

    async def publish(self, event: Event, message: Message, key: str) -> dict[str, Any]:
        """Append to the stream; returns after Redis has given the entry's id."""
        stream = fill(self._options.stream, event)
        fields: dict[Any, Any] = {
            "id": key,
            "content-type": message.content_type,
            **message.headers,
            "data": message.body,
        }
        try:
            entry = await self._client.xadd(stream, fields, maxlen=self._options.max_length, approximate=True)
        except AuthenticationError:
            raise self._refused_login() from None
        except ResponseError as error:  # Redis's own reply, such as OOM, READONLY, NOPERM or WRONGTYPE
            raise PublishError(f"{self._options.server} refused the message: {error}.") from None
        entry_id = entry.decode() if isinstance(entry, bytes) else entry
        return {"stream": stream, "id": entry_id, "bytes": len(message.body)}

    def _refused_login(self) -> PublishError:
        return PublishError(f"{self._options.server} refused the login.", reason="login_refused")

    async def close(self) -> None:
        """Close the connections."""
        await self._broker.stop()
