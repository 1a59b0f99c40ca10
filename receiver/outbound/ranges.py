"""Going on where a body broke off: what can be continued, and whether a 206 does (RFC 9110, 13 to 15). Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import parsedate_to_datetime

from receiver.errors import AudioError
from receiver.outbound.addresses import where
from receiver.outbound.client import Reply
from receiver.outbound.encodings import compression
from receiver.outbound.part import Known
from receiver.outbound.verify import published
from receiver.providers.base import origin_of

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)


class StartOver(AudioError):
    """What we have cannot be continued; the same way is begun again from zero."""

    reason = "not_resumable"


def range_headers(known: Known, have: int) -> dict[str, str]:
    """The headers that ask for the bytes after the first `have`; none if the bytes cannot be continued."""
    if have == 0 or known.validator is None:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": known.validator}


def begun(reply: Reply) -> Known:
    """What a 200 says about the whole file."""
    return Known(
        _validator(reply),
        reply.content_length(),
        str(origin_of(reply.url)),
        published(reply),
        compression(reply.header("content-encoding")),
    )


def continued(reply: Reply, known: Known, have: int) -> Known:
    """What is known of the whole after a 206, which must go on after the first `have` bytes of the same file.

    Raises:
        StartOver: it does not, or it cannot be told.
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
