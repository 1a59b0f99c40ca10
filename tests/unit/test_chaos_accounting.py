"""Chaos finds what may not happen: each fault is put into the store, the journal or the log of a run without faults."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.backends import backend_of
from tests.acceptance.support import Server, Site
from tests.chaos.accounting import Report, check_deliveries, check_leases, check_successes
from tests.chaos.logs import OF_KILLS, OF_OUTAGES, unexplained
from tests.chaos.store_view import StoreView
from tests.chaos.work import HANDLERS
from tests.integration.engine_support import fresh_store
from tests.stores import execute, open_store

NOW = 1_700_000_000.0
LEASE = 10.0
DEAD, ALIVE = 41, 42
ACKNOWLEDGED = {f"job-{n}": f"evt_{n:032x}" for n in range(3)}
EVENT = ACKNOWLEDGED["job-1"]


class Chaos:
    """The end of a run in which every delivery was stored, and every run succeeded at the first attempt."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self.store = fresh_store(folder / "receiver.db")
        process = subprocess.Popen(["true"])
        process.wait()
        self.site.servers = [Server(process, folder / "serve-0.log")]
        database = open_store(self.store)
        for job, event in ACKNOWLEDGED.items():
            made = Delivery(
                event_id=event, source="aitts", type="job.completed", key=job, job_id=job, origin="webhook",
                payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=NOW, handlers=HANDLERS,
            )  # fmt: skip
            database.transact(inbox.accept, [made])
        database.close()
        execute(self.store, "UPDATE runs SET state = 'succeeded', attempt = 1")
        for event in ACKNOWLEDGED.values():
            for handler in HANDLERS:
                self.attempt(event, handler, 1, "succeeded")
                self.work(event, handler, "start", "done")
                self.log("run.succeeded", "info", event=event, handler=handler)

    def attempt(self, event: str, handler: str, number: int, outcome: str, seconds: float = 1.0) -> None:
        execute(
            self.store,
            "INSERT INTO attempts (event_id, handler, number, started, ended, outcome) "
            "VALUES (:event, :handler, :number, :started, :ended, :outcome)",
            event=event, handler=handler, number=number, started=NOW, ended=NOW + seconds, outcome=outcome,
        )  # fmt: skip

    def work(self, event: str, handler: str, *what: str) -> None:
        with (self.site.folder / "journal").open("a") as file:
            file.writelines(json.dumps({"event": event, "handler": handler, "what": it}) + "\n" for it in what)

    def log(self, message: str, level: str, at: float = NOW, **values: str | int) -> None:
        line = {"timestamp": datetime.fromtimestamp(at, UTC).isoformat(), "level": level, "message": message, **values}
        with self.site.servers[0].log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def crash(self, owner: int, seconds: float) -> None:
        """A first attempt that another process took for dead; the work was done twice."""
        execute(self.store, "UPDATE attempts SET number = 2 WHERE event_id = :event", event=EVENT)
        self.attempt(EVENT, HANDLERS[0], 1, "crashed", seconds)
        self.work(EVENT, HANDLERS[0], "start", "done")
        values = {"event": EVENT, "handler": HANDLERS[0], "owner": f"host_{owner}_0"}
        self.log("run.crashed", "warning", NOW + seconds + 0.1, **values)

    def report(self) -> Report:
        report = Report("seeded")
        view = StoreView(backend_of(f"sqlite:///{self.store}", Path("/")))
        check_deliveries(view, ACKNOWLEDGED, report)
        check_successes(view, self.site, report)
        check_leases(view, self.site, lambda pid, at: pid == DEAD, LEASE, report)
        report.problems += unexplained(self.site.servers, OF_KILLS)
        view.close()
        return report


@pytest.fixture
def chaos(tmp_path: Path) -> Chaos:
    return Chaos(tmp_path)


def test_without_a_fault_there_is_nothing_to_report(chaos: Chaos) -> None:
    assert chaos.report().failures == []


def test_work_that_is_done_twice_because_a_lease_was_lost_is_counted_and_no_fault(chaos: Chaos) -> None:
    chaos.crash(DEAD, 2.0)
    report = chaos.report()
    assert (report.failures, report.crashed, report.repeated) == ([], 1, 1)


def test_a_process_that_lives_loses_its_lease_when_that_is_over_and_no_sooner(chaos: Chaos) -> None:
    chaos.crash(ALIVE, LEASE)
    assert chaos.report().failures == []
    execute(chaos.store, "UPDATE attempts SET ended = ended - 8 WHERE outcome = 'crashed'")
    [found] = chaos.report().twice
    assert "taken over 2.00 s into the lease" in found


def test_an_acknowledged_delivery_that_is_not_stored_is_lost(chaos: Chaos) -> None:
    execute(chaos.store, "DELETE FROM events WHERE id = :event", event=EVENT)
    report = chaos.report()
    assert len(report.lost) == 1
    assert EVENT in report.lost[0]


def test_an_event_without_one_of_its_runs_is_lost(chaos: Chaos) -> None:
    execute(chaos.store, "DELETE FROM runs WHERE event_id = :event AND handler = :h", event=EVENT, h=HANDLERS[0])
    assert len(chaos.report().lost) == 1


def test_an_event_that_nobody_acknowledged_is_a_problem(chaos: Chaos) -> None:
    execute(chaos.store, "UPDATE events SET job_id = 'another' WHERE id = :event", event=EVENT)
    report = chaos.report()
    assert (len(report.lost), len(report.problems)) == (1, 1)


def test_a_run_that_was_never_taken_up_has_not_ended(chaos: Chaos) -> None:
    execute(chaos.store, "UPDATE runs SET state = 'pending' WHERE event_id = :event", event=EVENT)
    assert len(chaos.report().not_ended) == len(HANDLERS)


def test_two_successes_are_found_in_the_store_in_the_log_and_in_the_journal(chaos: Chaos) -> None:
    stored, logged, done = ACKNOWLEDGED.values()
    chaos.attempt(stored, HANDLERS[0], 2, "succeeded")
    chaos.log("run.succeeded", "info", event=logged, handler=HANDLERS[0])
    chaos.work(done, HANDLERS[0], "done")
    assert len(chaos.report().twice) == 3


def test_a_handler_that_started_without_a_recorded_attempt_is_a_problem(chaos: Chaos) -> None:
    chaos.work(EVENT, HANDLERS[0], "start")
    chaos.work("evt_unknown", HANDLERS[0], "start")
    assert len(chaos.report().problems) == 2


def test_warnings_that_no_fault_explains_are_problems(chaos: Chaos) -> None:
    chaos.log("process.dead", "warning")
    chaos.log("process.dead", "warning", repeated=3)
    chaos.log("something.else", "warning", repeated=3)
    chaos.log("store.unavailable", "error", detail="The store cannot be reached")
    with chaos.site.servers[0].log.open("a") as file:
        file.write("Traceback (most recent call last):\n" + '{"timestamp": "half a li')
    assert len(chaos.report().problems) == 2
    assert len(unexplained(chaos.site.servers, OF_KILLS | OF_OUTAGES)) == 1
