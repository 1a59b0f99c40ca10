"""When a job is polled: at once, then at exponentially growing intervals with jitter, or according to its progress."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """The limits of the intervals, in seconds.

    Attributes:
        first_seconds: from the beginning of the watch to the first poll.
        min_seconds: the shortest interval between two polls of a job; at least what the provider requires.
        max_seconds: the longest interval.
        deadline_seconds: how long after the beginning of the watch a job is given up.
        factor: the growth of the interval with each poll.
    """

    first_seconds: float = 0.0
    min_seconds: float = 2.0
    max_seconds: float = 60.0
    deadline_seconds: float = 86_400.0
    factor: float = 1.5


def next_wait(schedule: PollSchedule, polls: int, elapsed: float, progress: int | None, jitter: float) -> float:
    """Seconds until the next poll of a running job.

    Args:
        polls: polls so far, at least 1.
        elapsed: seconds since the beginning of the watch.
        progress: 0 to 100, if the provider reports it: the wait is half of the estimated remaining time.
        jitter: a random number in [0, 1): plus or minus a fifth.
    """
    wait = schedule.min_seconds * schedule.factor ** min(polls - 1, 64)
    if progress is not None and 0 < progress < 100:
        wait = elapsed * (100 - progress) / progress / 2
    wait = min(wait, schedule.max_seconds / 1.2) * (0.8 + 0.4 * jitter)  # with jitter also at the maximum
    return max(schedule.min_seconds, min(wait, schedule.max_seconds))


def polls_within(schedule: PollSchedule, polls: int, seconds: float) -> float:
    """About how many polls of a running job `next_wait` makes within so many seconds.

    Args:
        polls: polls so far.
    """
    count, left = 0, seconds
    longest = max(schedule.min_seconds, schedule.max_seconds / 1.2)
    wait = schedule.min_seconds * schedule.factor ** min(max(0, polls - 1), 64)
    while left > wait and wait < longest:
        count, left = count + 1, left - wait
        wait *= schedule.factor
    return count + max(0.0, left) / longest if wait >= longest else count
