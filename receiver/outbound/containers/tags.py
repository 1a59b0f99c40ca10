"""Tags in audio files: ID3v2 before or between the frames, ID3v1 and APE after them."""

from __future__ import annotations

from receiver.outbound.containers.reader import WINDOW, Reader

MAX_TAGS = 8
"""ID3v2 tags that a file may begin with."""


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that `head` begins with, including its footer; 0 if there is none.

    Versions 2.2 to 2.4; the four bytes of the size have their high bit clear (id3.org, ID3v2.4.0 structure, 3.1).
    """
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4) or any(byte > 0x7F for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 and head[3] == 4 else 0)


def tag_length(head: bytes) -> int:
    """Bytes of the tag that `head` begins with; 0 if there is no known tag.

    Args:
        head: 32 bytes or more, unless the file ends before.
    """
    if head[:3] == b"TAG":
        return 128  # ID3v1 has this length
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        is_header = head[23] & 0x20
        return 32 + int.from_bytes(head[12:16], "little") if is_header else 32
    return id3_length(head)


def audio_start(reader: Reader) -> int:
    """Where the audio begins: after ID3v2 tags, and the zeros that some writers add. May be the file's end.

    Raises:
        Unreadable, OSError: as `Reader.read_at`.
    """
    start = 0
    for _ in range(MAX_TAGS):
        length = id3_length(reader.read_at(start, 10))
        if length == 0:
            break
        start += length
    if start == 0:
        return 0
    rest = reader.read_at(start, WINDOW)
    return start + len(rest) - len(rest.lstrip(b"\0"))
