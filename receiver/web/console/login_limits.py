"""Limits on failed logins: for each client address, and for each user name, whether there is such a user or not.

Each process counts for itself, in bounded memory. Beyond the bound the key that was used least recently is forgotten,
which takes longer than waiting: each attempt at a name computes a hash.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict

from receiver.clock import Clock
from receiver.web.api.problems import ProblemError

MAX_KEYS = 10_000
BURST = 10
"""Failed attempts in a row."""
ADDRESS_SECONDS = 15.0
NAME_SECONDS = 30.0
"""After how long another attempt is allowed."""


class AttemptLimit:
    """Attempts by key: some in a row, then one every few seconds.

    Args:
        seconds: after how long another attempt is allowed.
    """

    def __init__(self, clock: Clock, seconds: float, burst: int = BURST, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._burst = burst
        self._max_keys = max_keys
        self._free_at: OrderedDict[str, float] = OrderedDict()
        """When all attempts of a key are allowed again."""

    def wait(self, key: str) -> float:
        """For how many seconds no attempt is allowed; 0 if one is now."""
        now = self._clock.monotonic()
        free_at = max(self._free_at.get(key, now), now)
        return max(0.0, free_at + self._seconds - now - self._seconds * self._burst)

    def take(self, key: str) -> None:
        """Count an attempt, before it is known whether it fails: many may be made at once."""
        now = self._clock.monotonic()
        self._free_at[key] = max(self._free_at.get(key, now), now) + self._seconds
        self._free_at.move_to_end(key)
        while len(self._free_at) > self._max_keys:
            self._free_at.popitem(last=False)

    def refund(self, key: str) -> None:
        """The attempt did not fail."""
        free_at = self._free_at.get(key)
        if free_at is None:
            return
        if free_at - self._seconds <= self._clock.monotonic():
            del self._free_at[key]
        else:
            self._free_at[key] = free_at - self._seconds


class LoginAttempt:
    """One attempt, which counts as failed unless it is refunded."""

    def __init__(self, taken: list[tuple[AttemptLimit, str]]) -> None:
        self._taken = taken

    def refund(self) -> None:
        """It did not fail."""
        for limit, key in self._taken:
            limit.refund(key)


class LoginLimits:
    """Both limits."""

    def __init__(self, clock: Clock) -> None:
        self._addresses = AttemptLimit(clock, ADDRESS_SECONDS)
        self._names = AttemptLimit(clock, NAME_SECONDS)

    def attempt(self, address: str | None, name: str | None) -> LoginAttempt:
        """Count an attempt.

        Args:
            address: the client's.
            name: the user's; None with a token, which cannot be guessed.

        Raises:
            ProblemError: 429, with the seconds to wait.
        """
        taken = [(self._addresses, _network(address))]
        if name is not None:
            # A name may be as long as a form: its hash is not.
            taken.append((self._names, hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]))
        seconds = math.ceil(max(limit.wait(key) for limit, key in taken))
        if seconds:
            raise ProblemError(
                429,
                f"Too many failed logins. Wait {seconds} s, and try again.",
                reason="too_many_failures",
                headers={"Retry-After": str(seconds)},
            )
        for limit, key in taken:
            limit.take(key)
        return LoginAttempt(taken)


def _network(address: str | None) -> str:
    """What belongs to one client: an address, or a network of 64 bits, which is what one gets of IPv6."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
