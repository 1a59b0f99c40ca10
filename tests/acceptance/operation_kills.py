"""Kill receivers while they change all that matches: each run of the set is changed exactly once, and nothing else.

`python -m tests.acceptance.operation_kills --kills 100`: exit 1 if that is not so. On SQLite one receiver is killed and
started again, on PostgreSQL two replicas are. Triggers in the database record each change that is committed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.store.schema import events, runs
from tests.acceptance.support import Site, until
from tests.postgresql_server import running_server
from tests.stores import Store, execute, insert_rows, postgresql_address, query

KILL_SECONDS = (0.0, 0.8)
"""When a receiver is killed, after the operation was accepted or the last one was started."""
NEVER = 4e9
"""When runs are due that are to be retried now, and how long they wait: otherwise a start would make them due."""

WORK = '''
"""A handler that rejects each event: a run that was replayed is soon dead again."""

from receiver import Event, Reject, handler


@handler(on=Event)
async def work(event, ctx):
    raise Reject("planted again", reason="planted")
'''

_RUN_CHANGED = {
    "replay": "OLD.state = 'dead' AND NEW.state = 'pending'",
    "cancel": "OLD.state = 'pending' AND NEW.state = 'cancelled'",
    "retry": "OLD.state = 'pending' AND NEW.state = 'pending' AND OLD.due_at = 4e9 AND NEW.due_at < 4e9",
}
_RELEASED = "OLD.status = 'quarantined' AND NEW.status <> 'quarantined'"


@dataclass(frozen=True)
class Kind:
    """A kind of operation.

    Attributes:
        body: its filter.
        run: columns of the runs that match; None if it changes events.
        beside: columns of runs that do not.
    """

    name: str
    path: str
    body: dict[str, Any]
    run: dict[str, Any] | None
    beside: dict[str, Any]


_DEAD = {"state": "dead", "handler": "work", "finished_at": 1.0, "due_at": 1.0, "error": "x", "error_kind": "rejected"}
_WAITING = {"state": "pending", "handler": "gone", "due_at": NEVER, "wait_seconds": NEVER}
KINDS = (
    Kind("replay", "runs/replay", {"reason": "planted"}, _DEAD | {"reason": "planted"}, _DEAD | {"reason": "other"}),
    Kind("cancel", "runs/cancel", {"handler": "gone", "type": "cancel.test"}, _WAITING, _WAITING | {"handler": "else"}),
    Kind(
        "retry", "runs/retry-now", {"handler": "gone", "type": "retry.test"}, _WAITING, _WAITING | {"handler": "else"}
    ),
    Kind("release", "events/release", {"type": "release.test"}, None, _WAITING),
)


@dataclass
class Report:
    """What came of it."""

    kills: int = 0
    operations: int = 0
    changed: int = 0
    during: int = 0
    """Kills while an operation was unfinished."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.during} of them during one of {self.operations} operations; "
            f"{self.changed:,} changed exactly once; faults {len(self.faults)}"
        )


