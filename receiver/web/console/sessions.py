"""Sessions: begun by a login, found by the cookie's value, ended by a logout, by time, or by another configuration."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.audit import Auditor, ChangeRecorder, recorded
from receiver.errors import StoreUnavailable
from receiver.model.audit import AuditOperation, Via
from receiver.store import sessions
from receiver.store.sessions import SessionRow
from receiver.web.api.context import ApiContext
from receiver.web.console.credentials import Credential, Credentials

log = structlog.get_logger("receiver.console")

LIFETIME_SECONDS = 12 * 3600.0
"""How long a session lasts, whatever is done with it."""
IDLE_SECONDS = 2 * 3600.0
"""How long it lasts after the last page that was opened. What pages load by themselves does not count."""
TOUCH_SECONDS = 60.0
"""How exactly that is known: a session is not written more often."""
CLOCK_SECONDS = 3600.0
"""How far ahead of this clock the times of a session may lie, because another process's clock set them."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is valid.

    Attributes:
        value: the cookie's.
        id: its name in the store.
        credential: as the configuration has it now.
        csrf: what its forms send back.
        seen_at: when a page was opened last, unix seconds.
    """

    value: str = field(repr=False)
    id: str
    credential: Credential
    csrf: str = field(repr=False)
    seen_at: float


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, context: ApiContext, credentials: Credentials) -> None:
        self._context = context
        self._database = context.database
        self._credentials = credentials
        self._clock: Clock = context.clock

    async def begin(self, credential: Credential, client: str | None, before: Session | None) -> str:
        """The cookie's value of a new session.

        Args:
            before: the session of the same browser, which ends.

        Raises:
            StoreUnavailable: it was not stored.
        """
        value = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        now = self._clock.now()
        row = SessionRow(
            id=_id_of(value),
            actor=credential.actor,
            kind=str(credential.kind),
            credential=credential.seal(value),
            created_at=now,
            seen_at=now,
            expires_at=now + LIFETIME_SECONDS,
            client=client,
        )
        recorder = self._recorder(AuditOperation.LOG_IN, credential, client)
        await self._database.write(recorded, recorder, int, _replace, row, [] if before is None else [before.id])
        return value

    async def find(self, value: str) -> Session | None:
        """The valid session of a cookie's value.

        Raises:
            ListingTimeout, StoreUnavailable: the store cannot be read.
        """
        row = await self._database.read_list(sessions.find, _id_of(value))
        credential = None if row is None else self._credentials.get(row.kind, row.actor)
        if row is None or credential is None:
            return None
        is_same = hmac.compare_digest(credential.seal(value), row.credential)
        if not is_same or not is_current(row, self._clock.now()):
            return None
        return Session(value, row.id, credential, _csrf_of(value), row.seen_at)

    async def touch(self, session: Session) -> None:
        """The actor has opened a page."""
        now = self._clock.now()
        if abs(now - session.seen_at) < TOUCH_SECONDS:
            return
        try:
            await self._database.write(sessions.touch, session.id, now)
        except StoreUnavailable as error:  # it can still be read
            log.warning("console.session_not_extended", detail=str(error))

    async def end(self, session: Session, client: str | None) -> None:
        """End a session.

        Raises:
            StoreUnavailable: it may not have ended.
        """
        recorder = self._recorder(AuditOperation.LOG_OUT, session.credential, client)
        await self._database.write(recorded, recorder, int, sessions.remove, [session.id])

    def _recorder(self, operation: AuditOperation, credential: Credential, client: str | None) -> ChangeRecorder:
        context = self._context
        auditor = Auditor(operation, credential.actor, Via.CONSOLE, context.redact, context.clock, context.rng)
        return auditor.single(credential=str(credential.kind), client=client)


def _replace(connection: Connection, row: SessionRow, before: Sequence[str]) -> int:
    """Store a session, and end another; how many were begun."""
    sessions.remove(connection, before)
    sessions.create(connection, row)
    return 1


def _id_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _csrf_of(value: str) -> str:
    return hmac.new(value.encode(), b"csrf", hashlib.sha256).hexdigest()


def is_current(row: SessionRow, now: float) -> bool:
    """Whether it has neither expired nor idled; nor was it written by a clock that was wrong by much."""
    left, idle = row.expires_at - now, now - row.seen_at
    return 0 < left <= LIFETIME_SECONDS + CLOCK_SECONDS and -CLOCK_SECONDS <= idle < IDLE_SECONDS
