"""A provider's audio endpoint and the storage that it redirects to, for the fetching benchmark.

A process of its own, fast enough not to be the bottleneck: every response but the redirect is made beforehand. It reads
its options from standard input, prints the provider's port, holds every request until it reads a line such as `go`, and
prints its counts when standard input ends. It behaves like aitts: the durable endpoint responds 307 with a signed
address at another origin. Half of the files are WAV, half MP3.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sys
import time
import wave
from typing import ClassVar

import google_crc32c
import uvloop

from benchmarks.held import HeldConnection, Traffic, obey_standard_input

_MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""128 kbit/s at 44.1 kHz, silent."""


def wav(size: int) -> bytes:
    """A WAV file of about `size` bytes."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(b"".join((index * 7919 % 65_521).to_bytes(2, "little") for index in range(size // 2)))
    return out.getvalue()


def mp3(size: int) -> bytes:
    """An MP3 file of about `size` bytes."""
    return _MP3_FRAME * (size // len(_MP3_FRAME))


def _response(body: bytes, content_type: str) -> bytes:
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


class _Connection(HeldConnection):
    """Responds to GET requests."""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        self.send(self.respond(self._buffer.split(b" ", 2)[1].decode()))

    def respond(self, path: str) -> bytes:
        raise NotImplementedError


class _Storage(_Connection):
    """Serves the files."""

    files: ClassVar[dict[str, bytes]] = {}

    def respond(self, path: str) -> bytes:
        return self.files[path.partition("?")[0].rpartition(".")[2]]


class _Provider(_Connection):
    """Responds to `GET /api/v1/tts/{job}/audio`."""

    storage = ""

    def respond(self, path: str) -> bytes:
        job = path.split("/")[4]
        extension = "mp3" if job[-1] in "13579bdf" else "wav"
        signed = f"X-Goog-Expires=86400&X-Goog-Signature={'0a' * 256}"
        head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {self.storage}/{job}.{extension}?{signed}\r\n"
        return f"{head}Content-Length: 0\r\n\r\n".encode()


def main() -> None:
    options = json.loads(sys.stdin.readline())
    _Storage.files = {
        "wav": _response(wav(options["bytes"]), "audio/wav"),
        "mp3": _response(mp3(options["bytes"]), "audio/mpeg"),
    }

    async def run() -> Traffic:
        loop, traffic = asyncio.get_running_loop(), Traffic(options["seconds"])
        storage = await loop.create_server(lambda: _Storage(traffic), "127.0.0.1", 0)
        _Provider.storage = f"http://127.0.0.1:{storage.sockets[0].getsockname()[1]}/bucket/audio"
        provider = await loop.create_server(lambda: _Provider(traffic), "127.0.0.1", 0)
        await obey_standard_input(traffic, provider.sockets[0].getsockname()[1])
        return traffic

    traffic = uvloop.run(run())
    print(json.dumps({"connections": traffic.connections, "requests": traffic.requests, "cpu": time.process_time()}))


if __name__ == "__main__":
    main()
