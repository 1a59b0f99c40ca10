"""Audio put into an S3 store, played on loopback: what goes over the wire, and what is checked afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from receiver.errors import AudioError
from receiver.outbound.storage import Storage, open_storage

pytestmark = pytest.mark.anyio


class Bucket(ThreadingHTTPServer):
    """Objects, uploads in parts, and a fault: bytes that an upload loses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.parts: dict[int, bytes] = {}
        self.lost = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.get("size", str(len(body))))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.body()
        if "partNumber" in query:
            number = int(query.partition("partNumber=")[2].partition("&")[0])
            self.server.parts[number] = body
        else:
            self.server.objects[path] = body
            self.server.types[path] = self.headers["Content-Type"]
        self.answer(ETag='"e"')

    def do_POST(self) -> None:
        path, _, query = self.path.partition("?")
        self.body()
        if query.startswith("uploads"):
            self.server.types[path] = self.headers["Content-Type"]
            self.answer(
                b"<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>"
                b"</InitiateMultipartUploadResult>"
            )
        else:
            whole = b"".join(self.server.parts[number] for number in sorted(self.server.parts))
            self.server.objects[path] = whole[: len(whole) - self.server.lost]
            self.answer(
                b"<CompleteMultipartUploadResult><Location>l</Location><Bucket>b</Bucket><Key>k</Key>"
                b'<ETag>"e"</ETag></CompleteMultipartUploadResult>'
            )

    def do_HEAD(self) -> None:
        data = self.server.objects.get(self.path)
        if data is None:
            self.answer(status=404)
        else:
            self.answer(size=str(len(data)), ETag='"e"', Last_Modified="Mon, 12 Jan 2026 13:00:00 GMT")

    def do_GET(self) -> None:
        data = self.server.objects[self.path]
        start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        piece = data[int(start) : int(end) + 1]
        self.answer(
            piece,
            206,
            ETag='"e"',
            Last_Modified="Mon, 12 Jan 2026 13:00:00 GMT",
            Content_Range=f"bytes {start}-{int(start) + len(piece) - 1}/{len(data)}",
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def storage(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Storage:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{bucket.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    return open_storage("s3://bucket/speech", tmp_path)


@pytest.mark.parametrize("size", [1, 5 << 20, (11 << 20) + 3])
async def test_a_file_arrives_whole_and_with_its_type(
    bucket: Bucket, storage: Storage, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    part = tmp_path / "x.part"
    part.write_bytes(data)
    stored = await storage.publish(part, "aitts/j~1.wav", "audio/wav")
    assert stored.address == "s3://bucket/speech/aitts/j~1.wav"
    (key,) = bucket.objects
    assert bucket.objects[key] == data
    assert bucket.types[key] == "audio/wav"
    assert key.startswith("/bucket/speech/aitts/j")
    assert len(bucket.parts) == (0 if size <= 5 << 20 else 3)
    assert b"".join([piece async for piece in storage.stream(stored.address)]) == data
    assert await storage.size(stored.address) == size


async def test_an_upload_that_lost_bytes_is_not_called_stored(bucket: Bucket, storage: Storage, tmp_path: Path) -> None:
    bucket.lost = 1
    part = tmp_path / "x.part"
    part.write_bytes(bytes(6 << 20))
    with pytest.raises(AudioError, match="6291455 bytes after an upload of 6291456") as caught:
        await storage.publish(part, "aitts/j.wav", "audio/wav")
    assert caught.value.reason == "storage_failed"
    assert part.exists()
