"""What came of the chaos: what was acknowledged, lost, not ended, or succeeded twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from receiver.store.schema import attempts, events, runs
from receiver.store.states import RunState
from tests.acceptance.support import Site
from tests.chaos.faults import Fault
from tests.chaos.recovery import Recovery, Reopening, found_dead, summary, taken_up
from tests.chaos.store_view import StoreView, pid_of
from tests.chaos.work import HANDLERS, RunId, journal

LOST_OUTCOMES = {"crashed", "released"}
"""Of attempts that did not hold their lease to their end."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        lost: acknowledged deliveries that the store does not have, as an event with its runs.
        twice: runs that succeeded twice while the lease of each was live.
        not_ended: runs that did not succeed.
        problems: everything else that may not happen.
        repeated: how often work was done again, because an attempt had lost its lease before it was recorded.
        crashed: attempts that lost their lease.
    """

    title: str
    faults: Counter[Fault] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    reopenings: list[Reopening] = field(default_factory=list)
    acknowledged: int = 0
    duplicates: int = 0
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    not_ended: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    repeated: int = 0
    crashed: int = 0
    not_started: int = 0

    @property
    def failures(self) -> list[str]:
        """Everything that may not be."""
        return [*self.lost, *self.twice, *self.not_ended, *self.problems]

    @property
    def _reopened(self) -> list[str]:
        seconds = [each for item in self.reopenings for each in item.seconds]
        said = f"from a start of the server until a replica accepted a delivery: {summary(seconds)}"
        return [said] if self.reopenings else []

    def __str__(self) -> str:
        return "\n".join(
            [
                self.title,
                ", ".join(f"{count} {fault}" for fault, count in self.faults.items()),
                f"{self.acknowledged} deliveries acknowledged ({self.duplicates} duplicates), {len(self.lost)} lost",
                f"{self.runs} runs, {len(self.twice)} succeeded twice under live leases",
                f"{len(self.not_ended)} runs did not end",
                f"{self.crashed} attempts lost their lease, {self.repeated} of them after their work was done",
                f"{len(taken_up(self.recoveries))} of the killed replicas held runs",
                f"from a kill until another replica knew of it: {summary(found_dead(self.recoveries))}",
                f"from a kill until all its runs were taken up: {summary(taken_up(self.recoveries))}",
                *self._reopened,
                f"{self.not_started} starts while the database was away, {len(self.problems)} other problems",
            ]
        )


def check_deliveries(view: StoreView, acknowledged: Mapping[str, str], report: Report) -> None:
    """Each acknowledged delivery is stored under the event that the answer named, with its runs, once."""
    stored = {row.job_id: row.id for row in view.rows(select(events.c.job_id, events.c.id))}
    handlers: dict[str, set[str]] = defaultdict(set)
    for row in view.rows(select(runs.c.event_id, runs.c.handler, runs.c.state)):
        handlers[row.event_id].add(row.handler)
        report.runs += 1
        if row.state != RunState.SUCCEEDED:
            report.not_ended.append(f"the run {row.handler} of {row.event_id} is {row.state}")
    report.acknowledged = len(acknowledged)
    for job, event in acknowledged.items():
        if stored.get(job) != event:
            report.lost.append(f"{job} was acknowledged as {event} and is {stored.get(job)}")
        elif handlers[event] != set(HANDLERS):
            report.lost.append(f"{job} has the runs {handlers[event]}")
    if set(stored) - set(acknowledged):
        report.problems.append(f"stored and never acknowledged: {set(stored) - set(acknowledged)}")


def check_successes(view: StoreView, site: Site, report: Report) -> None:
    """Each run succeeded once, in its last attempt, and one process at most logged that.

    Each start of a handler is an attempt that was recorded. Work that was done more than once had lost its lease each
    time but once: so many attempts were recorded as crashed, by another process.
    """
    columns = (attempts.c.event_id, attempts.c.handler, attempts.c.number, attempts.c.outcome)
    outcomes: dict[RunId, list[str]] = defaultdict(list)
    for event, handler, _, outcome in view.rows(select(*columns).order_by(*columns[:3])):
        outcomes[event, handler].append(outcome)
    logged: Counter[RunId] = Counter()
    for server in site.servers:
        logged.update((line["event"], line["handler"]) for line in server.lines("run.succeeded"))
    starts, done = journal(site.folder / "journal")
    for run, words in outcomes.items():
        crashed = words.count("crashed")
        report.crashed += crashed
        report.repeated += max(0, done[run] - 1)
        if words.count("succeeded") > 1 or logged[run] > 1 or done[run] - 1 > crashed:
            report.twice.append(f"{run}: {words}, done {done[run]} times, logged {logged[run]} times")
        elif words[-1] != "succeeded" or not set(words[:-1]) <= LOST_OUTCOMES or not done[run]:
            report.problems.append(f"{run}: {words}, done {done[run]} times")
        if starts[run] > len(words):
            report.problems.append(f"{run}: {words}, but started {starts[run]} times")
    for run in starts.keys() - outcomes.keys():
        report.problems.append(f"{run}: started {starts[run]} times, and no attempt is recorded")


def check_leases(
    view: StoreView, site: Site, excused: Callable[[int, float], bool], lease_seconds: float, report: Report
) -> None:
    """Nobody takes over a run during the lease of a process that lives, and whose lock cannot have been lost.

    Args:
        excused: whether a process may be taken for dead at a time, unix seconds.
    """
    columns = (attempts.c.event_id, attempts.c.handler, attempts.c.started, attempts.c.ended)
    crashes: dict[RunId, list[tuple[float, float]]] = defaultdict(list)
    for event, handler, started, ended in view.rows(select(*columns).where(attempts.c.outcome == "crashed")):
        crashes[event, handler].append((ended, started))
    for server in site.servers:
        for line in server.lines("run.crashed"):
            at, run = datetime.fromisoformat(line["timestamp"]).timestamp(), (line["event"], line["handler"])
            ended, started = max((it for it in crashes[run] if it[0] <= at), default=(0.0, 0.0))
            if 0 < ended - started < lease_seconds and not excused(pid_of(line["owner"]), ended):
                report.twice.append(f"{run} was taken over {ended - started:.2f} s into the lease of {line['owner']}")
