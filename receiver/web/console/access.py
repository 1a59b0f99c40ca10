"""Who uses the console. Without tokens, whoever uses this machine, under the conditions of the API."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.routing import BaseRoute

from receiver.model.audit import LOCAL
from receiver.settings.api import TokenRole
from receiver.web.api.authentication import require_direct, require_local
from receiver.web.api.context import ApiContext
from receiver.web.api.problems import ProblemError

CSRF_FIELD = "csrf"
"""The hidden field of every form."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who sent a request.

    Attributes:
        name: the actor of the audit log.
        csrf: what the forms of this viewer must send back.
    """

    name: str
    role: TokenRole
    csrf: str

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
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.csrf.encode()):
            raise ProblemError(
                403, "The form is not one of this console, or it is too old: load it again.", reason="csrf"
            )


class Access:
    """Recognizes the senders of requests.

    Attributes:
        routes: pages of its own, such as a login, which are open to everyone.
    """

    def __init__(self, context: ApiContext) -> None:
        self._required = context.settings.has_credentials
        self._key = secrets.token_bytes(32)
        self.routes: Sequence[BaseRoute] = ()

    async def viewer(self, request: Request) -> Viewer:
        """Who sent the request.

        Raises:
            ProblemError: 401 or 403; the page shows its text.
        """
        if self._required:
            raise ProblemError(
                401, "The console has no login yet. Use the API at /docs with one of [api] tokens.", reason="no_session"
            )
        require_direct(request.scope)
        require_local(request.scope)
        return Viewer(LOCAL, TokenRole.OPERATOR, self._csrf_of(LOCAL))

    def _csrf_of(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
