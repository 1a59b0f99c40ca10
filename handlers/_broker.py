"""The connection of `publish` to its broker: opened when it is needed, and again after it was lost.

The libraries' own reconnecting is not used. It continues without end in the background, and meanwhile an attempt would
wait for its time-out instead of failing with the reason, such as a refused login.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from receiver import Event, ReceiverError

from ._message import Message

log = structlog.get_logger("handlers.publish")

APP_ID = "tts-receiver"
"""How the receiver names itself to a broker."""
CONNECT_SECONDS = 10.0
CONFIRM_SECONDS = 30.0
CLOSE_SECONDS = 3.0
MAX_ERROR_CHARACTERS = 300


class PublishError(ReceiverError):
    """The broker did not confirm the message; the run is retried with backoff."""

    reason = "not_published"


class BrokerUnavailable(PublishError):
    """There is no connection to the broker, or it was lost before the confirmation."""

    reason = "broker_unavailable"


class Session(Protocol):
    """An open connection to a broker."""

    @property
    def lost(self) -> bool:
        """Whether the connection is known to be gone."""

    async def publish(self, event: Event, message: Message, key: str) -> dict[str, Any]:
        """Publish a message and wait for the broker's confirmation.

        Args:
            event: gives the names that the destination contains.
            key: the message's id, the same for every attempt.

        Returns:
            Where the message is, for the run's result.

        Raises:
            PublishError: the broker refused it, and the connection can still be used.
            Reject: no repetition can succeed.
            Exception: the library's own; the connection is given up.
        """

    async def close(self) -> None:
        """Close the connection; may raise what the library raises."""


class BrokerConnection:
    """At most one session that is used for new messages, opened on demand.

    Args:
        open_session: connects.
        server: the broker in an error's words.
        secrets: removed from the libraries' texts.
        confirm_seconds: how long a message may wait for its confirmation.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[Session]],
        server: str,
        secrets: tuple[str, ...],
        confirm_seconds: float = CONFIRM_SECONDS,
    ) -> None:
        self._open_session = open_session
        self._server = server
        self._secrets = secrets
        self._confirm_seconds = confirm_seconds
        self._session: Session | None = None
        self._opening: asyncio.Task[Session] | None = None
        self._publishing: Counter[Session] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    async def publish(self, event: Event, message: Message, key: str) -> dict[str, Any]:
        """Publish a message; returns after the broker has confirmed it.

        Raises:
            PublishError: it is not confirmed. The broker may have it nevertheless, if the connection was lost.
            Reject: as the session.
        """
        session = await self._get()
        self._publishing[session] += 1
        try:
            async with asyncio.timeout(self._confirm_seconds):
                return await session.publish(event, message, key)
        except ReceiverError:
            raise
        except TimeoutError:
            self._give_up(session)
            what = f"{self._server} did not confirm the message within {self._confirm_seconds:g} s"
            raise BrokerUnavailable(f"{what}. It may be out of memory or disk space.") from None
        except Exception as error:  # noqa: BLE001 - any error of a library; its traceback could contain the password
            self._give_up(session)
            what = f"The connection to {self._server} failed before the message was confirmed"
            raise BrokerUnavailable(f"{what}: {self._describe(error)}") from None
        finally:
            self._publishing[session] -= 1
            self._close_unused(session)

    async def close(self) -> None:
        """Close every session."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        self._session = None
        for session in list(self._publishing):
            self._close(session)
        while self._closing:
            await asyncio.wait(self._closing)

    async def _get(self) -> Session:
        if self._session is not None and not self._session.lost:
            return self._session
        if self._opening is None or self._opening.done():
            # A task of its own: an attempt that times out leaves no half-open connection, and others may wait for it.
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Session:
        if self._session is not None:
            lost, self._session = self._session, None
            self._close_unused(lost)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._session = await self._open_session()
        except ReceiverError:
            raise
        except TimeoutError:
            raise BrokerUnavailable(f"{self._server} did not answer within {CONNECT_SECONDS:g} s.") from None
        except Exception as error:  # noqa: BLE001 - as above
            raise BrokerUnavailable(f"Cannot connect to {self._server}: {self._describe(error)}") from None
        self._publishing[self._session] = 0
        return self._session

    def _give_up(self, session: Session) -> None:
        if self._session is session:
            self._session = None

    def _close_unused(self, session: Session) -> None:
        """Close a session that was given up, after its last message has its outcome."""
        if session is not self._session and self._publishing[session] == 0:
            self._close(session)

    def _close(self, session: Session) -> None:
        """In the background: no attempt waits for it."""
        self._publishing.pop(session, None)
        task = asyncio.create_task(self._close_in_time(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_in_time(self, session: Session) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await session.close()
        except Exception as error:  # noqa: BLE001 - it is given up, whatever its library reports
            log.debug("publish.not_closed", broker=self._server, error=self._describe(error))

    def _describe(self, error: BaseException) -> str:
        text = " ".join(str(error).split())
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        return text if len(text) <= MAX_ERROR_CHARACTERS else text[: MAX_ERROR_CHARACTERS - 1] + "…"
