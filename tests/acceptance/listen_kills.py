"""Kill `listen` while events arrive, again and again: none is missed, they come in order, one repeat a kill at most.

`python -m tests.acceptance.listen_kills --kills 100`: exit 1 if that is not so.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.listening import Application, Received, application, events_in_order, listening
from tests.acceptance.support import Sender, Site, completed, until

PER_SECOND = 25
"""Deliveries."""
ANSWER_SECONDS = (0.0, 0.03)
"""How long the application takes, so that many kills come while it has an event."""
KILL_SECONDS = (0.0, 1.5)
"""When the command is killed, after it was connected."""
EARLY = 0.15
"""How many of the kills come before it is connected."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        faults: what must not be: a repeat that is not the event in flight at a kill, a request that is not signed.
        in_flight: kills while the application had an event.
    """

    kills: int = 0
    events: int = 0
    missed: list[str] = field(default_factory=list)
    out_of_order: int = 0
    repeats: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.missed and not self.out_of_order and not self.faults and self.repeats <= self.kills

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.events} events: missed {len(self.missed)}, out of order {self.out_of_order}, "
            f"repeats {self.repeats} (at most one a kill), other faults {len(self.faults)}"
        )


class Deliveries(threading.Thread):
    """Deliveries to the receiver, at a steady rate."""

    def __init__(self, public: str) -> None:
        super().__init__(name="deliveries")
        self._public = public
        self._over = threading.Event()
        self.accepted = 0

    def run(self) -> None:
        with closing(Sender()) as sender:
            while not self._over.wait(1 / PER_SECOND):
                answer = sender.send(self._public, completed(f"job-{self.accepted}"))
                self.accepted += answer is not None and answer[0] == 202

    def stop(self) -> None:
        self._over.set()
        self.join()


def measure(site: Site, kills: int, seed: int, report_progress: Callable[[str], None] = lambda _: None) -> Report:
    """Kill it so many times; what came of it, once every event has arrived."""
    rng = random.Random(seed)
    site.configure()
    server = site.start()
    deliveries = Deliveries(server.public)
    with application(answer=lambda _: _answer(rng)) as app:
        deliveries.start()
        try:
            for number in range(kills):
                with listening(site, server.private, app.url, "--since", "1h") as command:
                    if rng.random() >= EARLY:
                        command.wait_for("Connected")
                    time.sleep(rng.uniform(*KILL_SECONDS))
                report_progress(f"kill {number + 1}: {len(app.received)} requests so far")
        finally:
            deliveries.stop()
        expected = events_in_order(server.private)
        with listening(site, server.private, app.url, "--since", "1h") as command:
            until("every event has arrived", lambda: not set(expected) - set(app.ids()))
            command.stop(signal.SIGTERM)
        assert deliveries.accepted == len(expected)
        return judge(kills, expected, app)


def _answer(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    time.sleep(rng.uniform(*ANSWER_SECONDS))
    return 204, b"", {}


def judge(kills: int, expected: list[str], app: Application) -> Report:
    """Compare what arrived with what the receiver has."""
    requests = list(app.received)
    report = Report(kills, len(expected))
    seen: list[str] = []
    before: Received | None = None
    for request in requests:
        if before is not None and request.id == before.id:
            report.repeats += 1
            if request.connection == before.connection:
                report.faults.append(f"{request.id} came twice from one process")
        elif request.id in set(seen):
            report.faults.append(f"{request.id} came again, and was not in flight")
        else:
            seen.append(request.id)
        before = request
    report.missed = sorted(set(expected) - set(seen))
    report.out_of_order = sum(was != should for was, should in zip(seen, expected, strict=False))
    return report


def main() -> int:
    """Kill it as the arguments say; 1 if an event was missed, out of order or came again without a reason."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=20261127)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site")
        try:
            report = measure(site, given.kills, given.seed, print)
        finally:
            site.close()
    for problem in [*report.missed, *report.faults]:
        print(problem)
    print(report)
    return int(not report.is_good)


if __name__ == "__main__":
    sys.exit(main())
