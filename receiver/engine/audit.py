"""Records operators' changes in the audit log, by the API and the command line alike.

What changes something on request takes a `ChangeRecorder`, and calls it in the transaction of the change. What the
receiver does by itself (retries, polls, pruning once an hour) is not recorded.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.model.audit import (
    MAX_DETAIL,
    MAX_TEXT,
    AuditEntry,
    AuditOperation,
    AuditState,
    Via,
    bounded_filter,
)
from receiver.model.ids import new_change_id
from receiver.model.redact import Redactor
from receiver.store import audit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChangeRecorder:
    """Writes the entry of one change."""

    entry: AuditEntry
    redact: Redactor
    clock: Clock

    def add(self, connection: Connection, changed: int, detail: str | None = None) -> None:
        """Count what this transaction has changed. Nothing is written for 0.

        Args:
            changed: events, runs or jobs.
            detail: one line about the change, if this is its only transaction.
        """
        audit.add(connection, self.entry, changed, self.clock.now(), self._bounded(detail))

    def finish(self, connection: Connection, state: AuditState, detail: str | None = None) -> None:
        """Say how a change of several transactions ended."""
        audit.finish(connection, self.entry.id, state, self._bounded(detail), self.clock.now())

    def _bounded(self, detail: str | None) -> str | None:
        return None if detail is None else self.redact.bounded(detail, MAX_DETAIL)


@dataclass(frozen=True, slots=True)
class Auditor:
    """Makes the recorders of one operation by one actor."""

    operation: AuditOperation
    actor: str
    via: Via
    redact: Redactor
    clock: Clock
    rng: random.Random

    def single(self, **filter: Any) -> ChangeRecorder:
        """Of a change in one transaction.

        Args:
            filter: what it is about, as JSON values; what is None or an empty list is left out.
        """
        return self._recorder(AuditState.COMPLETED, filter)

    def bulk(self, **filter: Any) -> ChangeRecorder:
        """Of a change in several transactions, which is unfinished until `finish`. Arguments as for `one`."""
        return self._recorder(AuditState.UNFINISHED, filter)

    def _recorder(self, state: AuditState, filter: dict[str, Any]) -> ChangeRecorder:
        now = self.clock.now()
        entry = AuditEntry(
            id=new_change_id(now, self.rng.getrandbits(74)),
            at=int(now * 1000) / 1000,  # as in the id, by which lists are bounded
            actor=self.redact.bounded(self.actor, MAX_TEXT),
            via=self.via,
            operation=self.operation,
            filter=bounded_filter(filter, self.redact),
            state=state,
        )
        return ChangeRecorder(entry, self.redact, self.clock)


def recorded(
    connection: Connection,
    recorder: ChangeRecorder,
    count: Callable[[T], int],
    function: Callable[..., T],
    *args: Any,
) -> T:
    """Call `function(connection, *args)`, and count in the same transaction what it changed, by what it returned."""
    result = function(connection, *args)
    recorder.add(connection, count(result))
    return result


def system_user() -> str:
    """Who runs this process, as the system knows them: `user@host`."""
    uid = os.geteuid()
    try:
        import pwd

        name = pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):  # as in a container
        name = str(uid)
    return f"{name}@{socket.gethostname()}"
