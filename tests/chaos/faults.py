"""Which faults happen, in which order: drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What is done to a replica, or to the PostgreSQL server and the connections to it."""

    KILL = "kills of replicas"
    FREEZE = "replicas frozen"
    END = "replicas ended in order"
    SERVER_KILL = "kills of PostgreSQL"
    SERVER_RESTART = "restarts of PostgreSQL"
    CUT = "times connections cut"
    STALL = "times connections stalled"


OF_REPLICAS = (Fault.KILL, Fault.FREEZE, Fault.END)
"""The faults that do not need a server."""

_PER_MINUTE = {
    Fault.KILL: 14.0,
    Fault.FREEZE: 2.0,
    Fault.END: 1.0,
    Fault.SERVER_KILL: 1.4,
    Fault.SERVER_RESTART: 0.6,
    Fault.CUT: 2.0,
    Fault.STALL: 0.6,
}


@dataclass(frozen=True)
class Step:
    """One fault.

    Attributes:
        pause: seconds since the fault before.
        seconds: how long a replica is frozen, connections are stalled, or a killed server is away.
    """

    pause: float
    fault: Fault
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The faults, and the seed of everything that is drawn.

    Attributes:
        lease_seconds: of the replicas; some are frozen for longer.
        per_second: new deliveries, each with two runs.
    """

    seed: int
    steps: tuple[Step, ...]
    lease_seconds: float = 10.0
    per_second: float = 25.0

    def counts(self) -> Counter[Fault]:
        """How many of each."""
        return Counter(step.fault for step in self.steps)


def make_plan(seed: int, counts: Mapping[Fault, int], pace: float, lease_seconds: float = 10.0) -> Plan:
    """These faults in random order, one each `pace` seconds on average."""
    rng = random.Random(seed)
    faults = [fault for fault, count in counts.items() for _ in range(count)]
    rng.shuffle(faults)
    of_lease = {Fault.FREEZE: 1.5, Fault.STALL: 0.5, Fault.SERVER_KILL: 0.2}
    longest = {fault: share * lease_seconds for fault, share in of_lease.items()}
    steps = [Step(rng.uniform(0.2, 1.8) * pace, it, rng.uniform(0.1, 1.0) * longest.get(it, 0.0)) for it in faults]
    return Plan(seed, tuple(steps), lease_seconds)


def plan_of_minutes(seed: int, minutes: float, faults: tuple[Fault, ...]) -> Plan:
    """At the usual pace: 15 minutes have 210 kills of replicas, and 21 of the server."""
    counts = {fault: round(_PER_MINUTE[fault] * minutes) for fault in faults}
    return make_plan(seed, counts, 60 * minutes / max(1, sum(counts.values())))
