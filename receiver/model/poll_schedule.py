"""How often a job is polled: at once, then exponentially rarer with jitter, sooner when its progress says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """The bounds, in seconds.

    Attributes:
        first_seconds: from being watched to the first poll.
        min_seconds: no two polls of a job are closer; never less than the provider allows.
        max_seconds: nor further apart.
        deadline_seconds: a job that has not ended this long after it was first watched is given up.
        factor: what each wait is multiplied by.
    """

    first_seconds: float = 0.0
    min_seconds: float = 2.0
    max_seconds: float = 60.0
    deadline_seconds: float = 86_400.0
    factor: float = 1.5


def next_wait(schedule: PollSchedule, polls: int, elapsed: float, progress: int | None, draw: float) -> float:
    """Seconds until the next poll of a running job.

    Args:
        polls: polls so far, at least 1.
        elapsed: seconds since the job is watched.
        progress: 0 to 100 where the provider gives it: half of the time it seems to need is waited.
        draw: uniform in [0, 1): spreads the wait by a fifth to either side.
    """
    wait = schedule.min_seconds * schedule.factor ** min(polls - 1, 64)
    if progress is not None and 0 < progress < 100:
        wait = elapsed * (100 - progress) / progress / 2
    wait = min(wait, schedule.max_seconds / 1.2) * (0.8 + 0.4 * draw)  # spread below the cap as well
    return max(schedule.min_seconds, min(wait, schedule.max_seconds))
