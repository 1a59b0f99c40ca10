"""How long each source's jobs take, as measured by polls."""

from __future__ import annotations

from sqlalchemy import Connection, select

from receiver.model.job_durations import KEPT, JobDurations
from receiver.store.dialect import DIALECTS
from receiver.store.schema import job_durations


def get(connection: Connection, source: str) -> JobDurations:
    """The durations of the source's jobs."""
    c = job_durations.c
    columns = (c.weight, c.characters, c.seconds, c.squares, c.products)
    row = connection.execute(select(*columns).where(c.source == source)).first()
    return JobDurations() if row is None else JobDurations(*row)


def add(connection: Connection, source: str, characters: int | None, seconds: float) -> None:
    """Add a measured job.

    Args:
        characters: of its text; None if unknown.
        seconds: its duration.
    """
    length, took = get(connection, source).sample(characters, seconds)
    new = JobDurations(1.0, length, took, length * length, length * took)._asdict()
    statement = DIALECTS[connection.dialect.name].insert(job_durations).values(source=source, **new)
    sums = {name: KEPT * job_durations.c[name] + value for name, value in new.items()}
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=sums))
