"""One way to the audio, walked until the part file is whole: resumed where it broke, begun again where it expired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from receiver.errors import AudioError, AudioRefused, Interrupted, OutboundError, UnusableAddress
from receiver.model.retry_after import parse_retry_after, senders_now
from receiver.outbound.addresses import shown, where
from receiver.outbound.client import Client, Reply
from receiver.outbound.encodings import beginning, sniff_through
from receiver.outbound.formats import SNIFF_BYTES
from receiver.outbound.hops import Answer, follow
from receiver.outbound.part import Part
from receiver.outbound.ranges import StartOver, begun, continued, range_headers
from receiver.outbound.rate import RateWatch
from receiver.outbound.statuses import KEYED, Expired, KeyRequired, error_code, failure, requires_key
from receiver.outbound.threads import in_thread
from receiver.providers.base import AudioRequest

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
class Ways:
    """Limits, clocks and chance for a download.

    Attributes:
        max_bytes: the largest file that is accepted.
        now: the time of day, in Unix seconds.
        sleep: waits a number of seconds.
        random: chance between 0 and 1.
        clock: seconds that only go forward.
        min_rate: bytes a second that a download must bring.
    """

    max_bytes: int
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    clock: Callable[[], float]
    min_rate: float


async def download(client: Client, request: AudioRequest, part: Part, ways: Ways) -> None:
    """Make `part` whole. On any failure it keeps the bytes that the next try can build on.

    Raises:
        AudioGone, AudioRefused, AudioDelayed, AudioError: as their names say; see `errors.py`.
        OSError: the spool cannot be written.
    """
    try:
        await _resumed(client, request, part, ways)
    except OutboundError as error:
        raise audio_error(error) from error


def audio_error(error: OutboundError) -> AudioError:
    """What a failure of the transport means for the audio: the same reason and words."""
    kind = AudioRefused if isinstance(error, UnusableAddress) else AudioError
    return kind(str(error), reason=error.reason)


async def _resumed(client: Client, request: AudioRequest, part: Part, ways: Ways) -> None:
    expired, resumes, best = 0, 0, part.have
    rate = RateWatch(ways.min_rate)
    while True:
        try:
            await _once(client, request, part, ways, rate)
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
            await ways.sleep(min(8.0, 0.5 * 2**resumes) * (0.5 + ways.random() / 2))
        else:
            return


async def _once(client: Client, request: AudioRequest, part: Part, ways: Ways, rate: RateWatch) -> None:
    headers = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}
    asked = range_headers(part.known, part.have)
    async with follow(client, request, headers | asked) as answer:
        reply = answer.reply
        if reply.status == 416 and asked:
            raise StartOver(f"{where(reply.url)} has no bytes after the {part.have} that we have.")
        if answer.at_home and request.headers_if_refused and requires_key(reply.status, reply.url):
            raise KeyRequired(f"{where(reply.url)} answers {reply.status} without the API key.")
        if reply.status != 200 and not (reply.status == 206 and asked):
            raise await _failure(answer, ways.now())
        if reply.status == 206:
            part.learn(continued(reply, part.known, part.have))
        elif part.have:
            await in_thread(part.reset, begun(reply))
        else:
            part.learn(begun(reply))
        if (part.known.total or 0) > ways.max_bytes:
            raise await _too_large(part, reply, ways)
        await _pour(reply, part, ways, rate)


async def _failure(answer: Answer, now: float) -> AudioError:
    reply, code = answer.reply, None
    if answer.place in KEYED:
        try:
            code = error_code(await reply.read(_ERROR_BODY))
        except Interrupted as error:
            logger.debug("audio.error_body_not_read", where=where(reply.url), error=str(error))
    retry_after = parse_retry_after(reply.header("retry-after"), senders_now(reply.header("date"), now))
    return failure(reply.status, answer.place, reply.url, retry_after=retry_after, code=code)


async def _pour(reply: Reply, part: Part, ways: Ways, rate: RateWatch) -> None:
    """Bring the body into the part, in bounded memory."""
    gathered, sniffed = bytearray(), part.have > 0
    try:
        async for chunk in reply.chunks():
            gathered += chunk
            rate.came(len(chunk), ways.clock(), total=part.known.total)
            if part.have + len(gathered) > ways.max_bytes:
                gathered.clear()
                raise await _too_large(part, reply, ways)
            if not sniffed and len(gathered) >= SNIFF_BYTES:
                _check_audio(gathered, reply, part.known.encoding)
                sniffed = True
            if len(gathered) >= FLUSH_BYTES:
                # A cancelled write is finished all the same: it must not be in hand a second time.
                piece, gathered = gathered, bytearray()
                await in_thread(part.write, piece)
                if part.unsaved >= SAVE_BYTES:
                    await in_thread(part.save)
        if not sniffed:
            _check_audio(gathered, reply, part.known.encoding)
            sniffed = True
    finally:
        # Whatever ended it, a cancellation too: the audio that has come stays.
        first = bytes(gathered[:SNIFF_BYTES])
        if gathered and (sniffed or (len(first) >= _FEWEST_SNIFFED and sniff_through(first, part.known.encoding))):
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


async def _check_length(reply: Reply, part: Part) -> None:
    total = part.known.total
    if total is None:
        part.learn(replace(part.known, total=part.have))
    elif part.have < total:
        raise Interrupted(f"{where(reply.url)} sent {part.have} bytes of {total}.")
    elif part.have > total:
        await in_thread(part.reset)
        raise AudioError(f"{where(reply.url)} sent more than its {total} bytes.", reason="length_mismatch")


async def _too_large(part: Part, reply: Reply, ways: Ways) -> AudioRefused:
    size = part.known.total
    await in_thread(part.reset)
    return AudioRefused(
        f"The audio at {where(reply.url)} has {size or 'too many'} bytes, and the limit is {ways.max_bytes}; "
        "raise the limit and replay the event.",
        reason="audio_too_large",
    )
