"""Read a request's body under a size limit and a time limit, while it streams."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope


class BodyRefused(Exception):
    """The body was not taken.

    Attributes:
        status: the HTTP status to answer; None when the sender is gone and nobody reads an answer.
        outcome: the metric's label.
    """

    def __init__(self, status: int | None, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


async def read_body(scope: Scope, receive: Receive, max_bytes: int, seconds: float) -> bytes:
    """The whole body.

    Args:
        max_bytes: more than this is refused, by the announced length or as soon as it has come.
        seconds: how long the sender may take in all.

    Raises:
        BodyRefused: 413, 408, or the sender went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise BodyRefused(413, "too_large")
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                body: bytes = message.get("body", b"")  # the usual case: all in one piece
                if len(body) > max_bytes:
                    raise BodyRefused(413, "too_large")
                return body
            pieces: list[bytes] = []
            size = 0
            while message["type"] == "http.request":
                piece = message.get("body", b"")
                size += len(piece)
                if size > max_bytes:
                    raise BodyRefused(413, "too_large")
                pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(pieces)
                message = await receive()
    except TimeoutError:
        raise BodyRefused(408, "too_slow") from None
    raise BodyRefused(None, "sender_gone")
