"""What one process tells the others that share its store, so that they need not poll it."""

from __future__ import annotations

from enum import StrEnum

QUIET_POLL_SECONDS = 300.0
"""How often the store is polled while changes are reported and no process holds leases. A word is only lost with its
process, which the others notice sooner."""
OPEN_POLL_SECONDS = 15.0
"""How often at least jobs are polled while one is open: the process that follows it may hang, and it announces neither
that nor when the job is due."""


class Change(StrEnum):
    """What was committed. The words are sent between releases: one that is not known is ignored."""

    RUNS = "runs"
    """An event with runs was stored, or runs became due."""
    EVENTS = "events"
    """An event without runs was stored."""
    JOBS = "jobs"
    """A job became due, or will be."""
    OPERATIONS = "operations"
    """An operation was accepted, or let go by its process."""
    LEASES = "leases"
    """The leases of a dead process were ended."""
    BUSY = "busy"
    """A process holds leases that held none before."""


MADE_DUE = (Change.RUNS, Change.JOBS, Change.OPERATIONS)
"""What a command may have committed, which announces each of its transactions alike."""
