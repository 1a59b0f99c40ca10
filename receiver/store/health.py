"""The health of the store: the outcome of its last commits.

The writer thread updates it; readiness reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from receiver.errors import StoreFull, StoreLocked, StoreUnavailable

log = structlog.get_logger("receiver.store")

LOCK_SECONDS = 0.75
"""How long a transaction may wait for another process's before the store counts as locked."""
STALL_SECONDS = 5.0
"""How long a transaction of this process may take before the disk or the server counts as stalled."""
FULL_SECONDS = 5.0
"""How long a full disk counts as full although a commit succeeds: it may be smaller than a delivery."""


class StoreHealth:
    """The outcome of one store's commits.

    Args:
        location: names the store.
        locked: makes the error for a transaction of another process that does not end.

    Attributes:
        error: why the last commit failed; None if it succeeded.
        on_available: called in the writer's thread when a commit succeeds after one that failed: what an unanswered
            commit has stored is not known.
        committed_at: when the last commit succeeded, monotonic seconds.
        unusable: why the store is not used until the process ends: it is damaged, or was migrated.
    """

    def __init__(self, location: str, locked: Callable[[], StoreLocked]) -> None:
        self._location = location
        self._locked = locked
        self.error: StoreUnavailable | None = None
        self.unusable: StoreUnavailable | None = None
        self.committed_at = float("-inf")
        self.on_available: Callable[[], None] = lambda: None
        self._failing_since = self._failed_at = float("-inf")
        self._waiting_since: float | None = None
        self._working_since: float | None = None
        self._logged_cause: str | None = None

    def lock_requested(self) -> None:
        """A transaction waits for the write lock."""
        self._waiting_since = time.monotonic()

    def lock_acquired(self) -> None:
        """The transaction has the write lock."""
        self._waiting_since, self._working_since = None, time.monotonic()

    def transaction_ended(self) -> None:
        """The transaction has ended."""
        self._waiting_since = self._working_since = None

    def committed(self) -> None:
        """A commit succeeded."""
        now = time.monotonic()
        if self.error is not None:
            if isinstance(self.error, StoreFull) and now < self._failed_at + FULL_SECONDS:
                return
            self.error = self._logged_cause = None
            log.info("store.available", path=self._location, seconds=round(now - self._failing_since, 1))
            self.on_available()
        self.committed_at = now

    def failed(self, error: StoreUnavailable) -> None:
        """A commit failed. One line is logged for each cause."""
        self._failed_at = time.monotonic()
        if self.error is None:
            self._failing_since = self._failed_at
        self.error = error
        self._log_once(error)

    def refuse(self, error: StoreUnavailable) -> None:
        """Store nothing more: it was found that the store must not be used."""
        self.unusable = self.unusable or error
        self._log_once(error)

    def _log_once(self, error: StoreUnavailable) -> None:
        cause = str(error) if type(error) is StoreUnavailable else error.reason
        if self._logged_cause != cause:
            self._logged_cause = cause
            log.error("store.unavailable", reason=error.reason, detail=str(error))

    def outage(self) -> StoreUnavailable | None:
        """Why a delivery could not be stored now; None if it could."""
        found = self.unusable or self.error
        if found is not None:
            return found
        now, waiting, working = time.monotonic(), self._waiting_since, self._working_since
        if waiting is not None and now - waiting >= LOCK_SECONDS:
            return self._locked()
        if working is not None and now - working >= STALL_SECONDS:
            return StoreUnavailable(
                f"The store {self._location} has not finished a transaction for more than {STALL_SECONDS:.0f} s: its "
                "disk or its server is slow, or does not respond."
            )
        return None
