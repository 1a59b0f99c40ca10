"""Decides what happens to a run whose process crashed. Pure: the policy and the random number are arguments.

A handler can crash its process (`os._exit`, a fault in native code, the kernel out of memory), and all other running
runs with it. It is unknown which run caused the crash, so no attempt counts until a run was the only suspect that was
running (docs/adr/0042).
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.retry import RetryPolicy, backoff_seconds

SUSPECT_CRASHES = 2
"""Consecutive crashes that make a run a suspect. Of all suspects in the store, one runs at a time."""


@dataclass(frozen=True, slots=True)
class CrashDecision:
    """What happens to a run after a crash.

    Attributes:
        crashes: consecutive crashes in which the run was running, including this one.
        counts: whether the attempt counts.
        wait: seconds until the next attempt; None for a dead letter.
    """

    crashes: int
    counts: bool
    wait: float | None

    @property
    def suspect(self) -> bool:
        """Whether the run is a suspect from now on."""
        return self.crashes >= SUSPECT_CRASHES


def state_with_suspicion(state: str, crashes: int) -> str:
    """A run's state for display, which tells a suspect: it may wait although it is due."""
    return f"{state}, suspect" if crashes >= SUSPECT_CRASHES and state in ("pending", "running") else state


def after_crash(policy: RetryPolicy, crashes: int, counted: int, jitter: float) -> CrashDecision:
    """Decide about a run that was running when its process crashed.

    Args:
        crashes: consecutive crashes before this one. A suspect was the only one running, so it is blamed.
        counted: attempts that count, including the interrupted one.
        jitter: a random number in [0, 1).
    """
    if crashes < SUSPECT_CRASHES:
        return CrashDecision(crashes + 1, counts=False, wait=0.0)
    if counted >= policy.attempts:
        return CrashDecision(crashes + 1, counts=True, wait=None)
    # At least half of the backoff: the receiver stays up that long between two crashes, and a process that is killed
    # every few seconds for another reason does not use up the attempts of a run that did not cause it.
    return CrashDecision(crashes + 1, counts=True, wait=backoff_seconds(policy, counted, jitter / 2))
