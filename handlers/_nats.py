"""Publishing to NATS JetStream: each message is acknowledged by the stream that stored it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from faststream.nats import NatsBroker
from faststream.nats.security import NatsSecurity, NatsToken, NatsUserPassword
from nats.aio.client import Client
from nats.errors import Error, NoServersError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from receiver import Event, Reject

from ._broker import APP_ID, CONFIRM_SECONDS, CONNECT_SECONDS, BrokerUnavailable, PublishError
from ._message import Message
from ._publish_options import fill

if TYPE_CHECKING:
    from ._publish_options import PublishOptions

HEADER_BYTES = 64
"""More than the protocol adds to the headers of a message."""
CHECK_SECONDS = 0.25
"""How often a message that waits looks for its connection. The library does not always report that it is lost."""
UNFINISHED_SECONDS = 1.0
"""How long the end of a connection that was not completed is waited for."""


class NatsSession:
    """A connection to NATS.

    Args:
        client: connected by `open`.
    """

    def __init__(self, client: Client, options: PublishOptions) -> None:
        self._client = client
        self._stream = client.jetstream()
        self._options = options

    @classmethod
    async def open(cls, options: PublishOptions) -> NatsSession:
        """Connect.

        Raises:
            PublishError: NATS refuses the login, or has no TLS where the address demands it.
            Exception: the library's own, for any other failure.
        """
        errors: list[Exception] = []

        async def note(error: Exception) -> None:
            errors[:] = [error]

        tls = _RecordedTls(options.server) if options.url.get_secret_value().startswith("tls:") else None
        broker = _OwnedBroker(
            _without_credentials(options),
            security=_security(options, tls),
            name=APP_ID,
            connect_timeout=int(CONNECT_SECONDS),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=note,
            logger=None,
        )
        try:
            client = await broker.connect()
        except NoServersError as error:
            raise (errors[0] if errors else error) from None
        except Error as error:
            if "authorization" in str(error).lower():
                raise PublishError(f"{options.server} refused the login.", reason="login_refused") from None
            raise
        session = cls(client, options)
        if tls is not None and not tls.used:
            await session.close()
            raise tls.refusal()
        return session

    @property
    def lost(self) -> bool:
        """Whether the connection is closed."""
        return self._client.is_closed

    async def publish(self, event: Event, message: Message, key: str) -> dict[str, Any]:
        """Publish to the subject; returns after the stream's acknowledgement. JetStream drops repetitions of an id."""
        subject = fill(self._options.subject, event)
        headers = {**message.headers, "content-type": message.content_type, Header.MSG_ID.value: key}
        size = len(message.body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + HEADER_BYTES
        if size > self._client.max_payload:
            raise Reject(
                f"The message has {size} bytes, and {self._options.server} accepts at most {self._client.max_payload}: "
                "lower max_inline_bytes, or raise the server's max_payload.",
                reason="message_too_large",
            )
        request = asyncio.ensure_future(
            self._stream.publish(subject, message.body, timeout=CONFIRM_SECONDS, headers=headers)
        )
        try:
            while not request.done():
                await asyncio.wait({request}, timeout=CHECK_SECONDS)
                if self.lost and not request.done():
                    what = f"The connection to {self._options.server} was lost before the acknowledgement"
                    raise BrokerUnavailable(f"{what}.")
            acknowledged = request.result()
        except NoStreamResponseError:
            raise PublishError(
                f"{self._options.server} has no stream that stores the subject {subject}.", reason="no_stream"
            ) from None
        except APIError as error:
            raise PublishError(
                f"{self._options.server} did not store the message: {error.description} (code {error.err_code})."
            ) from None
        finally:
            request.cancel()
        return {
            "subject": subject,
            "stream": acknowledged.stream,
            "sequence": acknowledged.seq,
            "duplicate": bool(acknowledged.duplicate),
            "bytes": len(message.body),
        }

    async def close(self) -> None:
        """Close the connection. There is nothing to drain: every message is acknowledged or given up."""
        await self._client.close()


class _OwnedBroker(NatsBroker):
    """Closes a connection that could not be completed; a refused login would otherwise leave an open socket."""

    async def _connect(self) -> Client:
        client = Client()
        try:
            await client.connect(**self._connection_kwargs)
        except BaseException:
            # The socket is closed at once; after a failed TLS handshake the library waits without end for that.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.close(), UNFINISHED_SECONDS)
            raise
        self.config.connect(client)
        return client


class _RecordedTls(ssl.SSLContext):
    """A context that knows whether a handshake used it.

    With a `tls://` address the library uses TLS only if the server says that it has TLS. An attacker between both can
    change that, and would be sent the password.
    """

    def __new__(cls, server: str) -> _RecordedTls:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, server: str) -> None:
        self.load_default_certs()
        self.used = False
        self._server = server

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """As the base; called by the event loop."""
        self.used = True
        return super().wrap_bio(*args, **options)

    def protect(self, secret: str) -> Callable[[], str]:
        """The secret, given only after a handshake has begun."""

        def get() -> str:
            if not self.used:
                raise self.refusal()
            return secret

        return get

    def refusal(self) -> PublishError:
        """The error if the server does not use TLS."""
        return PublishError(f"{self._server} does not use TLS, which tls:// demands.", reason="no_tls")


def _without_credentials(options: PublishOptions) -> str:
    parts = urlsplit(options.url.get_secret_value())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _security(options: PublishOptions, tls: _RecordedTls | None) -> NatsSecurity:
    """User and password, or a token in the place of the user, as NATS addresses have them; decoded."""
    parts = urlsplit(options.url.get_secret_value())
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    protect: Callable[[str], Any] = tls.protect if tls is not None else lambda secret: secret
    if parts.password is not None:
        return NatsUserPassword(user, protect(password), ssl_context=tls)
    if user:
        return NatsToken(protect(user), ssl_context=tls)
    return NatsSecurity(ssl_context=tls)