class Trial:
    """Operations on one store, whose receivers are killed.

    Args:
        replicas: receivers at a time.
        number: of what matches each operation; a tenth as much does not.
    """

    def __init__(self, site: Site, store: Store, replicas: int, number: int, rng: random.Random) -> None:
        self._site = site
        self._store = store
        self._number = number
        self._rng = rng
        self._next = 0
        self.report = Report()
        address = f'[store]\nurl = "{store}"' if isinstance(store, str) else ""
        site.plugin("work", WORK).configure(f'[plugins]\ndirectory = "plugins"\n{address}', handlers="")
        self._servers = [site.start() for _ in range(replicas)]
        _record_changes(store)

    def run(self, kind: Kind, kills: int) -> None:
        """An operation, with kills until it ends."""
        wanted, others = self._plant(kind)
        before = self._changes(kind)
        id = self._accept(kind)
        for _ in range(kills):
            self._kill(id)
        self._check(kind, id, wanted, before)
        if kind.run is not None:
            same = f"handler = '{kind.beside['handler']}' AND state = '{kind.beside['state']}'"
            kept = {row["event_id"] for row in query(self._store, f"SELECT event_id FROM runs WHERE {same}")}
            if not others <= kept:
                self.report.faults.append(f"{kind.name}: {len(others - kept)} runs beside the set were changed")

    def run_stopped(self, kind: Kind, kills: int) -> None:
        """An operation that is stopped, with kills before and after: what was changed stays, and nothing more is."""
        self._plant(kind)
        before = self._changes(kind)
        id = self._accept(kind)
        for _ in range(kills):
            self._kill(id)
        url = f"{self._servers[0].private}/v1/operations/{id}"
        with suppress(OSError):
            _post(f"{url}/stop", None)
        state, changed = self._row(id)
        if state == "unfinished":
            self.report.faults.append(f"{kind.name}: it was stopped and is {state}")
        for _ in range(kills):
            self._kill(id)
        later = self._accept(kind)  # it begins after the other one, if that went on
        self._wait_until_ended(later)
        log = self._changes(kind) - before
        if self._row(id) != (state, changed):
            self.report.faults.append(f"{kind.name}: it was {state} with {changed}, and is {self._row(id)}")
        if log.total() != changed + self._row(later)[1] or max(log.values(), default=1) > (2 if kind.run else 1):
            self.report.faults.append(f"{kind.name}: {log.total()} changes, {changed} before the stop")
        self.report.operations += 2
        self.report.changed += log.total()

    def _check(self, kind: Kind, id: str, wanted: set[str], before: Counter[str]) -> None:
        self._wait_until_ended(id)
        log = self._changes(kind) - before
        fault = self.report.faults.append
        if set(log) != wanted:
            fault(f"{kind.name}: {len(wanted - set(log))} not changed, {len(set(log) - wanted)} beyond the set")
        if twice := [event for event, number in log.items() if number > 1]:
            fault(f"{kind.name}: {len(twice)} changed more than once, such as {twice[0]}")
        if self._row(id) != ("completed", len(wanted)):
            fault(f"{kind.name}: it is {self._row(id)}, not completed with {len(wanted)}")
        (entry,) = query(self._store, "SELECT state, changed FROM audit_entries WHERE id = :id", id=id)
        if (entry["state"], entry["changed"]) != ("completed", len(wanted)):
            fault(f"{kind.name}: its entry in the audit log says {entry}")
        self.report.operations += 1
        self.report.changed += log.total()

    def _accept(self, kind: Kind) -> str:
        """The id of an operation; asked again if its process was not ready."""

        def ask() -> str | None:
            with suppress(OSError):
                return str(_post(f"{self._servers[0].private}/v1/{kind.path}", kind.body)["id"])
            return None

        return str(until(f"{kind.path} is accepted", ask))

    def _kill(self, id: str) -> None:
        """Kill a receiver at a random moment, and start another one."""
        time.sleep(self._rng.uniform(*KILL_SECONDS))
        index = self._rng.randrange(len(self._servers))
        self.report.during += self._row(id)[0] == "unfinished"
        self._servers[index].kill()
        self.report.kills += 1
        self._servers[index] = self._site.start()

    def _wait_until_ended(self, id: str) -> None:
        """Wait for it as long as it makes progress: how fast it is depends on the machine."""
        seen = self._row(id)
        while seen[0] == "unfinished":
            seen = until(f"progress of an operation that is {seen}", lambda last=seen: _other(self._row(id), last))  # type: ignore[misc]

    def _row(self, id: str) -> tuple[str, int]:
        (row,) = query(self._store, "SELECT state, changed FROM operations WHERE id = :id", id=id)
        return row["state"], row["changed"]

    def _changes(self, kind: Kind) -> Counter[str]:
        """How often each event or its run was changed, as committed."""
        rows = query(self._store, "SELECT event_id FROM changes_seen WHERE kind = :kind", kind=kind.name)
        return Counter(row["event_id"] for row in rows)

    def _plant(self, kind: Kind) -> tuple[set[str], set[str]]:
        """Insert events: those that match, and others."""
        number = self._number if kind.run is not None else self._number // 10  # an event takes longer than a run
        wanted = self._insert(kind, number, kind.run, quarantined=kind.run is None)
        return wanted, self._insert(kind, self._number // 10, kind.beside, quarantined=False)

    def _insert(self, kind: Kind, number: int, run: dict[str, Any] | None, *, quarantined: bool) -> set[str]:
        ids = [f"evt_{self._next + n:032x}" for n in range(number)]
        self._next += number
        status = "quarantined" if quarantined else "accepted"
        type_ = f"{kind.name}.test" if run is kind.run else "beside.test"
        insert_rows(self._store, events, *(_event(id, type_, status) for id in ids))
        if run is not None:
            insert_rows(self._store, runs, *({"event_id": id, **run} for id in ids))
        return set(ids)


def _other(now: tuple[str, int], last: tuple[str, int]) -> tuple[str, int] | None:
    return now if now != last else None


def _event(id: str, type_: str, status: str) -> dict[str, Any]:
    return {
        "id": id, "source": "aitts", "type": type_, "key": id, "job_id": id, "origin": "webhook", "status": status,
        "payload": {}, "body": b"{}", "headers": [], "received_at": 1.0, "duplicates": 0, "conflict": False,
    }  # fmt: skip


def _record_changes(store: Store) -> None:
    """Have the database record each change in the transaction that makes it."""
    execute(store, "CREATE TABLE changes_seen (kind TEXT NOT NULL, event_id TEXT NOT NULL)")
    conditions = [("runs", name, condition, "event_id") for name, condition in _RUN_CHANGED.items()]
    for table, name, condition, column in [*conditions, ("events", "release", _RELEASED, "id")]:
        seen = f"INSERT INTO changes_seen VALUES ('{name}', NEW.{column});"
        after = f"CREATE TRIGGER seen_{name} AFTER UPDATE ON {table} FOR EACH ROW WHEN ({condition})"
        if isinstance(store, Path):
            execute(store, f"{after} BEGIN {seen} END")
        else:
            body = f"$$ BEGIN {seen} RETURN NEW; END $$"
            execute(store, f"CREATE FUNCTION seen_{name}() RETURNS trigger LANGUAGE plpgsql AS {body}")
            execute(store, f"{after} EXECUTE FUNCTION seen_{name}()")


def _post(url: str, body: Any) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method="POST"), timeout=60) as answer:
        return json.load(answer)


