"""Parsing with httptools: one request at a time, cut exactly where it ends.

No I/O. httptools (llhttp in its strict mode) gets a complete head, and a body up to the end of the request, which
follows from its length or from the sizes of its chunks; so the parser never sees a byte of the next request. Every byte
is read a bounded number of times, whatever it is.

Facts of the wire: RFC 9112 (HTTP/1.1): 3.2 the target and the Host header, 6.1 Transfer-Encoding, 7.1 chunks;
RFC 9110: 7.8 a server may ignore Upgrade, 10.1.1 Expect.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

import httptools

from receiver.web.http.limits import MAX_FRAMING_SHARE, MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES

EMPTY_LINE = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class RequestRefused(Exception):
    """The request cannot be read.

    Attributes:
        status: the HTTP status of the answer.
        reason: the slug in the answer, and the metric's label.
    """

    def __init__(self, status: int, *, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(NamedTuple):
    """A request's head. `path` is decoded; `target_path` and `query` are as they came."""

    method: str
    version: str
    path: str
    target_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool


class _ChunkedBody:
    """The end of a chunked body, derived from the sizes of its chunks. The parser checks everything else."""

    def __init__(self) -> None:
        self._remaining = 0
        self._line = b""
        self._trailer: bytes | None = None
        self._framing = 0
        self._content = 0

    def cut(self, data: bytes) -> int:
        """How many of the following bytes belong to the body and its trailer.

        Raises:
            RequestRefused: a chunk has no size, or sizes, extensions and trailer are longer than allowed.
        """
        at = 0
        while at < len(data) and self._trailer is None:
            if self._remaining:
                step = min(self._remaining, len(data) - at)
                self._remaining -= step
                self._content += step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            self._count((end or len(data)) - at)
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if end:
                self._begin_chunk()
        if self._trailer is None:
            return at
        seen = len(self._trailer)
        end = (self._trailer + data[at:]).find(EMPTY_LINE)
        until = len(data) if end < 0 else at + end + len(EMPTY_LINE) - seen
        self._count(until - at)
        self._trailer = (self._trailer + data[at:until])[-3:]
        return until

    def _begin_chunk(self) -> None:
        digits = _CHUNK_SIZE.match(self._line)
        if digits is None:
            raise RequestRefused(400, reason="malformed_request")
        size = int(digits[0], 16)
        self._line = b""
        if size:
            self._remaining = size + 2  # with the line break after it
        else:
            self._trailer = b"\r\n"

    def _count(self, framing: int) -> None:
        self._framing += framing
        if self._framing > MAX_HEAD_BYTES + self._content * MAX_FRAMING_SHARE:
            raise RequestRefused(431, reason="head_too_long")


class RequestParser:
    """Reads the requests of one connection, one after the other.

    Attributes:
        whole: whether the request whose head was read last has been read to its end.
    """

    def __init__(self) -> None:
        self.whole = True
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._keep_alive = False
        self._pieces: list[bytes] = []
        self._remaining = 0
        self._chunks: _ChunkedBody | None = None

    def read_head(self, head: bytes) -> Head | None:
        """Read bytes that end with an empty line: a head, or only empty lines (None).

        Raises:
            RequestRefused: it is not the head of a request that this server answers.
        """
        self._in_head = True
        try:
            try:
                self._feed_head(head)
            except httptools.HttpParserUpgrade:
                # The parser takes the body for the other protocol, whatever the length in the head. So another parser
                # reads the head again without the header.
                self._parser = httptools.HttpRequestParser(self)
                self._feed_head(_UPGRADE.sub(b"", head))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise RequestRefused(400, reason="malformed_request") from None
        finally:
            self._in_head = False
        if not self._target:
            self.whole = True
            return None
        return self._head()

    def _feed_head(self, head: bytes) -> None:
        self.whole, self._target, self._headers = False, b"", []
        self._parser.feed_data(head)

    def _head(self) -> Head:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RequestRefused(505, reason="http_version")
        if len(self._target) > MAX_TARGET_BYTES:
            raise RequestRefused(414, reason="target_too_long")
        headers = self._headers
        if len(headers) > MAX_HEADERS:
            raise RequestRefused(431, reason="head_too_long")
        names = [name for name, _ in headers]
        hosts = names.count(b"host")
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            raise RequestRefused(400, reason="host_header")
        if not self.whole:
            self._announce(names, version)
        try:
            target = httptools.parse_url(self._target)
            target_path = target.path or b"/"
            path = target_path.decode("ascii")
        except (httptools.HttpParserError, UnicodeDecodeError):
            raise RequestRefused(400, reason="malformed_request") from None
        if target.schema is not None and hosts and _authority(self._target) != headers[names.index(b"host")][1].lower():
            raise RequestRefused(400, reason="host_header")
        return Head(
            self._parser.get_method().decode("ascii"),
            version,
            unquote(path) if "%" in path else path,
            target_path,
            target.query or b"",
            headers,
            self._keep_alive and version == "1.1",
            b"expect" in names and headers[names.index(b"expect")][1].lower() == b"100-continue",
        )

    def _announce(self, names: list[bytes], version: str) -> None:
        """Note how the body's end is found: by its length, or by its chunks."""
        self._chunks = None
        if b"transfer-encoding" not in names:
            self._remaining = int(self._headers[names.index(b"content-length")][1])
            return
        codings = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        if codings != [b"chunked"] or version != "1.1":
            raise RequestRefused(501, reason="transfer_encoding")
        self._chunks = _ChunkedBody()

    def read_body(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Read bytes of the body, without their framing, up to the request's end at most.

        Returns:
            The body's pieces, and the bytes after the request's end; the body goes on unless `whole` is set now.

        Raises:
            RequestRefused: it is not a valid body, or its framing is longer than allowed.
        """
        if self._chunks is not None:
            until = self._chunks.cut(data)
        else:
            until = min(len(data), self._remaining)
            self._remaining -= until
        self._pieces = []
        try:
            self._parser.feed_data(data[:until])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise RequestRefused(400, reason="malformed_request") from None
        pieces, self._pieces = self._pieces, []
        if self.whole and self._chunks is not None:
            # After a trailer with `Connection: close` this parser would refuse the next request.
            self._parser = httptools.HttpRequestParser(self)
        return pieces, data[until:]

    def close(self) -> None:
        """Read nothing more. Breaks the reference cycle between httptools' parser and this object."""
        del self._parser

    # called by httptools

    def on_url(self, part: bytes) -> None:
        """A part of the request's target."""
        if not self._in_head:
            raise RuntimeError("The parser found another request within the body of the current one.")
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line; the lines of a trailer are dropped."""
        if self._in_head:
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete. Only now does httptools know whether the sender keeps the connection open."""
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self.whole = True


def _authority(target: bytes) -> bytes:
    """Host and port of a target in absolute form, in lower case; the Host header repeats them (RFC 9112, 3.2.2)."""
    return re.split(rb"[/?#]", target.partition(b"://")[2], maxsplit=1)[0].lower()


def head_too_long(head: bytes | bytearray) -> RequestRefused:
    """The error for a head that is too long: of its target, if the first line does not end within that limit."""
    if head.find(b"\n", 0, MAX_TARGET_BYTES) < 0:
        return RequestRefused(414, reason="target_too_long")
    return RequestRefused(431, reason="head_too_long")
