"""The streamed job of the demo: its audio is received while it is made, as by an application that plays it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class StreamedAudio:
    """What was received of a job's audio while it was made.

    Attributes:
        own_id: the receiver's id of the job.
        first_seconds: from the request to the first bytes.
        seconds: from the request to the last bytes.
        sha256: lower-case hex.
        state: of the job after the last bytes; empty while it is not known.
    """

    own_id: str
    first_seconds: float
    seconds: float
    bytes: int
    sha256: str
    state: str = ""

    def summary(self) -> str:
        """The sentence of the report."""
        return (
            f"1 job was streamed: the first bytes came after {self.first_seconds * 1000:.0f} ms, all {self.bytes:,} "
            f"after {self.seconds:.1f} s; by then the job was {self.state}."
        )


async def receive_stream(api: httpx.AsyncClient, body: dict[str, str]) -> StreamedAudio:
    """Submit a speech, and receive its audio while it is made.

    Raises:
        ValueError: there is no stream; the message says what the receiver responded.
        httpx.HTTPError: the stream broke.
    """
    digest, count, first, started = hashlib.sha256(), 0, 0.0, time.monotonic()
    async with api.stream("POST", "/v1/speech", json={**body, "stream": True}) as response:
        if response.status_code != httpx.codes.OK or "Job-Id" not in response.headers:
            await response.aread()
            raise ValueError(f"{response.status_code}: {response.text}")
        async for chunk in response.aiter_raw():
            first = first or time.monotonic() - started
            digest.update(chunk)
            count += len(chunk)
    seconds = time.monotonic() - started
    return StreamedAudio(response.headers["Job-Id"], first, seconds, count, digest.hexdigest())
