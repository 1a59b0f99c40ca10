"""Send each event to the application's own address: signed, and again until the application has accepted it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from receiver import Context, Event, ReceiverError, Reject, RetryLater, handler, retry_after

from ._forward_options import ForwardOptions, signature_headers
from ._message import Message, build_message

MAX_RESPONSE_BYTES = 65_536
"""As much of a response is read, so that its connection can be used again. A longer response is cut."""
MAX_QUOTED_CHARACTERS = 300
MAX_HOST_CHARACTERS = 100


class ForwardFailed(ReceiverError):
    """The application did not accept the event this time; the run is retried with backoff."""

    reason = "forward_failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application answered: the head, and the beginning of the body."""

    head: httpx.Response
    body: bytes

    @property
    def quoted(self) -> str:
        """The body's beginning for an error message: `: "text"`, printable and bounded; empty without a body."""
        text = _line(self.body.decode("utf-8", "replace"))
        return f': "{text}"' if text else ""


@handler(on=Event, attempts=30, options=ForwardOptions)
async def forward(event: Event, ctx: Context[ForwardOptions]) -> dict[str, int]:
    """Send the event. The run's result is the application's status, and how many bytes were sent.

    Every 2xx means that the application has accepted the event. 429 and 503 are retried when the application says, 410
    and `reject_statuses` are final, anything else is retried with backoff. Redirects are not followed: a signed
    document would go to an address that nobody has configured.
    """
    message = await build_message(event, ctx)
    answer = await _send(message, ctx)
    status = answer.head.status_code
    if 200 <= status < 300:
        return {"status": status, "bytes": len(message.body)}
    raise _refusal(answer, ctx.options)


async def _send(message: Message, ctx: Context[ForwardOptions]) -> Answer:
    """Send the message and read the answer, within `request_seconds`.

    Once the status is there it decides, also if the body breaks off or does not end in time.
    """
    options = ctx.options
    head: httpx.Response | None = None
    body = bytearray()
    try:
        async with asyncio.timeout(options.request_seconds):
            exchange = ctx.http.stream(
                "POST", options.url, content=message.body, headers=_headers(message, ctx), timeout=None
            )
            async with exchange as head:
                async for piece in _beginning(head):
                    body += piece
    except TimeoutError:
        if head is None:
            raise ForwardFailed(f"{_host(options)} did not answer within {options.request_seconds:g} s.") from None
    except (httpx.RequestError, httpx.InvalidURL) as error:
        if head is None and _is_unreadable_redirect(error):
            raise ForwardFailed(_redirected(f"{_host(options)} answered", " to what is not an address")) from None
        if head is None:
            raise ForwardFailed(f"{_host(options)} gave no usable answer: {_what(error)}.") from None
    return Answer(head, bytes(body))


async def _beginning(head: httpx.Response) -> AsyncIterator[bytes]:
    """As much of the body as is read; a longer one ends the connection, and so does one that would be decompressed."""
    if "content-encoding" in head.headers:
        return
    left = MAX_RESPONSE_BYTES
    async for piece in head.aiter_bytes():
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def _headers(message: Message, ctx: Context[ForwardOptions]) -> dict[str, str]:
    options = ctx.options
    secrets = [secret.get_secret_value() for secret in options.secrets]
    return {
        **({} if ctx.traceparent is None else {"traceparent": ctx.traceparent}),
        **{name: value.get_secret_value() for name, value in options.headers.items()},
        "User-Agent": "tts-receiver",
        "Accept-Encoding": "identity",
        "Content-Type": message.content_type,
        **message.headers,
        **signature_headers(options.scheme, message.body, secrets, ctx.idempotency_key),
    }


def _refusal(answer: Answer, options: ForwardOptions) -> ReceiverError:
    """The error for an answer other than 2xx."""
    status = answer.head.status_code
    answered = f"{_host(options)} answered {status}"
    if status in (429, 503):
        after = retry_after(answer.head)
        asks = "" if after is None else f" and asks to wait {after:g} s"
        return RetryLater(f"{answered}{asks}{answer.quoted}.", after=after or 0.0, reason="forward_delayed")
    if status == 410 or status in options.reject_statuses:
        return Reject(f"{answered}: it does not accept this event{answer.quoted}.", reason="forward_rejected")
    if 300 <= status < 400:
        target = _redirect_host(answer.head, options)
        return ForwardFailed(_redirected(f"{answered},", target))
    return ForwardFailed(f"{answered}{answer.quoted}.")


def _redirected(answered: str, target: str) -> str:
    return f"{answered} a redirect{target}. Redirects are not followed: set url to the final address."


def _is_unreadable_redirect(error: httpx.RequestError | httpx.InvalidURL) -> bool:
    """Whether the application answered a redirect whose `Location` cannot be read.

    httpx reads it although it does not follow it, and tells nothing else of such a response. `url` itself is valid.
    """
    return isinstance(error, httpx.InvalidURL) or "location header" in str(error)


def _redirect_host(head: httpx.Response, options: ForwardOptions) -> str:
    """Where a redirect points to, without the path, which may contain a secret."""
    location = head.headers.get("location")
    try:
        host = httpx.URL(options.url).join(location).host if location else ""
    except (httpx.InvalidURL, ValueError):
        host = ""
    return f" to {host[:MAX_HOST_CHARACTERS]}" if host else ""


def _host(options: ForwardOptions) -> str:
    return httpx.URL(options.url).netloc.decode("ascii")


def _what(error: httpx.RequestError | httpx.InvalidURL) -> str:
    text = _line(str(error)).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(text: str) -> str:
    """Text from outside as one line: printable and bounded. A cut one ends with an ellipsis.

    By the ellipsis the beginning of a secret is recognized and removed before the text is stored or logged, and by its
    slashes an address, which some applications escape in JSON.
    """
    text = text.replace("\\/", "/")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MAX_QUOTED_CHARACTERS else line[:MAX_QUOTED_CHARACTERS] + "…"
