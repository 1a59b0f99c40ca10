"""How long a response to a handler's own request asks to wait: public, so that each handler reads the header alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.clock import SystemClock
from receiver.model.retry_after import http_date, parse_retry_after

if TYPE_CHECKING:
    import httpx


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that a response's `Retry-After` asks to wait: at most a day; None if it is missing or not valid.

    Both forms of RFC 9110, section 10.2.3: whole seconds, or a date. A date is compared with the response's own `Date`,
    so that a difference between the two clocks does not matter, or with our clock if it has none.
    """
    sent_at = http_date(response.headers.get("date"))
    now = SystemClock().now() if sent_at is None else sent_at
    return parse_retry_after(response.headers.get("retry-after"), now)
