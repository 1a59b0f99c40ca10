"""The cookie of a session: its name and attributes, and how it is read.

By https its name begins with `__Host-`: then no other host, and no page by http, can set it. By http browsers do not
accept such a name.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from receiver.web.console.paths import PATH
from receiver.web.console.same_origin import may_be_secure

NAME = "tts_receiver_console"
SECURE_NAME = f"__Host-{NAME}"
_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")
"""256 bits in base64url."""
_NO_VALUE = "x"
"""Is never a session's: an empty value would be one without a value."""


def read_cookie(request: Request) -> str | None:
    """The value of the session's cookie; None without exactly one that can be a session's."""
    found = {
        name: value
        for name in (SECURE_NAME, NAME)
        if (value := _read(request.headers.getlist("cookie"), name)) is not None
    }
    if SECURE_NAME in found:
        return found[SECURE_NAME]
    return None if may_be_secure(request) else found.get(NAME)


def _read(headers: list[str], name: str) -> str | None:
    pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
    values = [value for key, _, value in pairs if key == name]
    return values[0] if len(values) == 1 and _VALUE.fullmatch(values[0]) else None


def session_cookie(value: str, root_path: str, *, secure: bool) -> str:
    """The header that sets the cookie until the browser is closed."""
    if secure:
        return f"{SECURE_NAME}={value}; Path=/; Secure; HttpOnly; SameSite=Strict"
    return f"{NAME}={value}; Path={root_path}{PATH}; HttpOnly; SameSite=Strict"


def expired_cookies(root_path: str) -> list[str]:
    """The headers that delete it, by either name."""
    return [f"{session_cookie(_NO_VALUE, root_path, secure=secure)}; Max-Age=0" for secure in (True, False)]
