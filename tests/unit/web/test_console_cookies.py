"""Which cookie is a session's, and which request a page of the console has sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from receiver.store.sessions import SessionRow
from receiver.web.api.problems import ProblemError
from receiver.web.console.cookies import NAME, SECURE_NAME, expired_cookies, read_cookie, session_cookie
from receiver.web.console.same_origin import is_secure, require_same_origin
from receiver.web.console.sessions import IDLE_SECONDS, LIFETIME_SECONDS, is_current

VALUE = "A" * 43
OTHER = "b-_" + "0" * 40
LOOPBACK = ("host", "127.0.0.1:8081")


def request(*headers: tuple[str, str], method: str = "POST") -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": method, "path": "/console", "query_string": b"", "headers": raw})


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ([f"{NAME}={VALUE}"], VALUE),
        ([f"theme=dark; {NAME}={VALUE} ; a"], VALUE),
        (["theme=dark", f"{NAME}={VALUE}"], VALUE),
        ([f"{SECURE_NAME}={OTHER}; {NAME}={VALUE}"], OTHER),
        ([f"{NAME}={VALUE}; {NAME}={OTHER}"], None),
        ([f"{NAME}={VALUE}", f"{NAME}={VALUE}"], None),
        ([f"{NAME}={VALUE}x"], None),
        ([f"{NAME}={VALUE[:-1]}"], None),
        ([f'{NAME}="{VALUE[:-2]}"'], None),
        ([f"{NAME.upper()}={VALUE}"], None),
        ([f"{NAME}={VALUE}=".replace("A=", "=")], None),
        ([f"x{NAME}={VALUE}"], None),
        ([NAME], None),
        ([""], None),
        ([], None),
    ],
)
def test_a_cookie_is_read_if_there_is_exactly_one_that_can_be_a_session(cookies: list[str], value: str | None) -> None:
    assert read_cookie(request(LOOPBACK, *(("cookie", text) for text in cookies))) == value


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
def test_any_cookies_are_read_or_are_none(cookies: list[str]) -> None:
    assert read_cookie(request(LOOPBACK, *(("cookie", text) for text in cookies))) is None


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ([LOOPBACK], True),
        ([LOOPBACK, ("sec-fetch-site", "same-origin")], True),
        ([("host", "10.0.0.5:8081")], True),
        ([("host", "tts.localhost:8081"), ("sec-fetch-site", "same-origin")], True),
        ([("host", "localhost.evil.test"), ("sec-fetch-site", "same-origin")], False),
        ([("host", "tts.test"), ("sec-fetch-site", "same-origin")], False),
        ([("host", "tts.test"), ("x-forwarded-proto", "https")], False),
        ([LOOPBACK, ("x-forwarded-proto", "http, HTTPS")], False),
        ([LOOPBACK, ("forwarded", "for=192.0.2.1;proto=https")], False),
        ([("host", "[bad"), ("sec-fetch-site", "same-origin")], False),
    ],
)
def test_a_cookie_that_any_host_can_set_is_ignored_where_something_says_https(
    headers: list[tuple[str, str]], read: bool
) -> None:
    assert (read_cookie(request(*headers, ("cookie", f"{NAME}={VALUE}"))) == VALUE) == read
    assert read_cookie(request(*headers, ("cookie", f"{SECURE_NAME}={VALUE}"))) == VALUE


def test_a_deleted_cookie_is_deleted_by_both_names_and_the_same_attributes() -> None:
    for set_it, delete_it in zip(
        (session_cookie(VALUE, "/tts", secure=secure) for secure in (True, False)), expired_cookies("/tts"), strict=True
    ):
        assert delete_it.replace("=x;", f"={VALUE};") == f"{set_it}; Max-Age=0"
    assert "Path=/tts/console;" in session_cookie(VALUE, "/tts", secure=False)


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ([LOOPBACK], True),
        ([LOOPBACK, ("origin", "http://127.0.0.1:8081")], True),
        ([("host", "Tts.test"), ("origin", "https://tts.test")], True),
        ([LOOPBACK, ("origin", "https://tts.test"), ("sec-fetch-site", "same-origin")], True),
        ([LOOPBACK, ("origin", "http://127.0.0.1:8082")], False),
        ([LOOPBACK, ("origin", "http://localhost:8081")], False),
        ([LOOPBACK, ("origin", "https://evil.test")], False),
        ([LOOPBACK, ("origin", "null")], False),
        ([LOOPBACK, ("origin", "")], False),
        ([LOOPBACK, ("origin", "file://127.0.0.1:8081")], False),
        ([LOOPBACK, ("origin", "http://127.0.0.1:8081"), ("origin", "http://127.0.0.1:8081")], False),
        ([("origin", "http://127.0.0.1:8081")], False),
        ([LOOPBACK, ("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "cross-site")], False),
        ([LOOPBACK, ("sec-fetch-site", "same-site")], False),
        ([LOOPBACK, ("sec-fetch-site", "none")], False),
        ([LOOPBACK, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], False),
    ],
)
def test_a_form_is_accepted_if_nothing_says_that_it_is_from_elsewhere(
    headers: list[tuple[str, str]], accepted: bool
) -> None:
    if accepted:
        require_same_origin(request(*headers))
        return
    with pytest.raises(ProblemError) as refusal:
        require_same_origin(request(*headers))
    assert (refusal.value.status, refusal.value.reason) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("origin", "secure"),
    [("https://tts.test", True), ("HTTPS://TTS.test:8443", True), ("http://127.0.0.1:8081", False)],
)
def test_a_login_is_by_https_if_the_browser_says_so(origin: str, secure: bool) -> None:
    assert is_secure(request(LOOPBACK, ("origin", origin))) == secure


@pytest.mark.parametrize("headers", [[], [("origin", "null")], [("origin", "https://a.test"), ("origin", "x")]])
def test_a_login_without_an_origin_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ProblemError):
        is_secure(request(LOOPBACK, *headers))


@pytest.mark.parametrize(
    ("seen", "expires", "current"),
    [
        (0, LIFETIME_SECONDS, True),
        (-IDLE_SECONDS + 1, 60, True),
        (-IDLE_SECONDS, 60, False),
        (0, 0, False),
        (0, -60, False),
        (600, LIFETIME_SECONDS + 600, True),
        (90_000, LIFETIME_SECONDS + 90_000, False),
        (90_000, 60, False),
        (0, LIFETIME_SECONDS + 90_000, False),
    ],
)
def test_a_session_is_valid_while_it_is_used_and_not_by_a_clock_that_was_far_ahead(
    seen: float, expires: float, current: bool
) -> None:
    now = 1_800_000_000.0
    row = SessionRow(
        id="ab",
        actor="anna",
        kind="user",
        credential="mac",
        created_at=now,
        seen_at=now + seen,
        expires_at=now + expires,
    )
    assert is_current(row, now) == current
