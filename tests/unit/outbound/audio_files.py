"""Small audio files, built byte by byte, each of a length that is known."""

from __future__ import annotations

import io
import struct
import wave

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
"""MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo: 417 bytes, 1152 samples."""
MP3_V2_FRAME = b"\xff\xf3\x44\xc4" + bytes(92)
"""MPEG-2 layer III, 32 kbit/s, 24 kHz, mono: 96 bytes, 576 samples."""
MP3_V25_FRAME = b"\xff\xe3\x18\xc4" + bytes(68)
"""MPEG-2.5 layer III, 8 kbit/s, 8 kHz, mono: 72 bytes, 576 samples."""


def make_wav(frames: int, rate: int = 8000, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x01\x02" * frames * channels)
    return out.getvalue()


def id3(size: int = 100, *, footer: int = 0) -> bytes:
    """An ID3v2.4 tag with `size` bytes of content."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0" + bytes([0x10 if footer else 0]) + sizes + bytes(size) + bytes(footer)


def adts(content: int = 100, *, rate: int = 6, channels: int = 1) -> bytes:
    """One ADTS frame of 1024 samples; `rate` is an index: 6 is 24 kHz, 4 is 44.1 kHz."""
    length = 7 + content
    head = bytes(
        (
            0xFF, 0xF1, 1 << 6 | rate << 2 | channels >> 2, (channels & 3) << 6 | length >> 11,
            length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC,
        )
    )  # fmt: skip
    return head + b"\x21" * content


def xing(frames: int, word: bytes = b"Info", *, lame: bytes = b"") -> bytes:
    """An MPEG-1 stereo frame in which the encoder says how many frames follow."""
    note = word + struct.pack(">IIII", 0xF, frames, 417 * frames, 0) + bytes(100) + lame
    return (MP3_FRAME[:36] + note).ljust(417, b"\0")


def lame_note(delay: int, padding: int) -> bytes:
    return b"LAME3.100".ljust(21, b"\0") + (delay << 12 | padding).to_bytes(3, "big") + bytes(12)


def crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x107) if crc & 0x80 else crc << 1
    return crc


def flac(frames: int, *, total: int | None = None, last: int = 4096) -> bytes:
    """A FLAC file of blocks of 4096 samples, the last of `last`, at 44.1 kHz in stereo; `total` is what it claims."""
    samples = (frames - 1) * 4096 + last if total is None else total
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + (44_100 << 44 | 1 << 41 | 15 << 36 | samples).to_bytes(8, "big")
    blocks = b"\0\0\0\x22" + info + bytes(16) + b"\x84\0\0\x04" + bytes(4)
    return b"fLaC" + blocks + b"".join(_flac_frame(n, last if n == frames - 1 else 4096) for n in range(frames))


def _flac_frame(number: int, block: int) -> bytes:
    assert number < 0x800
    coded = bytes([number]) if number < 0x80 else bytes([0xC0 | number >> 6, 0x80 | number & 0x3F])
    head = b"\xff\xf8" + (b"\xc9\x18" if block == 4096 else b"\x79\x18") + coded
    head += b"" if block == 4096 else (block - 1).to_bytes(2, "big")
    return head + bytes([crc8(head)]) + b"\x55" * 300


def ogg_page(packets: list[bytes], position: int, *, serial: int = 1, first: bool = False) -> bytes:
    """A page of whole packets, at whose end the stream is at `position`."""
    segments = [part for packet in packets for part in [255] * (len(packet) // 255) + [len(packet) % 255]]
    head = b"OggS\0" + bytes([2 if first else 0]) + struct.pack("<qIII", position, serial, 0, 0)
    return head + bytes([len(segments)]) + bytes(segments) + b"".join(packets)


def opus(seconds: int, *, skip: int = 312, start: int = 0, serial: int = 1) -> bytes:
    """Opus in Ogg, 50 packets of 20 ms in a page; `start` is the position that it begins at."""
    head = b"OpusHead\x01\x01" + struct.pack("<HIhB", skip, 24_000, 0, 0)
    pages = [ogg_page([head], 0, serial=serial, first=True), ogg_page([b"OpusTags" + bytes(8)], 0, serial=serial)]
    ends = [start + skip + 48_000 * (n + 1) for n in range(seconds)]
    return b"".join([*pages, *(ogg_page([b"\x98" + bytes(59)] * 50, end, serial=serial) for end in ends)])


def vorbis(seconds: int, *, rate: int = 22_050, start: int = 0, serial: int = 2) -> bytes:
    """Vorbis in Ogg, a page a second, in packets of at most 1024 samples."""
    head = b"\x01vorbis" + struct.pack("<IBI", 0, 1, rate) + bytes(12) + b"\xb8\x01"
    pages = [ogg_page([head], 0, serial=serial, first=True), ogg_page([b"\x03vorbis" + bytes(90)], 0, serial=serial)]
    ends = [start + rate * (n + 1) for n in range(seconds)]
    return b"".join([*pages, *(ogg_page([bytes(90)] * 22, end, serial=serial) for end in ends)])


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + name + body


FTYP = box(b"ftyp", b"M4A ", bytes(4), b"M4A mp42")


def moov(samples: int, *, channels: int = 1, edit: int | None = None, fragmented: bool = False) -> bytes:
    """A movie with one AAC track of 24 kHz; the entry says 2 channels, as many do, and the configuration the truth."""
    config = bytes([2 << 3 | 6 >> 1, (6 & 1) << 7 | channels << 3])
    decoder = (
        b"\x04" + bytes([13 + 2 + len(config)]) + b"\x40\x15" + bytes(11) + b"\x05" + bytes([len(config)]) + config
    )
    esds = box(b"esds", bytes(4), b"\x03" + bytes([3 + len(decoder)]) + b"\0\x01\0" + decoder)
    entry = box(b"mp4a", bytes(6), b"\0\x01", bytes(8), struct.pack(">HHHH", 2, 16, 0, 0), b"\x5d\xc0\0\0", esds)
    table = struct.pack(">II", 0, 0) if fragmented else struct.pack(">IIII", 0, 1, samples, 1024)
    stbl = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1), entry), box(b"stts", table))
    mdia = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">III", 24_000, 0, 0)),
        box(b"hdlr", bytes(8), b"soun", bytes(13)),
        box(b"minf", stbl),
    )
    edits = b"" if edit is None else box(b"edts", box(b"elst", struct.pack(">IIIiI", 0, 1, edit, 1024, 1 << 16)))
    trak = box(b"trak", box(b"tkhd", bytes(12), struct.pack(">I", 1), bytes(68)), edits, mdia)
    trex = box(b"mvex", box(b"trex", bytes(4), struct.pack(">IIIII", 1, 1, 1024, 0, 0))) if fragmented else b""
    return box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 1000, 0), bytes(80)), trak, trex)


def moof(lengths: list[int] | int) -> bytes:
    """A fragment: the lengths of its samples, or how many there are of the usual one."""
    if isinstance(lengths, int):
        run = struct.pack(">II", 0, lengths)
    else:
        run = struct.pack(">II", 0x300, len(lengths)) + b"".join(struct.pack(">II", n, 50) for n in lengths)
    return box(b"moof", box(b"traf", box(b"tfhd", struct.pack(">II", 0, 1)), box(b"trun", run)))


def element(name: int, content: bytes, *, unknown: bool = False) -> bytes:
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (b"\x01" + b"\xff" * 7 if unknown else (1 << 56 | len(content)).to_bytes(8, "big")) + content


def webm(seconds: int, *, claimed: float | None = None, unknown: bool = False) -> bytes:
    """Vorbis in WebM: a cluster a second, a block every 20 ms."""
    head = element(0x1A45DFA3, element(0x4282, b"webm"))
    duration = b"" if claimed is None else element(0x4489, struct.pack(">d", claimed * 1000))
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")) + duration)
    audio = element(0xE1, element(0xB5, struct.pack(">f", 24_000)) + element(0x9F, b"\x01"))
    entry = element(0xD7, b"\x01") + element(0x83, b"\x02") + element(0x86, b"A_VORBIS") + audio
    tracks = element(0x1654AE6B, element(0xAE, entry))
    clusters = b"".join(_cluster(1000 * n, unknown=unknown) for n in range(seconds))
    return head + element(0x18538067, info + tracks + clusters, unknown=unknown)


def _cluster(at: int, *, unknown: bool) -> bytes:
    blocks = b"".join(element(0xA3, b"\x81" + struct.pack(">h", 20 * n) + b"\0" + bytes(40)) for n in range(50))
    return element(0x1F43B675, element(0xE7, at.to_bytes(4, "big")) + blocks, unknown=unknown)


def aiff(frames: int, *, claimed: int | None = None, size: int | None = None) -> bytes:
    rate = (16383 + 14).to_bytes(2, "big") + (24_000 << 49).to_bytes(8, "big")
    comm = struct.pack(">hIh", 1, frames if claimed is None else claimed, 16) + rate
    sound = bytes(8) + b"\x01\x02" * frames
    ssnd = b"SSND" + struct.pack(">I", len(sound) if size is None else size) + sound
    return b"FORM" + bytes(4) + b"AIFF" + b"COMM" + struct.pack(">I", 18) + comm + ssnd
