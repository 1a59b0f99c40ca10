"""An S3 store on loopback, played by the standard library, and its faults."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote


class Bucket(ThreadingHTTPServer):
    """Objects, uploads in parts, and faults: bytes that an upload loses, and whether it takes nothing from us."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.parts: dict[int, bytes] = {}
        self.lost = 0
        self.refuses = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that name it."""
        return {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "NO_PROXY": "127.0.0.1",
        }


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
        if self.server.refuses:
            self.answer(b"<Error><Code>AccessDenied</Code></Error>", 403)
            return
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

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self.answer(status=204)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if query:  # a signed address: for clients without credentials
            if is_signed(path, dict(parse_qsl(query)), self.headers["Host"]):
                self.answer(self.server.objects[path], Content_Type=self.server.types[path])
            else:
                self.answer(b"<Error><Code>SignatureDoesNotMatch</Code></Error>", 403)
            return
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


def is_signed(path: str, query: dict[str, str], host: str) -> bool:
    """Whether it is an address that our credentials have signed, and which is still valid.

    As https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html says.
    """
    given = query.pop("X-Amz-Signature", "")
    canonical = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    request = f"GET\n{path}\n{canonical}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    at, scope = query["X-Amz-Date"], query["X-Amz-Credential"].partition("/")[2]
    key = b"AWS4b"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signed = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    valid = datetime.now(UTC) < signed + timedelta(seconds=int(query["X-Amz-Expires"]))
    return valid and hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), given)


@contextmanager
def serving_bucket() -> Iterator[Bucket]:
    """Serve one from a thread."""
    server = Bucket()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
