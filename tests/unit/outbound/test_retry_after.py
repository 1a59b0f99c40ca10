"""`receiver.retry_after`: how long a response asks a handler to wait."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import retry_after

SENT = "Fri, 27 Nov 2026 10:00:00 GMT"
A_MINUTE_LATER = "Fri, 27 Nov 2026 10:01:00 GMT"


def response(**headers: str) -> httpx.Response:
    return httpx.Response(503, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "1.5"}, None),
        ({"retry_after": "0"}, 0),
        ({"retry_after": " 120 "}, 120),
        ({"retry_after": "9" * 5000}, 86_400),
        ({"retry_after": A_MINUTE_LATER, "date": SENT}, 60),
        ({"retry_after": SENT, "date": A_MINUTE_LATER}, 0),
        ({"retry_after": "Fri, 27 Nov 2099 10:00:00 GMT", "date": SENT}, 86_400),
        ({"retry_after": "Fri, 27 Nov 2099 10:00:00 GMT"}, 86_400),
        ({"retry_after": "Fri, 27 Nov 1999 10:00:00 GMT", "date": "yesterday"}, 0),
    ],
)
def test_both_forms_are_read_and_a_date_by_the_responses_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(response(**headers)) == seconds


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_a_server_sends_the_wait_is_bounded(value: str, date: str) -> None:
    headers = httpx.Headers([(b"retry-after", value.encode("latin-1")), (b"date", date.encode("latin-1"))])
    seconds = retry_after(httpx.Response(429, headers=headers))
    assert seconds is None or 0 <= seconds <= 86_400
