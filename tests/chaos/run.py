"""One run of chaos: the faults of a plan, under load, and what came of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.acceptance.support import STEP_SECONDS, Site
from tests.chaos.accounting import Report, check_deliveries, check_leases, check_successes
from tests.chaos.audio import AudioServer, check_audio
from tests.chaos.faults import Fault, Plan, Step
from tests.chaos.logs import note_deaths, unexplained
from tests.chaos.recovery import Recovery, Reopening
from tests.chaos.replicas import REPLICAS, Replicas
from tests.chaos.store_view import StoreUnreadable, StoreView
from tests.chaos.systems import System
from tests.chaos.work import HANDLERS_FILE, SpreadLoad
from tests.patience import PATIENCE

END_SECONDS = 5 * PATIENCE
"""How long the end may take: a run that was blamed for three crashes waits for minutes."""

BROKEN_SECONDS = 20.0
"""How long after connections were broken a process that lives may be taken for dead."""


def run_chaos(
    site: Site, system: System, plan: Plan, report_progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Do what the plan says to replicas that share the system's store; what came of it, once all has ended."""
    audio = AudioServer()
    site.plugin("working", HANDLERS_FILE)
    more = f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{system.url}"'
    site.configure(more, base_url=audio.url, handlers="", dispatch=f"lease_seconds = {plan.lease_seconds}")
    chaos = Chaos(site, system, plan, report_progress)
    try:
        return chaos.run()
    finally:
        chaos.close()
        audio.close()


class Chaos:
    """The replicas, their load, and the runs of those that were killed."""

    def __init__(self, site: Site, system: System, plan: Plan, report_progress: Callable[[str], None]) -> None:
        self._site = site
        self._system = system
        self._plan = plan
        self._progress = report_progress
        self._rng = random.Random(plan.seed)
        self._replicas = Replicas(site)
        self._view = StoreView(system.backend())
        self._load = SpreadLoad(random.Random(plan.seed + 1), plan.per_second, self._replicas.addresses)
        self._recoveries: list[Recovery] = []
        self._reopenings: list[Reopening] = []
        self._broken_on: list[float] = []
        self._report = Report(f"{REPLICAS} replicas on {system.name}, seed {plan.seed}")

    def run(self) -> Report:
        """All of it."""
        self._replicas.wait_until_listening()
        self._load.start()
        for number, step in enumerate(self._plan.steps, 1):
            self._pause(step.pause)
            self._apply(step)
            waiting = sum(item.seconds is None for item in self._recoveries)
            done = f"{len(self._load.acknowledged)} acknowledged, {waiting} kills not recovered"
            self._progress(f"{number}/{len(self._plan.steps)} {step.fault}; {done}")
        self._end()
        return self._account()

    def close(self) -> None:
        """End what still runs."""
        self._replicas.thaw_all()
        self._load.stop()
        self._view.close()

    def _apply(self, step: Step) -> None:
        # However slowly this machine starts them: nobody is killed before there is work, and somebody to notice it.
        self._poll_until(lambda: len(self._replicas.awake_addresses()) > 1, PATIENCE)
        self._report.faults[step.fault] += 1
        if step.fault is Fault.KILL:
            self._recoveries.append(self._replicas.kill(self._rng, self._load.at_an_acknowledgement))
        elif step.fault is Fault.FREEZE:
            self._replicas.freeze(self._rng, step.seconds)
        elif step.fault is Fault.END:
            self._replicas.end(self._rng)
        else:
            self._broken_on.append(time.time())
            self._system.apply(step, self._rng)
            if step.fault in (Fault.SERVER_KILL, Fault.SERVER_RESTART):
                self._reopenings.append(Reopening(time.monotonic(), self._replicas.awake_addresses()))

    def _pause(self, seconds: float) -> None:
        self._poll_until(lambda: False, seconds)

    def _poll_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Poll everything until this is so; whether it is."""
        deadline = time.monotonic() + seconds
        while not (met := condition()) and time.monotonic() < deadline:
            self._replicas.poll()
            self._system.poll()
            for recovery in self._recoveries:
                if recovery.seconds is None:
                    recovery.poll(self._view)
            for reopening in self._reopenings:
                if reopening.waiting:
                    reopening.poll(self._load.acknowledged_at, self._replicas.awake_addresses())
            time.sleep(2 * STEP_SECONDS)
        return met

    def _end(self) -> None:
        """No more faults and no more deliveries: everything comes to its end."""
        self._load.no_more()
        self._replicas.thaw_all()
        self._system.restore()
        if not self._poll_until(lambda: self._load.everything_acknowledged, END_SECONDS):
            self._report.problems.append("some deliveries were never acknowledged")
        self._poll_until(self._is_finished, END_SECONDS)
        self._load.stop()
        self._report.problems += [f"nobody knows that the process {pid} is dead" for pid in self._not_found()]
        self._report.problems += self._replicas.stop()
        left = self._replicas.pids() & self._view.pids()
        self._report.problems += [f"the process {pid} ended in order and left its row" for pid in left]

    def _is_finished(self) -> bool:
        try:
            recovered = all(item.seconds is not None for item in self._recoveries)
            return recovered and not self._view.open_runs() and not self._not_found()
        except StoreUnreadable:
            return False

    def _not_found(self) -> set[int]:
        """Replicas that were killed while they held runs, and of which no other knows yet that they are dead."""
        return {item.pid for item in self._recoveries if item.had_runs} & self._view.pids()

    def _may_be_dead(self, pid: int, at: float) -> bool:
        """Whether others may take a process for dead: it was killed, or connections broke shortly before."""
        killed = any(item.pid == pid for item in self._recoveries)
        return killed or any(broken <= at < broken + BROKEN_SECONDS for broken in self._broken_on)

    def _account(self) -> Report:
        report, load = self._report, self._load
        report.recoveries, report.duplicates = self._recoveries, load.duplicates
        report.reopenings, report.not_started = self._reopenings, len(self._replicas.not_started)
        check_deliveries(self._view, load.acknowledged, report)
        check_successes(self._view, self._site, report)
        report.problems += check_audio(self._view, self._site, load.acknowledged)
        check_leases(self._view, self._site, self._may_be_dead, self._plan.lease_seconds, report)
        wrong = {status: count for status, count in load.statuses.items() if status // 100 != 2 and status != 503}
        report.problems += [f"{count} deliveries got {status}" for status, count in wrong.items()]
        report.problems += [*load.contradictions, *self._replicas.ended]
        if load.without_retry_after:
            report.problems.append(f"{load.without_retry_after} deliveries got 503 without Retry-After")
        silent = [item for item in self._reopenings if item.waiting]
        report.problems += [f"after a start of the server nothing was accepted by {item.waiting}" for item in silent]
        report.problems += [text[-2000:] for text in self._replicas.not_started if not self._system.explains(text)]
        started = [server for server in self._site.servers if next(server.lines("listening"), None)]
        report.problems += unexplained(started, self._system.explained)
        note_deaths(started, self._recoveries)
        return report
