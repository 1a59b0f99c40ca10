"""Connections that do not wait for ever for a server that has stopped answering.

A server that hangs keeps its connections, and its machine confirms every packet: no time-out of the network or of the
server itself ends the wait. Imports the driver: import this module only for a store in PostgreSQL.
"""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")


class TimedConnection(psycopg.Connection[Any]):
    """A connection that is closed if an answer takes too long: whether the server did the work is then unknown.

    Attributes:
        answer_seconds: how long one answer may take; None for no limit. Longer than the server's own time-outs, which
            say more.
    """

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for one answer.

        Raises:
            psycopg.OperationalError: there was none in time, and the connection is closed.
        """
        limit = self.answer_seconds if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - what `Connection.wait` is documented to raise
            self.close()
            raise psycopg.OperationalError(f"the server has not answered for {limit:g} s") from None
