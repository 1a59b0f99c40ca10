"""Several addresses of one file: each is tried until one gives the audio, and the error lists all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import structlog

from receiver.errors import AudioDelayed, AudioError, AudioGone, AudioRefused, Reject
from receiver.model.redact import cut
from receiver.outbound.addresses import where
from receiver.providers.base import AudioRequest

logger = structlog.get_logger(__name__)

NO_AUDIO_THERE = frozenset({"not_audio", "empty_audio", "content_encoding", "unexpected_status", "too_many_redirects"})
"""Reasons of answers that mean no audio at this address now, and do not exclude it later."""
MAX_LISTED = 8
"""Addresses whose errors a message lists, and the characters of each."""
MAX_CHARACTERS = 220


class Failure(NamedTuple):
    """The error of one address."""

    request: AudioRequest
    error: AudioError


async def first_success(
    requests: Sequence[AudioRequest], fetch: Callable[[AudioRequest], Awaitable[None]], have: Callable[[], int]
) -> None:
    """Fetch from the first address that gives the audio.

    The next one is tried after an error that is final, and after an answer without audio; after a temporary address,
    which may be gone at the next request, also where it brought no more bytes. It is not tried where the answer asks us
    to wait, nor where the audio itself is too large.

    Args:
        requests: at least one.
        fetch: requests one of them.
        have: the number of bytes that can be resumed.

    Raises:
        AudioError: no address gave it. Of several errors the deciding one gives the type: one that is worth
            another try, else a refusal that an operator can act on. The message lists all of them.
    """
    failures: list[Failure] = []
    for request in requests:
        before = have()
        try:
            await fetch(request)
        except AudioError as error:
            failures.append(Failure(request, error))
            if len(failures) == len(requests) or not _tries_next(failures[-1], came=have() - before):
                if len(failures) == 1:
                    raise
                raise summary(failures) from error
            logger.info("audio.next_way", where=where(request.url), reason=error.reason, why=str(error))
        else:
            return


def _tries_next(failure: Failure, came: int) -> bool:
    error = failure.error
    if isinstance(error, AudioDelayed) or error.reason == "audio_too_large":
        return False
    if isinstance(error, Reject) or error.reason in NO_AUDIO_THERE:
        return True
    return not failure.request.durable and came <= 0


def summary(failures: Sequence[Failure]) -> AudioError:
    """One error for all of them."""
    decisive = max((failure.error for failure in failures), key=_weight)
    lines = [_described(n, failure) for n, failure in enumerate(failures[:MAX_LISTED], 1)]
    more = f" And {len(failures) - MAX_LISTED} more." if len(failures) > MAX_LISTED else ""
    message = f"None of {len(failures)} addresses gave the audio. {' '.join(lines)}{more}"
    if isinstance(decisive, AudioDelayed):
        made: AudioError = AudioDelayed(message, after=decisive.after, reason=decisive.reason)
    else:
        kind = next((kind for kind in (AudioGone, AudioRefused) if isinstance(decisive, kind)), AudioError)
        made = kind(message, reason=decisive.reason)
    made.not_found = any(failure.error.not_found for failure in failures)
    made.expired = any(failure.error.expired for failure in failures)
    return made


def _weight(error: AudioError) -> tuple[bool, bool, bool]:
    return isinstance(error, AudioDelayed), not isinstance(error, Reject), isinstance(error, AudioRefused)


def _described(n: int, failure: Failure) -> str:
    """The address and its error: the error's own words may be about the end of its redirects."""
    at, text = where(failure.request.url), str(failure.error)
    line = text if text.startswith(at) else f"{at}: {text}"
    return f"({n}) {cut(line, MAX_CHARACTERS)}"
