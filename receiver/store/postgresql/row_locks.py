"""Locks of the rows of a batch, in the order of their keys, so that two transactions never wait for each other.

A join lets the server choose the side from which it starts. It took the index of running runs, whose rows it believes
to be few, and compared each one with all of the batch: 50 times the work for 256 runs. A subquery that names the
columns of the batch can only be executed for each row of it, by the primary key.
"""

from __future__ import annotations

BY_KEY = 'ORDER BY event_id COLLATE "C", handler COLLATE "C"'
"""The order of the primary key of runs."""


def locked_runs(condition: str) -> str:
    """Join to a batch called `given`, sorted `BY_KEY`: its runs that meet the condition, locked."""
    return (
        "LATERAL (SELECT 1 FROM runs WHERE runs.event_id = given.event_id AND runs.handler = given.handler "  # noqa: S608 - constants only
        f"AND {condition} FOR UPDATE OF runs) AS locked"
    )
