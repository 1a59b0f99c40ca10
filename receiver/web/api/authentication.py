"""Who may use the private API: holders of a token; without configured tokens and users, programs on this machine.

A program on this machine can be a browser that sends what a page from anywhere asks for. So without tokens the listener
refuses requests that name another host (DNS rebinding: a name that was made to point to loopback), and requests that a
page of another origin started. The program can also be a proxy that forwards anybody's requests to the loopback
address: so forwarded requests are refused (docs/adr/0032).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import structlog
from cryptography.hazmat.primitives.constant_time import bytes_eq
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.model.redact import truncate
from receiver.settings.api import ApiToken, TokenRole
from receiver.settings.private import is_loopback
from receiver.web.api.problems import ProblemError
from receiver.web.root_path import path_within

log = structlog.get_logger("receiver.api")

OPEN = frozenset({"/livez", "/readyz"})
"""Paths without authentication: orchestrators have no token."""
DESCRIPTION = frozenset({"/docs", "/openapi.json"})
"""Paths without authentication where tokens are configured: a browser sends no token for an address that is typed in.
They describe this release and contain no data of this receiver."""
FORWARDED = frozenset(
    {
        b"forwarded", b"via", b"x-forwarded", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"client-ip",
        b"true-client-ip", b"cf-connecting-ip", b"cf-ray", b"cdn-loop", b"fastly-client-ip", b"x-azure-clientip",
        b"x-envoy-external-address", b"x-original-forwarded-for", b"x-original-host", b"x-proxyuser-ip",
    }
)  # fmt: skip
"""Headers that proxies add and local programs do not send, besides all that begin with `X-Forwarded-`."""
REALM = 'Bearer realm="tts-receiver"'


class KnownTokens:
    """The configured tokens, searched in constant time."""

    def __init__(self, tokens: Sequence[ApiToken]) -> None:
        self._tokens = [(_digest(token.token.get_secret_value().encode()), token) for token in tokens]

    def find(self, token: bytes) -> ApiToken | None:
        """The token with this text."""
        digest = _digest(token)
        found = None
        for known, of in self._tokens:  # all of them, so that the time does not depend on which one matches
            if bytes_eq(digest, known):
                found = of
        return found


class Authenticator:
    """Passes on authenticated requests, and refuses the others before their body is read.

    The scope of a request that is passed on has `token`, the id of its token or None, and `role`, a `TokenRole`.

    Args:
        tokens: those that are accepted.
        client: the sender's address, for the log.
        required: whether a token is needed; otherwise the listener is on loopback only.
    """

    def __init__(
        self, app: ASGIApp, tokens: Sequence[ApiToken], client: Callable[[Scope], str | None], *, required: bool
    ) -> None:
        self._app = app
        self._client = client
        self._tokens = KnownTokens(tokens)
        self._required = required
        self._open = OPEN | DESCRIPTION if required else OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and (path := path_within(scope)) not in self._open:
            try:
                scope["token"], scope["role"] = self._authenticate(scope)
            except ProblemError as refusal:
                log.warning(
                    "api.refused",
                    outcome=refusal.reason,
                    method=scope["method"],
                    path=truncate(path, 200),
                    client=self._client(scope),
                )
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _authenticate(self, scope: Scope) -> tuple[str | None, TokenRole]:
        """The id of the token and its role. If none is required, who uses this machine may do everything.

        Raises:
            ProblemError: 401 or 403.
        """
        if self._required:
            token = self._find_token(scope)
            return token.id, token.role
        require_direct(scope)
        require_local(scope)
        return None, TokenRole.OPERATOR

    def _find_token(self, scope: Scope) -> ApiToken:
        given = _values(scope, b"authorization")
        if not given:
            raise ProblemError(
                401,
                "This listener requires a token of [api] tokens: Authorization: Bearer …",
                reason="no_token",
                headers={"WWW-Authenticate": REALM},
            )
        scheme, _, token = given[0].partition(b" ")
        found = self._tokens.find(token.strip())
        if found is None or scheme.lower() != b"bearer" or len(given) > 1:
            raise ProblemError(
                401,
                "The token is not one of [api] tokens.",
                reason="bad_token",
                headers={"WWW-Authenticate": f'{REALM}, error="invalid_token"'},
            )
        return found


def require_direct(scope: Scope) -> None:
    """Refuse requests that a proxy forwarded: any client may have sent them to the proxy.

    Not every proxy can be distinguished from a program on this machine, see docs/adr/0032.

    Raises:
        ProblemError: 403.
    """
    if scope["http_version"] == "1.0":
        sign = "is HTTP/1.0, which programs do not speak and nginx does"
    else:
        names = (name for name, _ in scope["headers"])
        name = next((name for name in names if name in FORWARDED or name.startswith(b"x-forwarded-")), None)
        if name is None:
            return
        sign = f"has the header {truncate(name.decode('latin-1'), 60)}"
    raise ProblemError(
        403,
        f"A proxy forwarded this request: it {sign}. Without tokens the private listener would be open to "
        "every client of the proxy. Configure [api] tokens and send one, or call the listener directly.",
        reason="proxied",
    )


def require_local(scope: Scope) -> None:
    """Refuse what a page from elsewhere may have made a browser on this machine send.

    Raises:
        ProblemError: 403.
    """
    hosts = _values(scope, b"host")
    if len(hosts) > 1 or (hosts and not is_loopback(_hostname(hosts[0]))):
        raise ProblemError(403, "The Host header does not name this machine's loopback address.", reason="foreign_host")
    origins = _values(scope, b"origin")
    if origins and (len(origins) > 1 or not hosts or origins[0].lower() != b"http://" + hosts[0].lower()):
        raise ProblemError(403, "A page of another origin may not use this listener.", reason="foreign_origin")
    if any(value.lower() in (b"cross-site", b"same-site") for value in _values(scope, b"sec-fetch-site")):
        raise ProblemError(403, "A page of another site may not use this listener.", reason="foreign_origin")


def _hostname(value: bytes) -> str | None:
    """The name or address in a Host header, without its port; None if it cannot be read."""
    try:
        parts = urlsplit("//" + value.decode("ascii"))
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc.encode() == value and "@" not in parts.netloc else None


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
