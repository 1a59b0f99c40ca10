"""What the end of a process means for a run that was at work in it. Pure: the policy and the chance are arguments.

A handler can end its process (`os._exit`, a fault in native code, the kernel out of memory), and all runs beside it end
with it. Which one it was is unknown, so no attempt counts until a run was the only suspect at work (docs/adr/0042).
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.retry import RetryPolicy, backoff_seconds

SUSPECT_CRASHES = 2
"""Crashes in a row that make a run a suspect: of all suspects in the store, one runs at a time."""


@dataclass(frozen=True, slots=True)
class CrashDecision:
    """What a crash means for one run.

    Attributes:
        crashes: the crashes in a row that it was at work in, this one included.
        counts: whether the attempt counts.
        wait: seconds until it starts again; None for a dead letter.
    """

    crashes: int
    counts: bool
    wait: float | None

    @property
    def suspect(self) -> bool:
        """Whether it runs alone among the suspects from now on."""
        return self.crashes >= SUSPECT_CRASHES


def state_with_suspicion(state: str, crashes: int) -> str:
    """A run's state as people are shown it: a suspect may wait although it is due."""
    return f"{state}, suspect" if crashes >= SUSPECT_CRASHES and state in ("pending", "running") else state


def after_crash(policy: RetryPolicy, crashes: int, counted: int, draw: float) -> CrashDecision:
    """Decide about a run whose process ended while it was at work.

    Args:
        crashes: crashes in a row before this one. A suspect ran alone among the suspects: it is blamed.
        counted: attempts that count, the interrupted one included.
        draw: uniform in [0, 1).
    """
    if crashes < SUSPECT_CRASHES:
        return CrashDecision(crashes + 1, counts=False, wait=0.0)
    if counted >= policy.attempts:
        return CrashDecision(crashes + 1, counts=True, wait=None)
    # At least half of the bound: the receiver stays up that long between two crashes, and a process that is killed
    # every few seconds for another reason does not use up an innocent run's attempts.
    return CrashDecision(crashes + 1, counts=True, wait=backoff_seconds(policy, counted, draw / 2))
