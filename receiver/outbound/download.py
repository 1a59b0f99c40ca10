"""One address of the audio, requested until the file is whole: resumed where it broke, begun again where it expired.

What can be continued, and whether a 206 does, is RFC 9110, 13 to 15.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

import structlog

from receiver.clock import Clock
from receiver.errors import AudioError, AudioRefused, Interrupted, OutboundError, UnusableAddress
from receiver.model.retry_after import parse_retry_after, sender_time
from receiver.outbound.addresses import shown, where
from receiver.outbound.client import Client, Reply
from receiver.outbound.decompression import beginning, compression, sniff_through
from receiver.outbound.formats import SNIFF_BYTES
from receiver.outbound.part import PartialDownload, ResumeMetadata
from receiver.outbound.rate import RateWatch
from receiver.outbound.redirects import KEYED, Answer, Expired, KeyRequired, error_code, failure, follow, requires_key
from receiver.outbound.threads import in_thread
from receiver.outbound.verification import published
from receiver.providers.base import AudioRequest, origin_of

logger = structlog.get_logger(__name__)

MAX_STARTS = 3
"""How often a signed address may have expired in one fetch."""
MAX_RESUMES = 5
FLUSH_BYTES = 1 << 20
SAVE_BYTES = 16 << 20
"""How many bytes are gathered before they are written, and written before they are made durable."""

_ERROR_BODY = 64 << 10
_FEWEST_SNIFFED = 64


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """Limits, clock and randomness of a download.

    Attributes:
        max_bytes: the largest file that is accepted.
        clock: for rates, retry times and waits.
        rng: for jitter.
        min_rate: bytes a second that a download must bring.
    """

    max_bytes: int
    clock: Clock
    rng: random.Random
    min_rate: float


async def download(client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy) -> None:
    """Make `part` whole. On any failure it keeps the bytes that the next try can build on.

    Raises:
        AudioGone, AudioRefused, AudioDelayed, AudioError: as their names say; see `errors.py`.
        OSError: the spool cannot be written.
    """
    try:
        await _resumed(client, request, part, policy)
    except OutboundError as error:
        raise audio_error(error) from error


def audio_error(error: OutboundError) -> AudioError:
    """What a failure of the transport means for the audio: the same reason and words."""
    kind = AudioRefused if isinstance(error, UnusableAddress) else AudioError
    return kind(str(error), reason=error.reason)


async def _resumed(client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy) -> None:
    expired, resumes, best = 0, 0, part.have
    rate = RateWatch(policy.min_rate)
    while True:
        try:
            await _once(client, request, part, policy, rate)
        except Expired as error:
            expired += 1
            if expired >= MAX_STARTS:
                raise
            logger.info("audio.address_expired", where=where(request.url), why=str(error))
        except KeyRequired as error:
            request = replace(request, headers=request.headers_if_refused, headers_if_refused={})
            logger.info("audio.asked_with_key", where=where(request.url), why=str(error))
        except StartOver as error:
            await in_thread(part.reset)
            resumes += 1
            if resumes > MAX_RESUMES:
                raise
            logger.info("audio.begun_again", where=where(request.url), why=str(error))
        except Interrupted as error:
            if part.have <= best or resumes >= MAX_RESUMES:
                raise
            best, resumes = part.have, resumes + 1
            logger.info("audio.resumed", where=where(request.url), have=part.have, why=str(error))
            seconds = min(8.0, 0.5 * 2**resumes) * (0.5 + policy.rng.random() / 2)
            await policy.clock.wait(asyncio.Event(), seconds)
        else:
            return


async def _once(
    client: Client, request: AudioRequest, part: PartialDownload, policy: DownloadPolicy, rate: RateWatch
) -> None:
    headers = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}
    range_wanted = range_headers(part.metadata, part.have)
    async with follow(client, request, headers | range_wanted) as answer:
        reply = answer.reply
        if reply.status == 416 and range_wanted:
            raise StartOver(f"{where(reply.url)} has no bytes after the {part.have} that we have.")
        if answer.same_origin and request.headers_if_refused and requires_key(reply.status, reply.url):
            raise KeyRequired(f"{where(reply.url)} answers {reply.status} without the API key.")
        if reply.status != 200 and not (reply.status == 206 and range_wanted):
            raise await _failure(answer, policy.clock.now())
        if reply.status == 206:
            part.learn(continued(reply, part.metadata, part.have))
        elif part.have:
            await in_thread(part.reset, begun(reply))
        else:
            part.learn(begun(reply))
        if (part.metadata.total or 0) > policy.max_bytes:
            raise await _too_large(part, reply, policy)
        await _stream_to(reply, part, policy, rate)


async def _failure(answer: Answer, now: float) -> AudioError:
    reply, code = answer.reply, None
    if answer.origin in KEYED:
        try:
            code = error_code(await reply.read(_ERROR_BODY))
        except Interrupted as error:
            logger.debug("audio.error_body_not_read", where=where(reply.url), error=str(error))
    retry_after = parse_retry_after(reply.header("retry-after"), sender_time(reply.header("date"), now))
    return failure(reply.status, answer.origin, reply.url, retry_after=retry_after, code=code)


async def _stream_to(reply: Reply, part: PartialDownload, policy: DownloadPolicy, rate: RateWatch) -> None:
    """Bring the body into the part, in bounded memory."""
    gathered, sniffed = bytearray(), part.have > 0
    try:
        async for chunk in reply.chunks():
            gathered += chunk
            rate.came(len(chunk), policy.clock.monotonic(), total=part.metadata.total)
            if part.have + len(gathered) > policy.max_bytes:
                gathered.clear()
                raise await _too_large(part, reply, policy)
            if not sniffed and len(gathered) >= SNIFF_BYTES:
                _check_audio(gathered, reply, part.metadata.encoding)
                sniffed = True
            if len(gathered) >= FLUSH_BYTES:
                # A cancelled write is finished all the same: it must not be in hand a second time.
                piece, gathered = gathered, bytearray()
                await in_thread(part.write, piece)
                if part.unsaved >= SAVE_BYTES:
                    await in_thread(part.save)
        if not sniffed:
            _check_audio(gathered, reply, part.metadata.encoding)
            sniffed = True
    finally:
        # Whatever ended it, a cancellation too: the audio that has come stays.
        first = bytes(gathered[:SNIFF_BYTES])
        if gathered and (sniffed or (len(first) >= _FEWEST_SNIFFED and sniff_through(first, part.metadata.encoding))):
            if part.held + len(gathered) < FLUSH_BYTES:
                part.hold(gathered)  # a small file is written, verified and moved into place in few steps
            else:
                await in_thread(part.write, gathered)
    await _check_length(reply, part)


def _check_audio(gathered: bytearray, reply: Reply, encoding: str | None) -> None:
    first = bytes(gathered[:SNIFF_BYTES])
    if not first:
        raise AudioError(f"{where(reply.url)} sent an empty body.", reason="empty_audio")
    if sniff_through(first, encoding) is not None:
        return
    plain = beginning(first, encoding) if encoding is not None else b""
    label = reply.header("content-encoding") or "identity"
    if label.lower() != "identity" and not plain:
        raise AudioError(
            f"{where(reply.url)} sent no audio, but bytes encoded as {shown(label, 40)!r}, which was not requested.",
            reason="content_encoding",
        )
    raise AudioError(
        f"{where(reply.url)} sent no audio but {shown(reply.header('content-type') or 'something', 60)}, "
        f"beginning {shown((plain or first).decode('latin-1'), 80)!r}.",
        reason="not_audio",
    )


async def _check_length(reply: Reply, part: PartialDownload) -> None:
    total = part.metadata.total
    if total is None:
        part.learn(replace(part.metadata, total=part.have))
    elif part.have < total:
        raise Interrupted(f"{where(reply.url)} sent {part.have} bytes of {total}.")
    elif part.have > total:
        await in_thread(part.reset)
        raise AudioError(f"{where(reply.url)} sent more than its {total} bytes.", reason="length_mismatch")


async def _too_large(part: PartialDownload, reply: Reply, policy: DownloadPolicy) -> AudioRefused:
    size = part.metadata.total
    await in_thread(part.reset)
    return AudioRefused(
        f"The audio at {where(reply.url)} has {size or 'too many'} bytes, and the limit is {policy.max_bytes}; "
        "raise the limit and replay the event.",
        reason="audio_too_large",
    )


_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)


class StartOver(AudioError):
    """What we have cannot be continued; the same way is begun again from zero."""

    reason = "not_resumable"


def range_headers(known: ResumeMetadata, have: int) -> dict[str, str]:
    """The headers that ask for the bytes after the first `have`; none if the bytes cannot be continued."""
    if have == 0 or known.validator is None:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": known.validator}


def begun(reply: Reply) -> ResumeMetadata:
    """What a 200 says about the whole file."""
    return ResumeMetadata(
        _validator(reply),
        reply.content_length(),
        str(origin_of(reply.url)),
        published(reply),
        compression(reply.header("content-encoding")),
    )


def continued(reply: Reply, known: ResumeMetadata, have: int) -> ResumeMetadata:
    """What is known of the whole after a 206, which must go on after the first `have` bytes of the same file.

    Raises:
        StartOver: it does not, or nothing shows that it does.
    """
    at = where(reply.url)
    match = _CONTENT_RANGE.fullmatch(reply.header("content-range") or "")
    if match is None or int(match[1]) != have:
        raise StartOver(f"{at} sends another range than was asked for.")
    total = None if match[3] == "*" else int(match[3])
    if total is None or (known.total is not None and total != known.total):
        raise StartOver(f"{at} now has audio of another length.")
    etag = reply.header("etag")
    changed = etag is not None and (known.validator or "").startswith('"') and etag != known.validator
    if changed or str(origin_of(reply.url)) != known.origin:
        raise StartOver(f"{at} is not known to have the same audio as before.")
    label = reply.header("content-encoding")  # may be left out of the answer to an If-Range (RFC 9110, 15.3.7)
    if label is not None and compression(label) != known.encoding:
        raise StartOver(f"{at} now sends the audio compressed otherwise.")
    return replace(known, total=total, published=published(reply).over(known.published))


def _validator(reply: Reply) -> str | None:
    """A strong `ETag`, or a `Last-Modified` that is as good; None if there is neither."""
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
    # A date has no fractions: it names one version only if the file was at rest when the answer was made.
    return modified if age >= 1 and modified.isascii() else None
