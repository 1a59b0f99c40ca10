"""How long to wait for audio that does not exist yet: as long as the event is old, so no state is stored.

Pure. Such a wait is an `AudioPostponed`: the run is due again later, without using an attempt (docs/adr/0027).
"""

from __future__ import annotations

from receiver.errors import AudioError, AudioPostponed, Reject

NOT_YET_SECONDS = 300.0
"""For how long after an event a 404 may mean that the audio does not exist yet."""
MAX_SKEW_SECONDS = 60.0
"""An event that is further in the future than this was received before the clock was set back."""
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0


def retry_delay(age: float, jitter: float) -> float:
    """Return the seconds to wait: about `age`, so that each wait is about twice the one before.

    Args:
        age: seconds since the event was received, or since the source's downloads have stalled.
        jitter: a random number in [0, 1): a quarter up or down.
    """
    return min(MAX_WAIT_SECONDS, max(MIN_WAIT_SECONDS, age)) * (0.75 + jitter / 2)


def postponed_if_recent(error: AudioError, age: float, jitter: float) -> AudioPostponed | None:
    """Return the error to raise instead of `error` if the audio may not exist yet; None if `error` is final.

    Args:
        age, jitter: as for `retry_delay`.
    """
    if not (error.not_found and isinstance(error, Reject) and -MAX_SKEW_SECONDS <= age < NOT_YET_SECONDS):
        return None
    after = min(retry_delay(age, jitter), max(MIN_WAIT_SECONDS, NOT_YET_SECONDS - age))
    postponed = AudioPostponed(
        f"The job completed {max(0.0, age):.0f} s ago, and its audio is not there yet. {error}", after=after
    )
    postponed.not_found = True
    return postponed
