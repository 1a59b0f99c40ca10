"""Downloads the audio from one address: resumes after an interruption, starts again after an expired redirect.

Resuming follows RFC 9110, 13 to 15.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

import structlog

from receiver.clock import Clock
from receiver.errors import AudioError, AudioRefused, Interrupted, OutboundError, UnusableAddress
from receiver.model.retry_after import parse_retry_after, sender_time
from receiver.outbound.addresses import redacted_text, redacted_url
from receiver.outbound.client import Client, HttpResponse
from receiver.outbound.decompression import compression, decompressed_head, sniff_through
from receiver.outbound.documents import MAX_DOCUMENT_BYTES, media_type, sniff_document
from receiver.outbound.formats import SNIFF_BYTES
from receiver.outbound.part import PartialDownload, ResumeMetadata
from receiver.outbound.rate import RateMonitor
from receiver.outbound.redirects import (
    KEYED,
    Expired,
    FinalResponse,
    KeyRequired,
    error_code,
    error_for_status,
    follow,
    requires_key,
)
from receiver.outbound.threads import in_thread
from receiver.outbound.verification import published_checksums
from receiver.providers.base import AudioRequest, origin_of

logger = structlog.get_logger(__name__)

MAX_EXPIRIES = 3
"""How often a signed address may expire in one fetch."""
MAX_RESUMES = 5
FLUSH_BYTES = 1 << 20
SAVE_BYTES = 16 << 20
"""How many bytes are collected before they are written, and written before they are synced to the disk."""

_ERROR_BODY = 64 << 10
_MIN_SNIFF_BYTES = 64


AcceptsDocuments = Callable[[], Awaitable[bool]]


async def audio_only() -> bool:
    """No."""
    return False


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """Limits, clock and randomness of a download.

    Attributes:
        max_bytes: the largest file that is accepted.
        clock: for rates, retry times and waits.
        rng: for jitter.
        min_rate: the minimum rate of a download, in bytes a second.
        accepts_documents: whether the job may end with other files than audio; called for one that is none.
    """

    max_bytes: int
    clock: Clock
    rng: random.Random
    min_rate: float
    accepts_documents: AcceptsDocuments = audio_only


async def download(client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy) -> None:
    """Complete `part`. After a failure it keeps the bytes that the next attempt can use.

    Raises:
        AudioGone, AudioRefused, AudioDelayed, AudioError: as their names say; see `errors.py`.
        OSError: the spool cannot be written.
    """
    try:
        await _download_resuming(client, request, part, policy)
    except OutboundError as error:
        raise audio_error(error) from error


def audio_error(error: OutboundError) -> AudioError:
    """An error of the transport as one of fetching audio, with the same reason and text."""
    kind = AudioRefused if isinstance(error, UnusableAddress) else AudioError
    return kind(str(error), reason=error.reason)


async def _download_resuming(
    client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy
) -> None:
    expired, resumes, best = 0, 0, part.size
    rate = RateMonitor(policy.min_rate)
    while True:
        try:
            await _request_once(client, request, part, policy, rate)
        except Expired as error:
            expired += 1
            if expired >= MAX_EXPIRIES:
                raise
            logger.info("audio.address_expired", where=redacted_url(request.url), why=str(error))
        except KeyRequired as error:
            request = replace(request, headers=request.headers_if_refused, headers_if_refused={})
            logger.info("audio.retried_with_key", where=redacted_url(request.url), why=str(error))
        except RestartRequired as error:
            await in_thread(part.reset)
            resumes += 1
            if resumes > MAX_RESUMES:
                raise
            logger.info("audio.restarted", where=redacted_url(request.url), why=str(error))
        except Interrupted as error:
            if part.size <= best or resumes >= MAX_RESUMES:
                raise
            best, resumes = part.size, resumes + 1
            logger.info("audio.resumed", where=redacted_url(request.url), size=part.size, why=str(error))
            seconds = min(8.0, 0.5 * 2**resumes) * (0.5 + policy.rng.random() / 2)
            await policy.clock.wait(asyncio.Event(), seconds)
        else:
            return


async def _request_once(
    client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy, rate: RateMonitor
) -> None:
    headers = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}
    range_wanted = range_headers(part.metadata, part.size)
    async with follow(client, request, headers | range_wanted) as answer:
        reply = answer.reply
        if reply.status == 416 and range_wanted:
            raise RestartRequired(f"{redacted_url(reply.url)} has no bytes after the first {part.size}.")
        if answer.same_origin and request.headers_if_refused and requires_key(reply.status, reply.url):
            raise KeyRequired(f"{redacted_url(reply.url)} answers {reply.status} without the API key.")
        if reply.status != 200 and not (reply.status == 206 and range_wanted):
            raise await _error_of(answer, policy.clock.now())
        if reply.status == 206:
            part.set_metadata(metadata_of_206(reply, part.metadata, part.size))
        elif part.size:
            await in_thread(part.reset, metadata_of_200(reply))
        else:
            part.set_metadata(metadata_of_200(reply))
        if (part.metadata.total or 0) > policy.max_bytes:
            raise await _too_large(part, reply, policy)
        await _stream_to(reply, part, policy, rate)


async def _error_of(answer: FinalResponse, now: float) -> AudioError:
    reply, code = answer.reply, None
    if answer.origin in KEYED:
        try:
            code = error_code(await reply.read(_ERROR_BODY))
        except Interrupted as error:
            logger.debug("audio.error_body_not_read", where=redacted_url(reply.url), error=str(error))
    retry_after = parse_retry_after(reply.header("retry-after"), sender_time(reply.header("date"), now))
    return error_for_status(reply.status, answer.origin, reply.url, retry_after=retry_after, code=code)


async def _stream_to(reply: HttpResponse, part: PartialDownload, policy: DownloadPolicy, rate: RateMonitor) -> None:
    """Write the body to the part, in bounded memory."""
    chunks_read, sniffed = bytearray(), part.size > 0
    try:
        async for chunk in reply.chunks():
            chunks_read += chunk
            rate.received(len(chunk), policy.clock.monotonic(), total=part.metadata.total)
            if part.size + len(chunks_read) > _max_bytes(part, policy):
                chunks_read.clear()
                raise await _too_large(part, reply, policy)
            if not sniffed and len(chunks_read) >= SNIFF_BYTES:
                await _check_content(chunks_read, reply, part, policy)
                sniffed = True
            if len(chunks_read) >= FLUSH_BYTES:
                # A write finishes even if it is cancelled: its bytes must not be written again below.
                piece, chunks_read = chunks_read, bytearray()
                await in_thread(part.write, piece)
                if part.unsaved >= SAVE_BYTES:
                    await in_thread(part.save)
        if not sniffed:
            await _check_content(chunks_read, reply, part, policy)
            sniffed = True
    finally:
        # Keep the audio received so far, whatever ended the download, a cancellation too.
        first = bytes(chunks_read[:SNIFF_BYTES])
        if chunks_read and (
            sniffed or (len(first) >= _MIN_SNIFF_BYTES and sniff_through(first, part.metadata.encoding))
        ):
            if part.buffered + len(chunks_read) < FLUSH_BYTES:
                part.buffer(chunks_read)  # a small file is written, verified and published in few steps
            else:
                await in_thread(part.write, chunks_read)
    await _check_length(reply, part)


def _max_bytes(part: PartialDownload, policy: DownloadPolicy) -> int:
    return policy.max_bytes if part.metadata.document is None else min(policy.max_bytes, MAX_DOCUMENT_BYTES)


async def _check_content(
    chunks_read: bytearray, reply: HttpResponse, part: PartialDownload, policy: DownloadPolicy
) -> None:
    """Check that the file begins like audio, or like a document where the job may end with one."""
    encoding = part.metadata.encoding
    first = bytes(chunks_read[:SNIFF_BYTES])
    if not first:
        raise AudioError(f"{redacted_url(reply.url)} sent an empty body.", reason="empty_audio")
    if sniff_through(first, encoding) is not None:
        return
    plain = decompressed_head(first, encoding) if encoding is not None else b""
    media = media_type(reply.header("content-type"))
    is_document = sniff_document(first if encoding is None else plain, media) is not None
    if is_document and await policy.accepts_documents():
        part.set_metadata(replace(part.metadata, document=media))
        if max(part.metadata.total or 0, len(chunks_read)) > _max_bytes(part, policy):
            raise await _too_large(part, reply, policy)
        return
    label = reply.header("content-encoding") or "identity"
    if label.lower() != "identity" and not plain:
        raise AudioError(
            f"{redacted_url(reply.url)} sent no audio, but bytes with the Content-Encoding "
            f"{redacted_text(label, 40)!r}, which was not requested.",
            reason="content_encoding",
        )
    raise AudioError(
        f"{redacted_url(reply.url)} sent no audio but "
        f"{redacted_text(reply.header('content-type') or 'unknown content', 60)}, "
        f"beginning {redacted_text((plain or first).decode('latin-1'), 80)!r}.",
        reason="not_audio",
    )


async def _check_length(reply: HttpResponse, part: PartialDownload) -> None:
    total = part.metadata.total
    if total is None:
        part.set_metadata(replace(part.metadata, total=part.size))
    elif part.size < total:
        raise Interrupted(f"{redacted_url(reply.url)} sent {part.size} bytes of {total}.")
    elif part.size > total:
        await in_thread(part.reset)
        raise AudioError(f"{redacted_url(reply.url)} sent more than its {total} bytes.", reason="length_mismatch")


async def _too_large(part: PartialDownload, reply: HttpResponse, policy: DownloadPolicy) -> AudioRefused:
    size, limit = part.metadata.total, _max_bytes(part, policy)
    await in_thread(part.reset)
    return AudioRefused(
        f"The file at {redacted_url(reply.url)} has {size or 'too many'} bytes, and the limit is {limit}"
        + ("; raise the limit and replay the event." if limit == policy.max_bytes else " for a document."),
        reason="audio_too_large",
    )


_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)


class RestartRequired(AudioError):
    """The download cannot be resumed; it starts again from zero at the same address."""

    reason = "not_resumable"


def range_headers(metadata: ResumeMetadata, size: int) -> dict[str, str]:
    """The headers that request the bytes after the first `size`; none if the download cannot be resumed."""
    if size == 0 or metadata.validator is None:
        return {}
    return {"Range": f"bytes={size}-", "If-Range": metadata.validator}


def metadata_of_200(reply: HttpResponse) -> ResumeMetadata:
    """The metadata of the complete file in a 200 response."""
    return ResumeMetadata(
        _validator(reply),
        reply.content_length(),
        str(origin_of(reply.url)),
        published_checksums(reply),
        compression(reply.header("content-encoding")),
    )


def metadata_of_206(reply: HttpResponse, metadata: ResumeMetadata, size: int) -> ResumeMetadata:
    """The metadata after a 206 response, which must continue after the first `size` bytes of the same file.

    Raises:
        RestartRequired: it does not, or that is not certain.
    """
    at = redacted_url(reply.url)
    match = _CONTENT_RANGE.fullmatch(reply.header("content-range") or "")
    if match is None or int(match[1]) != size:
        raise RestartRequired(f"{at} sends another range than the requested one.")
    total = None if match[3] == "*" else int(match[3])
    if total is None or (metadata.total is not None and total != metadata.total):
        raise RestartRequired(f"{at} now has audio of another length.")
    etag = reply.header("etag")
    changed = etag is not None and (metadata.validator or "").startswith('"') and etag != metadata.validator
    if changed or str(origin_of(reply.url)) != metadata.origin:
        raise RestartRequired(f"{at} may have other audio than before.")
    label = reply.header("content-encoding")  # may be missing in the response to If-Range (RFC 9110, 15.3.7)
    if label is not None and compression(label) != metadata.encoding:
        raise RestartRequired(f"{at} now sends the audio with another compression.")
    return replace(metadata, total=total, published=published_checksums(reply).over(metadata.published))


def _validator(reply: HttpResponse) -> str | None:
    """A strong `ETag`, or a `Last-Modified` that is as reliable; None if there is neither."""
    etag = reply.header("etag") or ""
    if 2 < len(etag) <= 256 and etag[0] == etag[-1] == '"':
        return etag
    modified, date = reply.header("last-modified"), reply.header("date")
    if not modified or not date:
        return None
    try:
        age = (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # A date has no fractions of a second: it identifies a version only if the file was not changed in the same second.
    return modified if age >= 1 and modified.isascii() else None
