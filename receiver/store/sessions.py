"""Sessions of the console: who is logged in, on every replica and after a restart.

A session is named by a hash of its cookie's value. So a reader of the store, or of a copy of it, cannot use one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, literal, select, tuple_, update

from receiver.store.prune import Page, Prunable
from receiver.store.schema import console_sessions

MAX_OF_ACTOR = 20
"""Sessions of one user or token. Another login ends the oldest."""
MAX_FOUND = 20
"""How many `find_by_prefix` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One session; times are unix seconds.

    Attributes:
        id: the SHA-256 of the cookie's value, in hex.
        actor: a user, or a token's id.
        kind: `user` or `token`.
        credential: a MAC of what the actor logged in with.
        seen_at: when the actor last opened a page, accurate to a minute.
        client: the address from which it was begun.
    """

    id: str
    actor: str
    kind: str
    credential: str
    created_at: float
    seen_at: float
    expires_at: float
    client: str | None = None


def create(connection: Connection, session: SessionRow) -> None:
    """Store a new session, and end the actor's oldest beyond `MAX_OF_ACTOR`."""
    c = console_sessions.c
    connection.execute(insert(console_sessions).values(asdict(session)))
    newest = select(c.id).where(c.actor == session.actor).order_by(c.created_at.desc(), c.id.desc())
    beyond = list(connection.execute(newest.offset(MAX_OF_ACTOR).limit(1000)).scalars())
    _delete(connection, [id for id in beyond if id != session.id])


def find(connection: Connection, id: str) -> SessionRow | None:
    """The session, also one that has expired; None if there is none."""
    row = connection.execute(select(console_sessions).where(console_sessions.c.id == id)).first()
    return None if row is None else SessionRow(**row._mapping)


def touch(connection: Connection, id: str, now: float) -> None:
    """Say that the actor has just opened a page."""
    connection.execute(update(console_sessions).where(console_sessions.c.id == id).values(seen_at=now))


def remove(connection: Connection, ids: Sequence[str]) -> int:
    """End these sessions; return how many there were."""
    return _delete(connection, ids)


def remove_of(connection: Connection, actor: str) -> int:
    """End all sessions of a user or token; return how many there were."""
    return connection.execute(delete(console_sessions).where(console_sessions.c.actor == actor)).rowcount


def list_sessions(connection: Connection, now: float, limit: int) -> list[SessionRow]:
    """The sessions that have not expired, the one that expires last first."""
    c = console_sessions.c
    found = select(console_sessions).where(c.expires_at > now).order_by(c.expires_at.desc(), c.id.desc())
    return [SessionRow(**row._mapping) for row in connection.execute(found.limit(limit))]


def find_by_prefix(connection: Connection, prefix: str) -> list[str]:
    """The ids that begin with these hex digits, up to `MAX_FOUND`."""
    c = console_sessions.c
    found = select(c.id).where(c.id >= prefix, c.id < f"{prefix}g").order_by(c.id).limit(MAX_FOUND)
    return list(connection.execute(found).scalars())


# delete


def find_old(connection: Connection, before: float, after: tuple[float, str] | None, limit: int) -> Page:
    """Sessions that expired before `before`, as `Prunable.find`."""
    c = console_sessions.c
    at = (c.expires_at, c.id)
    old = select(*at).where(c.expires_at < before)
    if after is not None:
        old = old.where(tuple_(*at) > tuple_(*(literal(value) for value in after)))
    rows = connection.execute(old.order_by(*at).limit(limit)).all()
    last = rows[-1] if len(rows) == limit else None
    return Page([row.id for row in rows], None if last is None else (last.expires_at, last.id))


def delete_old(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete these sessions, which expired before `before`; return how many there were."""
    return _delete(connection, ids)  # an expired one is never extended


def _delete(connection: Connection, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    return connection.execute(delete(console_sessions).where(console_sessions.c.id.in_(ids))).rowcount


SESSIONS = Prunable("sessions", find_old, delete_old)
