"""Logging in and out. The pages work without the script, and are open to everyone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from receiver.web.api.problems import ProblemError
from receiver.web.console.access import Viewer
from receiver.web.console.cookies import expired_cookies, session_cookie
from receiver.web.console.credentials import Credential
from receiver.web.console.pages import Console, Form, Page, PageRoute, base_of, page_values
from receiver.web.console.paths import LOGIN, LOGOUT, PATH
from receiver.web.console.rendering import HEADERS
from receiver.web.console.same_origin import is_secure, require_same_origin

log = structlog.get_logger("receiver.console")

_NEXT = re.compile(r"/[!#-\[\]-~]{0,2000}")
"""A path of the console, with its query: printable ASCII without quotation marks and backslashes."""
_UPWARDS = re.compile(r"/(\.|%2e){1,2}(?=/|$)", re.IGNORECASE)
"""A segment that a browser resolves, and so leaves the console."""
_WRONG = {
    "password": "The name or the password is wrong.",
    "token": "This is not one of the tokens of the API.",
}
LOGGED_IN = "logged_in"


def login_routes(console: Console) -> list[BaseRoute]:
    """The routes of the login and the logout."""
    return [
        Route(PATH + LOGIN, LoginRoute(console)),
        Route(PATH + LOGOUT, PageRoute(console, POST=log_out)),
    ]


class LoginRoute(PageRoute):
    """The endpoint of the login: as that of a page, for every client."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._methods: dict[str, Callable[[Request], Awaitable[ASGIApp]]] = {
            "GET": self._show,
            "HEAD": self._show,
            "POST": self._log_in,
        }

    async def handle(self, request: Request) -> ASGIApp:
        """Answer one request; see `PageRoute.handle`."""
        if not self._console.access.required:
            await self._console.access.viewer(request)
            return RedirectResponse(base_of(request), 303, HEADERS)
        method = self._methods.get(request.method)
        if method is None:
            raise ProblemError(
                405,
                "This page supports GET, HEAD, POST.",
                reason="method_not_allowed",
                headers={"Allow": "GET, HEAD, POST"},
            )
        return await method(request)

    async def _show(self, request: Request) -> Response:
        """The form, or the page that was wanted, if the browser has a session after all.

        A browser that follows a link from elsewhere sends no cookie with its first request. It asks again by itself,
        and that is a request of this page.
        """
        wanted = _next_of(request.query_params.get("next"))
        if await self._console.access.find_session(request) is not None:
            return RedirectResponse(base_of(request) + wanted, 303, HEADERS)
        is_from_elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
        return await self._form_page(request, wanted, again=is_from_elsewhere)

    async def _log_in(self, request: Request) -> Response:
        count = self._console.context.logins
        try:
            response, outcome = await self._attempt(request)
        except ProblemError as refusal:
            count(refusal.reason)
            self._log_refusal(request, refusal.reason, None)
            if refusal.status != 429:
                raise
            found = await self._form_page(request, "", error=str(refusal), status=refusal.status)
            found.headers.update(refusal.headers)
            return found
        count(outcome)
        return response

    async def _attempt(self, request: Request) -> tuple[Response, str]:
        """The response to a form, and how the login ended.

        Raises:
            ProblemError: the form is not one of this page, or there were too many failed attempts.
        """
        console, access = self._console, self._console.access
        require_same_origin(request)
        secure = is_secure(request)
        form = await self.read_form(request)
        name = _field(form, "name") if "name" in form else None
        wanted = _next_of(_field(form, "next"))
        client = console.context.client(request.scope)
        attempt = access.limits.attempt(client, name)
        try:
            credential = await self._credential(form, name)
        except ProblemError:
            attempt.refund()  # nothing was compared
            raise
        if credential is None:
            kind = "token" if name is None else "password"
            known = name if name is not None and name in console.context.settings.console.users else None
            self._log_refusal(request, f"wrong_{kind}", known)
            return await self._form_page(request, wanted, error=_WRONG[kind], status=401), f"wrong_{kind}"
        attempt.refund()
        value = await access.sessions.begin(credential, client, await access.find_session(request))
        log.info("console.logged_in", user=credential.actor, credential=str(credential.kind), client=client)
        response = RedirectResponse(base_of(request) + wanted, 303, HEADERS)
        root_path = request.scope.get("root_path", "")
        response.headers.append("Set-Cookie", session_cookie(value, root_path, secure=secure))
        return response, LOGGED_IN

    async def _credential(self, form: Form, name: str | None) -> Credential | None:
        known = self._console.access.credentials
        if name is None:
            return known.of_token(_field(form, "token"))
        return await known.of_password(name, _field(form, "password"))

    async def _form_page(
        self, request: Request, wanted: str, *, error: str | None = None, status: int = 200, again: bool = False
    ) -> Response:
        access = self._console.access
        values = {
            "next": wanted,
            "error": error,
            "again": again,
            "has_users": access.credentials.has_users,
            "has_tokens": bool(self._console.context.settings.api.tokens),
        }
        return await self._console.renderer.page(
            "login.html", {**page_values(self._console, request, None), **values}, status
        )

    def _log_refusal(self, request: Request, outcome: str, user: str | None) -> None:
        """Names a user only if there is one: what was typed into the field may be a password."""
        client = self._console.context.client(request.scope)
        log.warning("console.login_refused", outcome=outcome, user=user, client=client)


async def log_out(page: Page) -> Response:
    """End the session, and let the browser forget it, and the pages that it may have kept."""
    viewer: Viewer = page.viewer
    if viewer.session is not None:
        client = page.console.context.client(page.request.scope)
        await page.console.access.sessions.end(viewer.session, client)
        log.info("console.logged_out", user=viewer.name, client=client)
    response = page.redirect(LOGIN if viewer.session is not None else "")
    for header in expired_cookies(page.request.scope.get("root_path", "")):
        response.headers.append("Set-Cookie", header)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def _field(form: Form, name: str) -> str:
    """The only value of a field; empty if there is none, or several."""
    values = form.get(name, ())
    return values[0] if len(values) == 1 else ""


def _next_of(text: str | None) -> str:
    """A path of the console, to follow its own address; empty for its first page."""
    if text is None or not _NEXT.fullmatch(text):
        return ""
    path = text.partition("?")[0].partition("#")[0]
    return "" if _UPWARDS.search(path) else text
