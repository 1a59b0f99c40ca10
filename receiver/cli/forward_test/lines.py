"""The lines that `forward-test` prints: one for each event, of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

from receiver.cli.forward_test.application import Receipt, Refusal
from receiver.cli.forward_test.message import AudioFile, EventData, ForwardedEvent
from receiver.model.printable import printable
from receiver.model.redact import ELLIPSIS, truncate
from receiver.model.timestamps import utc

WIDTH = 80
INDENT = "  "
MAX_ID_CHARACTERS = 13
"""Of a job id: the first two groups of a UUID."""
MAX_CHARACTERS = 300
"""Of a line's text from outside, before it is wrapped or cut to the width."""


def receipt_line(receipt: Receipt) -> str:
    """A verified event: time, type, source and job, then what is special, then its audio, error or size."""
    mark = "✓" if _is_success(receipt.status) else "!"
    facts = [*_special(receipt), *_content(receipt)]
    return _fit(f"{mark} {_time(receipt.at)} {' '.join(_names(receipt.event))}  {', '.join(facts)}")


def refusal_lines(refusal: Refusal) -> list[str]:
    """A refused request and why, on as many lines as it takes."""
    status = f"{refusal.status} " if refusal.status else ""
    text = f"✗ {_time(refusal.at)} refused: {status}{refusal.reason}. {truncate(refusal.why, MAX_CHARACTERS)}"
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent=INDENT)


def _time(seconds: float) -> str:
    return utc(seconds).strftime("%H:%M:%SZ")


def _names(event: ForwardedEvent) -> Iterator[str]:
    if event.data is None:
        yield str(event.document.get("event") or event.document.get("type") or "event")
        return
    yield event.data.type
    yield event.data.source
    if event.data.job_id:
        yield truncate(event.data.job_id, MAX_ID_CHARACTERS)


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


def _fit(text: str) -> str:
    """On one line of at most 80 columns; wide letters take two."""
    line = printable(truncate(text, MAX_CHARACTERS))
    return line if cell_len(line) <= WIDTH else set_cell_size(line, WIDTH - 1).rstrip() + ELLIPSIS
