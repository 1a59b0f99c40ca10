"""A provider's audio endpoint and the storage that it redirects to, for the fetching benchmark.

A process of its own, cheap enough not to be the bottleneck: every answer but the redirect's address is made beforehand.
It reads its orders from standard input, prints the two ports, holds every request until it is told `go`, and when
standard input ends prints what it saw. It speaks the language of aitts: the durable endpoint answers 307 with a signed
address of another origin. Half of the files are WAV, half MP3.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sys
import threading
import time
import wave
from dataclasses import dataclass, field
from typing import Any, ClassVar

import google_crc32c
import uvloop

_MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""128 kbit/s at 44.1 kHz, silent."""


def wav(size: int) -> bytes:
    """A WAV of about so many bytes."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(b"".join((index * 7919 % 65_521).to_bytes(2, "little") for index in range(size // 2)))
    return out.getvalue()


def mp3(size: int) -> bytes:
    """An MP3 of about so many bytes."""
    return _MP3_FRAME * (size // len(_MP3_FRAME))


def _answer(body: bytes, content_type: str) -> bytes:
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    crc32c = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()  # type: ignore[no-untyped-call]
    lines = (
        "HTTP/1.1 200 OK",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        f'ETag: "{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
        f"x-goog-hash: crc32c={crc32c}",
        f"x-goog-hash: md5={md5}",
        "Accept-Ranges: bytes",
        "Server: UploadServer",
        "Date: Thu, 26 Nov 2026 12:00:00 GMT",
        "Last-Modified: Thu, 26 Nov 2026 11:00:00 GMT",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Seen:
    """What both listeners saw, and when they may answer."""

    seconds: float
    """How long an answer takes."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    requests: int = 0


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._seen.connections += 1
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        path, self._buffer = self._buffer.split(b" ", 2)[1], b""
        self._seen.requests += 1
        answer = self.answer(path.decode())
        if not self._seen.go.is_set():
            asyncio.ensure_future(self._seen.go.wait()).add_done_callback(lambda _: self._transport.write(answer))
        elif self._seen.seconds:
            asyncio.get_running_loop().call_later(self._seen.seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)

    def answer(self, path: str) -> bytes:
        raise NotImplementedError


class _Storage(_Connection):
    """Serves the files."""

    files: ClassVar[dict[str, bytes]] = {}

    def answer(self, path: str) -> bytes:
        return self.files[path.partition("?")[0].rpartition(".")[2]]


class _Provider(_Connection):
    """Answers `GET /api/v1/tts/{job}/audio`."""

    storage = ""

    def answer(self, path: str) -> bytes:
        job = path.split("/")[4]
        extension = "mp3" if job[-1] in "13579bdf" else "wav"
        signed = f"X-Goog-Expires=86400&X-Goog-Signature={'0a' * 256}"
        head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {self.storage}/{job}.{extension}?{signed}\r\n"
        return f"{head}Content-Length: 0\r\n\r\n".encode()


def main() -> None:
    orders = json.loads(sys.stdin.readline())
    _Storage.files = {
        "wav": _answer(wav(orders["bytes"]), "audio/wav"),
        "mp3": _answer(mp3(orders["bytes"]), "audio/mpeg"),
    }

    async def run() -> Seen:
        loop, over, seen = asyncio.get_running_loop(), asyncio.Event(), Seen(orders["seconds"])
        storage = await loop.create_server(lambda: _Storage(seen), "127.0.0.1", 0)
        _Provider.storage = f"http://127.0.0.1:{storage.sockets[0].getsockname()[1]}/bucket/audio"
        provider = await loop.create_server(lambda: _Provider(seen), "127.0.0.1", 0)

        def listen() -> None:
            sys.stdin.readline()
            loop.call_soon_threadsafe(seen.go.set)
            sys.stdin.read()
            loop.call_soon_threadsafe(over.set)

        threading.Thread(target=listen, daemon=True).start()
        print(provider.sockets[0].getsockname()[1], flush=True)
        await over.wait()
        return seen

    seen = uvloop.run(run())
    print(json.dumps({"connections": seen.connections, "requests": seen.requests, "cpu": time.process_time()}))


if __name__ == "__main__":
    main()
