"""The lines that `forward-test` prints: one for each event, of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from receiver.cli.event_lines import INDENT, MAX_CHARACTERS, WIDTH, fit, short_job_id, time_of_day
from receiver.cli.forward_test.application import Receipt, Refusal
from receiver.cli.forward_test.message import AudioFile, EventData, ForwardedEvent
from receiver.model.printable import printable
from receiver.model.redact import truncate


def receipt_line(receipt: Receipt) -> str:
    """A verified event: time, type, source and job, then what is special, then its audio, error or size."""
    mark = "✓" if _is_success(receipt.status) else "!"
    facts = [*_special(receipt), *_content(receipt)]
    return fit(f"{mark} {time_of_day(receipt.at)} {' '.join(_names(receipt.event))}  {', '.join(facts)}")


def refusal_lines(refusal: Refusal) -> list[str]:
    """A refused request and why, on as many lines as it takes."""
    status = f"{refusal.status} " if refusal.status else ""
    text = f"✗ {time_of_day(refusal.at)} refused: {status}{refusal.reason}. {truncate(refusal.why, MAX_CHARACTERS)}"
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent=INDENT)  # no word of a stranger is copied


def _names(event: ForwardedEvent) -> Iterator[str]:
    if event.data is None:
        yield str(event.document.get("event") or event.document.get("type") or "event")
        return
    yield event.data.type
    yield event.data.source
    if event.data.job_id:
        yield short_job_id(event.data.job_id)


def _special(receipt: Receipt) -> Iterator[str]:
    if receipt.count > 1:
        yield f"duplicate (no. {receipt.count:,})"
    if not _is_success(receipt.status):
        yield f"answered {receipt.status}"


def _content(receipt: Receipt) -> Iterator[str]:
    data = receipt.event.data
    if data is None:
        yield f"the provider's body, {receipt.size:,} bytes"
    elif data.error is not None:
        yield f"{data.error.code or 'error'}: {data.error.message}"
    elif data.audio:
        yield _audio(data)
    else:
        yield f"no audio, {receipt.size:,} bytes"


def _audio(data: EventData) -> str:
    first, *others = data.audio
    if others:
        return f"{len(data.audio)} files, {sum(file.bytes for file in data.audio):,} bytes, {_access(first)}"
    seconds = "" if first.duration is None else f" {first.duration:.2f} s"
    return f"{first.format}{seconds}, {first.bytes:,} bytes, {_access(first)}"


def _access(file: AudioFile) -> str:
    if file.data_base64 is not None:
        return "inline"
    return "signed address" if file.url else "link" if file.link else "no link"


def _is_success(status: int) -> bool:
    return status // 100 == 2
