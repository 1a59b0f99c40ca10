"""Who uses the console: who has logged in; without tokens and users, everyone on this machine, as the API has it."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request

from receiver.model.audit import LOCAL
from receiver.settings.api import TokenRole
from receiver.web.api.authentication import require_direct, require_local
from receiver.web.api.context import ApiContext
from receiver.web.api.problems import ProblemError, unavailable
from receiver.web.console.cookies import read_cookie
from receiver.web.console.credentials import Credentials
from receiver.web.console.login_limits import LoginLimits
from receiver.web.console.same_origin import NOT_OURS, require_same_origin
from receiver.web.console.sessions import Session, Sessions

CSRF_FIELD = "csrf"
"""The hidden field of every form."""
NO_SESSION = "no_session"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who sent a request.

    Attributes:
        name: the actor of the audit log.
        csrf: what the forms of this viewer must send back.
        session: None if the console needs no login.
    """

    name: str
    role: TokenRole
    csrf: str = field(repr=False)
    session: Session | None = None

    @property
    def may_change(self) -> bool:
        """Whether it may do more than read."""
        return self.role is TokenRole.OPERATOR

    def require_csrf(self, form: Mapping[str, Sequence[str]]) -> None:
        """Refuse a form that no page of this viewer contained.

        Raises:
            ProblemError: 403.
        """
        given = form.get(CSRF_FIELD, ())
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self.csrf.encode()):
            raise ProblemError(403, NOT_OURS, reason="csrf")


class Access:
    """Recognizes the senders of requests.

    Attributes:
        required: whether a login is; without tokens and users the console is open to this machine.
    """

    def __init__(self, context: ApiContext) -> None:
        self.required = context.settings.has_credentials
        self.credentials = Credentials(context.settings)
        self.sessions = Sessions(context, self.credentials)
        self.limits = LoginLimits(context.clock)
        self._running = context.running
        self._local = Viewer(LOCAL, TokenRole.OPERATOR, secrets.token_hex(32))

    async def viewer(self, request: Request) -> Viewer:
        """Who sent the request.

        Raises:
            ProblemError: 401 or 403; the page shows its text.
            ListingTimeout, StoreUnavailable: the store cannot be read.
        """
        if not self.required:
            require_direct(request.scope)
            require_local(request.scope)
            return self._local
        if request.method not in ("GET", "HEAD"):
            require_same_origin(request)
        session = await self.find_session(request)
        if session is None:
            raise ProblemError(401, "Log in to see this page.", reason="no_session")
        if opens_page(request):
            await self.sessions.touch(session)
        return Viewer(session.credential.actor, session.credential.role, session.csrf, session)

    async def find_session(self, request: Request) -> Session | None:
        """The session of the request's cookie, if it is valid.

        Raises:
            ProblemError: 503, the receiver is starting or stopping.
            ListingTimeout, StoreUnavailable: the store cannot be read.
        """
        value = read_cookie(request)
        if value is None:
            return None
        if not self._running():
            raise unavailable("The receiver is starting or stopping.", reason="stopping")
        return await self.sessions.find(value)


def opens_page(request: Request) -> bool:
    """Whether somebody did something, as opposed to a page that updates itself."""
    return request.headers.get("sec-fetch-mode", "navigate") == "navigate"
