"""A request for a page: who sent it, what it asks for, and how it is answered, errors included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.model.redact import truncate
from receiver.web.api.clients import ClientDisconnected, cancel_on_disconnect
from receiver.web.api.context import ApiContext
from receiver.web.api.operations import ApiResponse
from receiver.web.api.problems import STORE_UNAVAILABLE, InvalidField, ProblemError, unavailable
from receiver.web.body import BodyLimits, BodyRefused, read_body
from receiver.web.console.access import NO_SESSION, Access, Viewer, opens_page
from receiver.web.console.assets import Assets
from receiver.web.console.operations import NONE, Operations, Parameters, Query, Run
from receiver.web.console.paths import LOGIN, PATH
from receiver.web.console.rendering import HEADERS, Renderer

log = structlog.get_logger("receiver.api")

MAX_FORM_BYTES = 65_536
MAX_FORM_FIELDS = 100
THEMES = ("light", "dark")
LOGGED_ELSEWHERE = (NO_SESSION, "read_only_token")
"""Refusals that need no line of the log, or have one."""
Form = Mapping[str, Sequence[str]]


class KeptVoices(NamedTuple):
    """The voices of a source, and when they were requested, unix seconds."""

    at: float
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Console:
    """The parts that pages use.

    Attributes:
        pages: the paths of those in the navigation.
        voices: of each source whose list was requested.
    """

    context: ApiContext
    access: Access
    assets: Assets
    renderer: Renderer
    operations: Operations
    pages: frozenset[str]
    voices: dict[str, KeptVoices] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One request for a page, by a viewer who may see it.

    Attributes:
        base: the address of the console, without a slash at the end.
        form: what a form sent, by field; empty if the request is no form.
    """

    console: Console
    request: Request
    viewer: Viewer
    form: Form = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The console's path, behind a proxy's prefix."""
        return base_of(self.request)

    @property
    def query(self) -> Query:
        """The request's query, in its order."""
        return self.request.query_params.multi_items()

    @property
    def parameters(self) -> Parameters:
        """The parts of the path that name what the page is about."""
        return {name: str(value) for name, value in self.request.path_params.items()}

    def query_value(self, name: str) -> str:
        """One value of the query; empty if it is not there."""
        return self.request.query_params.get(name, "")

    async def read(self, run: Run, query: Query = (), path: Parameters = NONE) -> Any:
        """The model that an operation of the API returns to this viewer; see `Operations.call`."""
        return await self.console.operations.read(run, self.viewer, query, path)

    async def change(
        self,
        run: Run,
        body: Mapping[str, Any] | None,
        path: Parameters = NONE,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Any:
        """The model of the response of an operation that changes something; see `Operations.call`."""
        return await self.console.operations.change(run, self.viewer, body, path, headers)

    async def open(
        self,
        run: Run,
        query: Query = (),
        path: Parameters = NONE,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> ASGIApp:
        """The response of an operation that has no model: a file, or a stream; see `Operations.call`."""
        method = self.request.method
        response = await self.console.operations.call(run, self.viewer, query, path, None, headers, method)
        if isinstance(response, ApiResponse):
            raise TypeError("The operation has a model for its response.")
        return response

    async def render(self, template: str, code: int = 200, **values: Any) -> Response:
        """The page, made of a template."""
        return await self.console.renderer.page(
            template, {**page_values(self.console, self.request, self.viewer), **values}, code
        )

    def redirect(self, path: str, query: Query = ()) -> Response:
        """To another page of the console, by GET."""
        return RedirectResponse(f"{self.base}{path}{'?' * bool(query)}{urlencode(query)}", 303, HEADERS)


Handler = Callable[[Page], Awaitable[ASGIApp]]


def base_of(request: Request) -> str:
    """The console's path, behind a proxy's prefix."""
    return f"{request.scope.get('root_path', '')}{PATH}"


def page_values(console: Console, request: Request, viewer: Viewer | None) -> dict[str, Any]:
    """What every template may use."""
    base = base_of(request)
    theme = request.cookies.get("theme", "")
    return {
        "base": base,
        "static": f"{base}/static/{console.assets.digest}",
        "path": request.url.path.removeprefix(request.scope.get("root_path", "")).removeprefix(PATH) or "/",
        "pairs": request.query_params.multi_items(),
        "viewer": viewer,
        "theme": theme if theme in THEMES else "",
        "pages": console.pages,
    }


class PageRoute:
    """The endpoint of a page: finds out who asks, reads the form, and answers errors with a page as well.

    Args:
        handlers: by method.
    """

    def __init__(self, console: Console, **handlers: Handler) -> None:
        self._console = console
        self._handlers = {"HEAD": handlers["GET"], **handlers} if "GET" in handlers else handlers
        self._limits = BodyLimits(console.context.settings.server.body_seconds, MAX_FORM_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp | None:
        try:
            return await self.handle(request)
        except ClientDisconnected:
            return None
        except BodyRefused as refusal:
            if refusal.status is None:
                return None
            error = ProblemError(refusal.status, "The form was not read.", reason=refusal.outcome)
        except ProblemError as refusal:
            if refusal.status in (401, 403) and refusal.reason not in LOGGED_ELSEWHERE:
                log.warning(
                    "api.refused",
                    outcome=refusal.reason,
                    method=request.method,
                    path=truncate(request.url.path, 200),
                    client=self._console.context.client(request.scope),
                )
            error = refusal
        except ListingTimeout as timeout:
            log.warning("api.listing_timeout", operation="console", reason=timeout.reason)
            error = unavailable(str(timeout), reason=timeout.reason)
        except StoreUnavailable as away:
            log.error("api.store_unavailable", operation="console", detail=str(away))
            error = unavailable(STORE_UNAVAILABLE, reason=away.reason)
        except Exception:
            log.exception("api.broken", operation="console")
            error = ProblemError(500, "Internal error; see the receiver's log.", reason="error")
        return await error_page(self._console, request, getattr(request.state, "viewer", None), error)

    async def handle(self, request: Request) -> ASGIApp:
        """The response to a request; the errors that it raises are answered with a page.

        Raises:
            ProblemError: the request is refused.
            BodyRefused: its form was not read.
            ClientDisconnected: the client disconnected first.
            ListingTimeout: a read took too long.
            StoreUnavailable: the store is unavailable.
        """
        viewer = request.state.viewer = await self._console.access.viewer(request)
        handler = self._handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            raise ProblemError(
                405, f"This page supports {allowed}.", reason="method_not_allowed", headers={"Allow": allowed}
            )
        if request.method == "POST":
            form = await self.read_form(request)
            viewer.require_csrf(form)
            return await handler(Page(self._console, request, viewer, form))
        return await cancel_on_disconnect(request.receive, handler(Page(self._console, request, viewer)))

    async def read_form(self, request: Request) -> Form:
        """The fields of a form.

        Raises:
            BodyRefused: it is too long, or too slow.
            ProblemError: it is not a form.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await read_body(request.scope, request.receive, self._limits)
        if kind != "application/x-www-form-urlencoded":
            raise ProblemError(415, "This page accepts its own forms only.", reason="invalid_request")
        try:
            return parse_qs(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
            )
        except ValueError:
            raise ProblemError(400, "The form cannot be read.", reason="invalid_request") from None


async def error_page(console: Console, request: Request, viewer: Viewer | None, error: ProblemError) -> Response:
    """The page that says what went wrong; the login for a page that needs one."""
    if error.reason == NO_SESSION and opens_page(request) and request.method in ("GET", "HEAD"):
        wanted = request.url.path.removeprefix(base_of(request))
        wanted += f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{base_of(request)}{LOGIN}?{urlencode({'next': wanted})}", 303, HEADERS)
    values = {
        "status": error.status,
        "title": HTTPStatus(error.status).phrase,
        "detail": console.context.redact(str(error)),
        "errors": named_fields(error.errors),
    }
    found = await console.renderer.page("error.html", {**page_values(console, request, viewer), **values}, error.status)
    found.headers.update(error.headers)
    return found


def named_fields(errors: Sequence[InvalidField]) -> list[InvalidField]:
    """The errors by the names of the form's fields."""
    return [InvalidField(error.where.partition(".")[2] or error.where, error.what) for error in errors]


def on_http_error(console: Console) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answers errors of the routing with a page."""

    async def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        try:
            viewer = await console.access.viewer(request)
        except ProblemError as refusal:
            return await error_page(console, request, None, refusal)
        problem = ProblemError(status, "There is no such page.", reason="no_such_path")
        return await error_page(console, request, viewer, problem)

    return answer
