"""What the replicas wrote: each warning and each error must be one of those that the faults explain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from tests.acceptance.support import Server
from tests.chaos.recovery import Recovery
from tests.chaos.store_view import pid_of

INFO = "info"
OF_KILLS = frozenset({INFO, "process.dead", "run.crashed"})
# A list that a frozen process was reading has taken too long when it continues.
OF_FREEZES = frozenset({"handler.blocks_loop", "run.lease_lost", "operation.interrupted"})
AWAY = "cannot be reached"
"""What a line says that reports the database to be away."""
LOCKED, ENDED = "is locked: a transaction of another session", "idle-in-transaction timeout"
"""What others say of rows that a frozen process has locked, and that process of its transaction when it continues."""
NOT_DURABLE = "store.not_durable"
"""The servers of the tests run with `fsync = off`, of which the start warns."""
OF_OUTAGES = frozenset(
    {AWAY, LOCKED, ENDED, "process.lock_failed", "process.lock_not_removed", "process.not_watching", NOT_DURABLE}
)


def unexplained(servers: Iterable[Server], explained: frozenset[str]) -> list[str]:
    """Warnings and errors of other kinds, and what is no line of the log: one sentence for each kind."""
    found: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for server in servers:
        *texts, last = server.text().split("\n")
        whole = [*texts, last] if last.endswith("}") else texts  # what was killed may have written half a line
        for text in whole:
            kind = _kind(text)
            outage = any(words in explained and words in text for words in (AWAY, LOCKED, ENDED))
            if kind not in explained and not outage:
                found[kind] += 1
                examples.setdefault(kind, f"{server.log}: {text[:500]}")
    return [f"{count} lines {kind}, such as {examples[kind]}" for kind, count in found.items()]


def _kind(text: str) -> str:
    """The message of a warning or an error; `INFO` for what asks for nothing, or counts lines like one before."""
    try:
        line = json.loads(text)
    except ValueError:
        return "that are none of the log"
    return INFO if line["level"] == INFO or "repeated" in line else str(line["message"])


def note_deaths(servers: Iterable[Server], recoveries: Sequence[Recovery]) -> None:
    """Note when each death was first reported."""
    of_pid = {recovery.pid: recovery for recovery in recoveries}
    for server in servers:
        for line in server.lines("process.dead"):
            recovery = of_pid.get(pid_of(line["owner"]))
            if recovery is not None:
                seconds = datetime.fromisoformat(line["timestamp"]).timestamp() - recovery.killed_on
                recovery.found_seconds = min(seconds, recovery.found_seconds or seconds)
