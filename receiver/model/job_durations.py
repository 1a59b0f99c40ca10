"""How long a source's jobs take, by the length of their text: a weighted linear regression in five sums. Pure."""

from __future__ import annotations

from typing import NamedTuple

KEPT = 0.8
"""What each measured job leaves of the weight of earlier ones."""
MAX_GROWTH = 3.0
"""A job counts as at most so many times what was expected: one that was stuck says nothing about others."""


class JobDurations(NamedTuple):
    """Weighted sums over measured jobs.

    Attributes:
        weight: of ones.
        characters: of the lengths of their texts.
        seconds: of their durations.
        squares: of the lengths, squared.
        products: of lengths by durations.
    """

    weight: float = 0.0
    characters: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def expected(self, characters: int | None) -> float | None:
        """Seconds that a job with so many characters takes; None if no job was measured.

        Args:
            characters: None if unknown.
        """
        if self.weight <= 0:
            return None
        length, mean = self.characters / self.weight, self.seconds / self.weight
        if characters is None:
            return mean
        variance = self.squares / self.weight - length * length
        if variance <= 1e-6 * length * length:  # all texts are equally long
            return mean
        slope = max(0.0, (self.products / self.weight - length * mean) / variance)
        if length > 0:
            slope = min(slope, mean / length)  # an empty text does not take less than no time
        return max(0.0, mean + slope * (characters - length))

    def sample(self, characters: int | None, seconds: float) -> tuple[float, float]:
        """The length and the duration by which a measured job counts.

        Args:
            characters: None if unknown.
        """
        expected = self.expected(characters)
        mean_length = self.characters / self.weight if self.weight > 0 else 0.0
        length = mean_length if characters is None else float(characters)
        return length, seconds if expected is None else min(seconds, max(1.0, MAX_GROWTH * expected))


def measured_seconds(ended_after: float, running_after: float | None) -> float:
    """About how long a job took.

    Args:
        ended_after: seconds from its submit to the poll that found that it had ended.
        running_after: seconds to the last poll that found it running; None if there was none. Then the estimate is low,
            so that the first poll of the next job is earlier.
    """
    lower = ended_after / 2 if running_after is None else min(max(0.0, running_after), ended_after)
    return (lower + ended_after) / 2
