"""Rows of fetched audio: one for each file of an event's job."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select, update

from receiver.store.schema import artifacts


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """What is known of one fetched file. `duration` in seconds, `sample_rate` in Hz; None where the file does not say.

    `n` is which of the job's files, from 0; `address` the file's path or the object's address; `format` a short word
    such as `wav`, `mp3`, `ogg`.
    """

    event_id: str
    n: int
    address: str
    bytes: int
    sha256: str
    content_type: str
    format: str
    duration: float | None
    sample_rate: int | None
    channels: int | None
    fetched_at: float
    fetch_seconds: float


def get(connection: Connection, event_id: str, n: int = 0) -> ArtifactRow | None:
    """The event's n-th artifact, if it was fetched."""
    row = connection.execute(select(artifacts).where(artifacts.c.event_id == event_id, artifacts.c.n == n)).first()
    return None if row is None else ArtifactRow(**row._mapping)


def put(connection: Connection, artifact: ArtifactRow) -> None:
    """Write the row; a later fetch of the same file replaces it."""
    values = asdict(artifact)
    key = (artifacts.c.event_id == artifact.event_id, artifacts.c.n == artifact.n)
    if connection.execute(update(artifacts).where(*key).values(values)).rowcount == 0:
        connection.execute(insert(artifacts).values(values))
