"""Processes that share a PostgreSQL store: leases decide which of them are dead."""

from __future__ import annotations


class LeasesDecide:
    """Detects no dead process: what one held is taken up when its leases expire.

    Args:
        owner: as made by `leases.new_owner`.
    """

    is_visible = True

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def join(self) -> None:
        """Nothing: no process looks for others."""

    def find_dead(self) -> list[str]:
        """None."""
        return []

    def remove(self, owner: str) -> None:
        """Nothing, as none is found."""

    def leave(self) -> None:
        """Nothing, as none is found."""

    def close(self) -> None:
        """Nothing, as none is found."""