def measure(
    site: Site, store: Store, replicas: int, number: int, rounds: Iterable[tuple[int, bool]], rng: random.Random,
    report_progress: Callable[[str], None] = lambda _: None,
) -> Report:  # fmt: skip
    """Operations of all kinds in random order.

    Args:
        rounds: for each operation how often receivers are killed, and whether it is stopped.
    """
    trial = Trial(site, store, replicas, number, rng)
    kinds: list[Kind] = []
    for kills, stopped in rounds:
        kinds = kinds or rng.sample(KINDS, len(KINDS))
        kind = kinds.pop()
        (trial.run_stopped if stopped else trial.run)(kind, kills)
        report_progress(f"{kind.name}{', stopped' if stopped else ''}: {trial.report}")
    return trial.report


def main() -> int:
    """Kill receivers as the arguments say, half of them on each kind of store; 1 for any fault."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--runs", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=20261127)
    given = arguments.parse_args()
    rounds = [(3, number % 3 == 2) for number in range(max(1, given.kills // 8))]
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, running_server() as server, postgresql_address(server) as address:
        for name, replicas in (("SQLite", 1), ("PostgreSQL", 2)):
            site = Site(Path(folder) / name)
            store: Store = address if name == "PostgreSQL" else site.store
            rng = random.Random(given.seed)
            try:
                report = measure(
                    site,
                    store,
                    replicas,
                    given.runs,
                    rounds,
                    rng,
                    lambda line, name=name: print(f"{name}: {line}"),  # type: ignore[misc]
                )
            finally:
                site.close()
            faults += report.faults
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
