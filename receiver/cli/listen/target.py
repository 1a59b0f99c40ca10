"""Hands one message to the local address, signed by Standard Webhooks, and reads the answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receiver.cli.listen.errors import ListenError
from receiver.cli.listen.message import Message
from receiver.clock import Clock
from receiver.errors import OutboundError
from receiver.model.redact import truncate
from receiver.model.retry_after import http_date, parse_retry_after
from receiver.model.secret_text import MIN_SIGNING_SECRET_BYTES, secret_lines
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.settings.small_file import read_small_file
from receiver.signing import sign_standard_webhooks

ANSWER_SECONDS = 60.0
"""How long the local application may take."""
MAX_RESPONSE_BYTES = 65_536
MAX_QUOTED_CHARACTERS = 200
_WAITING = frozenset({429, 503})
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """The local application's answer.

    Attributes:
        status: None if there was none.
        seconds: how long it took.
        detail: the beginning of the body, or why there was no answer.
        retry_after: seconds that it asks to wait; 0 if it does not ask.
    """

    status: int | None
    seconds: float
    detail: str = ""
    retry_after: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the application has accepted the event."""
        return self.status is not None and self.status // 100 == 2

    @property
    def is_final(self) -> bool:
        """Whether the event is not handed over again."""
        return self.is_accepted or self.status == GONE


class Target:
    """The local address; to be closed at the end.

    Args:
        secrets: the newest first; each signs.
        answer_seconds: how long an answer may take.
    """

    def __init__(
        self, url: str, secrets: Sequence[str], clock: Clock, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self.url = url
        self._secrets = list(secrets)
        self._clock = clock
        timeouts = Timeouts(read=answer_seconds, write=answer_seconds, head=answer_seconds)
        self._client = Client(AddressGuard(allow_private=True), timeouts=timeouts)

    async def post(self, message: Message, event_id: str) -> Answer:
        """Hand the message over. Once the status is there it decides, also if the body then breaks off."""
        began = self._clock.monotonic()
        headers = {
            "Accept-Encoding": "identity",
            "Content-Type": message.content_type,
            **sign_standard_webhooks(
                message.body, self._secrets, message_id=event_id, timestamp=int(self._clock.now())
            ),
        }
        status: int | None = None
        try:
            async with self._client.send("POST", self.url, headers, message.body) as response:
                status = response.status
                seconds = self._clock.monotonic() - began
                sent_at = http_date(response.header("date"))
                after = parse_retry_after(
                    response.header("retry-after"), self._clock.now() if sent_at is None else sent_at
                )
                body = await response.read(MAX_RESPONSE_BYTES)
        except OutboundError as error:
            if status is None:
                return Answer(None, self._clock.monotonic() - began, str(error))
            body = b""
        if 300 <= status < 400:
            return Answer(status, seconds, "a redirect, which is not followed: name the final address")
        waits = after if after is not None and status in _WAITING else 0.0
        return Answer(status, seconds, _quoted(body), waits)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def read_secrets(path: Path) -> list[str]:
    """The signing secrets in a file, one a line, the newest first.

    Raises:
        ListenError: it cannot be read, or a secret cannot sign.
    """
    try:
        text, _ = read_small_file(path)
        secrets = secret_lines(text)
        sign_standard_webhooks(b"", secrets, message_id="check")
    except FileNotFoundError:
        raise ListenError(f"{path} does not exist.") from None
    except ValueError as error:
        raise ListenError(f"{path} cannot be used: {str(error).rstrip('.')}.") from None
    if any(len(base64.b64decode(re.sub("^wh(sec|sk)_", "", secret))) < MIN_SIGNING_SECRET_BYTES for secret in secrets):
        raise ListenError(f"{path} has a secret of less than {MIN_SIGNING_SECRET_BYTES} bytes, which can be guessed.")
    return secrets


def _quoted(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return truncate(line, MAX_QUOTED_CHARACTERS)
