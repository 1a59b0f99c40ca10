"""Streams of `aitts`: one-time addresses from which a job's audio can be read while it is made.

What the provider's documentation leaves open is a setting: the address's origin and lifetime, and the word for the
format. Its form is ours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from .envelope import ApiError
from .jobs import Job
from .responses import StreamResponse
from .state import SimulatorState

PATH = "/streams/{token}"
CHUNKS = 20
"""How many chunks a stream has."""
PAGE = b"<!doctype html><title>Error</title><h1>Something went wrong</h1>\n"


@dataclass(slots=True)
class _Address:
    """One issued address."""

    job: Job
    expires: float
    used: bool = False


class Streams:
    """Issues the addresses of streams, and serves each of them once, to any client."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._issued: dict[str, _Address] = {}
        self._rng = random.Random(f"{state.settings.seed}:streams")

    @property
    def tokens(self) -> list[str]:
        """The secret parts of all addresses."""
        return list(self._issued)

    def issue(self, job: Job) -> str:
        """Return a new address for the job's audio."""
        state, token = self._state, self._rng.randbytes(24).hex()
        expired = state.injector.trigger("expired_stream", at="aitts.stream", job_id=job.id)
        seconds = -60.0 if expired else state.settings.stream_url_seconds
        self._issued[token] = _Address(job, state.now() + seconds)
        origin = state.storage_url if state.settings.stream_origin == "storage" else state.base_url
        return origin + PATH.format(token=token)

    async def serve(self, request: Request) -> ASGIApp:
        """Respond with the audio; 404 for an unknown address, 410 for one that has expired or was used before."""
        state, address = self._state, self._issued.get(request.path_params["token"])
        job_id = "" if address is None else address.job.id
        state.count_request("live", job_id)
        if address is None:
            return _error(404, "There is no such stream.")
        if "authorization" in request.headers:
            state.count_request("live_with_key", job_id)
        if address.used or address.expires <= state.now():
            return _error(410, "This address was used, or has expired.")
        address.used = True
        if fault := state.injector.trigger("refused_stream", at="aitts.live", job_id=job_id):
            return _error(int(fault.number(503)), "The stream is not available.")
        if state.injector.trigger("html_stream", at="aitts.live", job_id=job_id):
            return Response(PAGE, media_type="text/html")
        return self._audio(address.job)

    def _audio(self, job: Job) -> ASGIApp:
        state, size = self._state, job.audio.size
        cut = state.injector.trigger("cut_stream", at="aitts.live", job_id=job.id)
        stalled = state.injector.trigger("stalled_stream", at="aitts.live", job_id=job.id)
        fault = cut or stalled
        stop = size if fault is None else min(int(fault.number(size // 2)), size)
        return StreamResponse(
            status=200,
            headers={"Content-Type": job.audio.content_type},
            chunks=_pieces(job, stop),
            shutdown=state.shutdown,
            pause_seconds=state.settings.stream_seconds / CHUNKS,
            cut=cut is not None,
            stall=stalled is not None,
            on_disconnect=lambda: state.count_request("live_disconnected", job.id),
        )


def _pieces(job: Job, stop: int) -> Iterator[bytes]:
    step = max(job.audio.size // CHUNKS, 1)
    for at in range(0, stop, step):
        yield from job.audio.chunks(at, min(at + step, stop))


def _error(status: int, message: str) -> Response:
    code = {404: "NOT_FOUND", 410: "STREAM_GONE"}.get(status, "STREAM_FAILED")
    return JSONResponse({"success": False, "error": {"code": code, "message": message}}, status)


def refuse_bitrate(body: dict[str, object]) -> None:
    """Provider's documentation: a stream has no bitrate option. The response to one that is sent is not documented.

    Raises:
        ApiError: 400.
    """
    if body.get("output_bitrate_kbps") is not None:
        raise ApiError(400, "VALIDATION_ERROR", "output_bitrate_kbps is not an option of a stream")
