"""What one process tells the others that share its store, so that they need not poll it."""

from __future__ import annotations

from enum import StrEnum


class Change(StrEnum):
    """What was committed. The words are sent between releases: one that is not known is ignored."""

    RUNS = "runs"
    """An event was stored, or runs became due."""
    JOBS = "jobs"
    """A job became due, or will be."""
    LEASES = "leases"
    """The leases of a dead process were ended."""
    BUSY = "busy"
    """A process holds leases that held none before."""
