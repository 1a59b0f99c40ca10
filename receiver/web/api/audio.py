"""The audio of an event, streamed from its storage: the whole file or a range."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from pydantic import Field
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Scope

from receiver.errors import AudioError, NotFound
from receiver.model.file_kind import FileKind, kind_of_file
from receiver.store import artifacts, short_ids
from receiver.store.artifacts import ArtifactRow
from receiver.web.api.context import ApiContext
from receiver.web.api.events import EventPath, event_not_found
from receiver.web.api.fields import DIGITS, RequestModel
from receiver.web.api.problems import ProblemError
from receiver.web.api.ranges import Unsatisfiable, read_range

log = structlog.get_logger("receiver.api")

MAX_FILES = 1000
_AUDIO = r"audio/[a-z0-9.+-]+"


class AudioQuery(RequestModel):
    """Which of the event's files."""

    n: Annotated[int, Field(ge=0, le=MAX_FILES, description="Which file of the job, from 0."), DIGITS] = 0


class AudioHeaders(RequestModel):
    """Which part of it."""

    range: Annotated[str | None, Field(alias="Range", description="`bytes=0-1023`; one range.")] = None
    if_range: Annotated[
        str | None, Field(alias="If-Range", description="The `ETag` that the range belongs to; else all is sent.")
    ] = None


async def get_audio(
    context: ApiContext, path: EventPath, query: AudioQuery, headers: AudioHeaders, scope: Scope
) -> ASGIApp:
    """The file as it was fetched and verified; its `ETag` is its SHA-256. 404 until a handler has fetched it."""
    row = await _stored(context, path.id, query.n)
    response_headers = _headers(row, path.id)
    whole = headers.if_range is not None and headers.if_range != response_headers["ETag"]
    try:
        requested = None if whole or scope["method"] == "HEAD" else read_range(headers.range, row.bytes)
    except Unsatisfiable:
        raise ProblemError(
            416,
            f"The range begins after the end of the file, which has {row.bytes} bytes.",
            reason="bad_range",
            headers={"Content-Range": f"bytes */{row.bytes}"},
        ) from None
    start, end = requested or (0, row.bytes)
    status = 206 if requested else 200
    if requested:
        response_headers["Content-Range"] = f"bytes {start}-{end - 1}/{row.bytes}"
    response_headers["Content-Length"] = str(end - start)
    if scope["method"] == "HEAD":
        return Response(None, status, response_headers)
    return StreamingResponse(await _open_stream(context, row, start, end), status, response_headers)


async def _stored(context: ApiContext, event_id: str, n: int) -> ArtifactRow:
    row = await context.database.read_list(artifacts.get, event_id, n)
    if row is None:
        if not await context.database.read_list(short_ids.events_beginning_with, event_id):
            raise event_not_found(event_id)
        raise ProblemError(404, "The event has no such file, or no handler has fetched it yet.", reason="not_fetched")
    try:
        there = await context.storage.size(row.address)
    except NotFound:  # the row is from before audio.url was changed
        there = None
    except AudioError as error:
        raise _unreadable(error) from None
    if there != row.bytes:
        raise ProblemError(
            404, "The file is no longer in the storage; a replay of the event fetches it again.", reason="audio_missing"
        )
    return row


async def _open_stream(context: ApiContext, row: ArtifactRow, start: int, end: int) -> AsyncIterator[bytes]:
    """The file in chunks, the first of them already read, so that an error until then can still be answered."""
    chunks = context.storage.stream(row.address, start, end)
    try:
        first = await anext(aiter(chunks))
    except (AudioError, NotFound, StopAsyncIteration) as error:
        raise _unreadable(error) from None

    async def rest() -> AsyncIterator[bytes]:
        yield first
        try:
            async for chunk in chunks:
                yield chunk
        except (AudioError, NotFound) as error:
            log.error("api.audio_interrupted", event_id=row.event_id, detail=str(error))
            raise

    return rest()


def _unreadable(error: Exception) -> ProblemError:
    return ProblemError(502, str(error) or "The file cannot be read.", reason="storage_failed")


def _headers(row: ArtifactRow, event_id: str) -> dict[str, str]:
    known = kind_of_file(row.content_type) is not FileKind.AUDIO or re.fullmatch(_AUDIO, row.content_type)
    kind = row.content_type if known else "audio/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    extension = re.sub(r"[^a-z0-9]", "", row.format.lower())[:10] or "bin"
    return {
        "Content-Type": kind,
        "ETag": f'"{row.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{event_id}-{row.n}.{extension}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
