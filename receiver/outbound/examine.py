"""A whole file looked at before it is stored: its checksums, its format, its facts. In one step of a worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from receiver.errors import AudioError
from receiver.outbound.facts import Facts, read_facts
from receiver.outbound.formats import Format, sniff_file
from receiver.outbound.part import Part
from receiver.outbound.threads import in_thread
from receiver.outbound.verify import STRETCH, Published, Sums, check


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found: the SHA-256 as lower-case hex, the bytes, the format, the facts."""

    sha256: str
    size: int
    kind: Format
    facts: Facts


async def sums_of_large(part: Part, published: Published) -> str | None:
    """The SHA-256 of a file that is read in several steps, so that a cancellation is heard; None for a smaller one.

    Raises:
        AudioError: a published checksum does not hold (`reason` `checksum_mismatch`).
        OSError: the file cannot be read or written.
    """
    if part.have <= STRETCH:
        return None
    await in_thread(part.flush)
    return await check(part.path, published)


def examine(part: Part, published: Published, sha256: str | None) -> Examined:
    """Look at the file. Blocks.

    Args:
        published: its storage's checksums.
        sha256: what `sums_of_large` gave.

    Raises:
        AudioError: a published checksum does not hold (`checksum_mismatch`), or it is no audio (`not_audio`).
        OSError: the file cannot be read or written.
    """
    data = part.in_memory
    part.flush()
    if sha256 is None:
        with part.path.open("rb", buffering=0) if data is None else BytesIO(data) as file:
            sums = Sums(file, published)
            while sums.stretch():
                pass
        sha256 = sums.result()
    kind = sniff_file(part.path)
    if kind is None:
        raise AudioError("What was fetched is not audio; it is fetched again.", reason="not_audio")
    return Examined(sha256, part.have, kind, read_facts(part.path, kind))
