"""What the errors of several files of one job mean together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.errors import AudioDelayed, AudioError, Reject


def most_severe(errors: Sequence[Exception]) -> Exception:
    """Return the error that decides the attempt's result: a final one, else the longest wait, else the first."""
    return max(errors, key=lambda error: (isinstance(error, Reject), getattr(error, "after", 0.0)))


def stops_all(error: Exception) -> bool:
    """Whether no further fetch may start: the provider requests a wait, and not only for a file that is missing yet."""
    return not isinstance(error, AudioError) or (isinstance(error, AudioDelayed) and not error.not_found)
