"""What a process does on the store that it may share with others: its part of the work."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The role of a process. The words are those of `serve --only` and of `processes list`."""

    ALL = "all"
    """`serve`: receives deliveries and does the work."""
    INTAKE = "intake"
    """`serve --only intake`: receives deliveries and stores them; another process does the work."""
    WORKER = "worker"
    """`serve --only worker`: runs handlers, submits and polls jobs, deletes what is old; has no public listener."""
    SPEECH = "speech"
    """`speech`: submits and polls jobs of one source until its own are done."""

    @property
    def receives(self) -> bool:
        """Whether it has the public listener."""
        return self in (Role.ALL, Role.INTAKE)

    @property
    def recovers(self) -> bool:
        """Whether it ends the leases of dead processes, and takes their work up at once."""
        return self is not Role.INTAKE

    @property
    def works(self) -> bool:
        """Whether it runs handlers, follows the jobs of all sources and maintains the store."""
        return self in (Role.ALL, Role.WORKER)
