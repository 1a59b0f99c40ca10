"""Leases of runs and jobs, and the end of all leases of a dead process."""

from __future__ import annotations

import os
import re
import secrets
import socket
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, update

from receiver.store import operations
from receiver.store.schema import jobs, runs
from receiver.store.states import RunState

FREE: dict[str, Any] = {"lease_until": None, "lease_owner": None}
"""The lease columns of a job that no process holds."""

IS_RUNNING = and_(runs.c.state == RunState.RUNNING, runs.c.state != RunState.SUCCEEDED)
"""A run that a process holds. The second half lets SQLite use the index of runs that have not succeeded."""


class Lease(NamedTuple):
    """The process that claims, and until when (unix seconds) no other process may."""

    owner: str
    until: float


class Held(NamedTuple):
    """How many leases of an owner were ended."""

    runs: int
    jobs: int


def new_owner() -> str:
    """A unique name for this process in leases, which is also a valid name of a file."""
    host = re.sub(r"[^A-Za-z0-9]", "-", socket.gethostname())[:40]
    return f"{host}_{os.getpid()}_{secrets.token_hex(8)}"


def end_leases(connection: Connection, owner: str) -> Held:
    """End every lease of an owner that has died.

    Its jobs can be claimed when they are due. The leases of its runs have expired from now on (`store.claims`). What it
    did in the background is free.
    """
    operations.release(connection, owner)
    of_runs = update(runs).where(IS_RUNNING, runs.c.lease_owner == owner)
    of_jobs = update(jobs).where(jobs.c.lease_until.is_not(None), jobs.c.lease_owner == owner)
    return Held(
        connection.execute(of_runs.values(lease_until=0.0)).rowcount,
        connection.execute(of_jobs.values(FREE)).rowcount,
    )
