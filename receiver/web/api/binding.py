"""Operations as Starlette routes: requests are validated, and responses are those that the operation declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from typing import Any, get_origin

import structlog
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.engine.audit import Auditor
from receiver.errors import InvalidJson, ListingTimeout, StoreUnavailable
from receiver.model.audit import LOCAL, Via
from receiver.model.json_body import read_strict_json_object
from receiver.model.redact import truncate
from receiver.settings.api import TokenRole
from receiver.web.api.clients import ClientDisconnected, cancel_on_disconnect
from receiver.web.api.context import ApiContext
from receiver.web.api.operations import ApiResponse, Operation
from receiver.web.api.problems import (
    NO_STORE,
    STORE_UNAVAILABLE,
    InvalidField,
    ProblemError,
    problem,
    unavailable,
)
from receiver.web.body import BodyRefused, read_body

log = structlog.get_logger("receiver.api")

MAX_QUERY_PARAMETERS = 64
"""More are refused before they are parsed; no operation has half as many."""
MAX_ERRORS = 20
"""How many of a request's errors a response lists."""


def routes(table: Sequence[Operation], context: ApiContext) -> list[Route]:
    """One route for each path, with all its methods, so that a 405 names them."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in table:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _Resource(methods, context)) for path, methods in by_path.items()]


class _Resource:
    """The endpoint of one path."""

    def __init__(self, operations: dict[str, Operation], context: ApiContext) -> None:
        self._operations = dict(operations)
        if "GET" in operations:
            self._operations.setdefault("HEAD", operations["GET"])
        self._bound = {method: bind_operation(operation, context) for method, operation in operations.items()}
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["method"])
        if operation is None:
            allowed = ", ".join(sorted(self._operations))
            answer: ASGIApp = problem(
                405, f"This path supports {allowed}.", reason="method_not_allowed", headers={"Allow": allowed}
            )
        else:
            answer = await self._bound[operation.method](scope, receive)
        await answer(scope, receive, send)


class BoundOperation:
    """An operation as a function of one request: the request is validated, and its result returned.

    Args:
        via: the way by which its requests come, for the audit log.
    """

    def __init__(self, operation: Operation, context: ApiContext, via: Via = Via.API) -> None:
        self.operation = operation
        self._context = context
        self._via = via
        self._inputs = operation.inputs

    async def __call__(self, scope: Scope, receive: Receive) -> ApiResponse | ASGIApp:
        """Answer one request; its scope has `token` and `role`, as the `Authenticator` sets them.

        Raises:
            ProblemError: the request is refused.
            BodyRefused: its body was not read.
            ClientDisconnected: the client disconnected first.
            ListingTimeout: the read took too long.
            StoreUnavailable: the store is unavailable.
        """
        operation, context = self.operation, self._context
        if not context.running():
            raise unavailable("The receiver is starting or stopping.", reason="stopping")
        if operation.changes:
            _require_operator(operation, scope)
        given: dict[str, Any] = {"context": context, "scope": scope}
        if operation.changes:
            given["audit"] = self._auditor(scope)
        for name, model in self._inputs.items():
            given[name] = await _READERS[name](model, scope, receive, context)
        wanted = operation.run.__annotations__
        work = operation.run(**{name: value for name, value in given.items() if name in wanted})
        result = await (work if operation.changes else cancel_on_disconnect(receive, work))
        if isinstance(result, ApiResponse):
            self._require_declared(result)
            if operation.changes:
                log.info("api.changed", operation=operation.name, status=result.status, token=scope.get("token"))
        return result

    def _auditor(self, scope: Scope) -> Auditor:
        """Of the holder of the request's token."""
        context = self._context
        actor = scope.get("token") or LOCAL
        return Auditor(self.operation.audit_operation, actor, self._via, context.redact, context.clock, context.rng)

    def _require_declared(self, reply: ApiResponse) -> None:
        model = self.operation.responses[reply.status].model
        if type(reply.body) is not model:
            name = self.operation.name
            raise TypeError(
                f"{name} returned {type(reply.body).__name__}, which it does not declare for {reply.status}."
            )


def bind_operation(operation: Operation, context: ApiContext) -> Callable[[Scope, Receive], Any]:
    """The operation as a function of one request that returns the response, and never raises."""
    bound = BoundOperation(operation, context)
    problems = operation.problems(tokens=context.settings.has_credentials)

    async def answer(scope: Scope, receive: Receive) -> ASGIApp:
        try:
            result = await bound(scope, receive)
            return _to_response(result) if isinstance(result, ApiResponse) else result
        except ProblemError as refusal:
            if refusal.status in problems:
                return refusal.response(context.redact)
            log.exception("api.broken", operation=operation.name, detail=f"{refusal.status} is not declared")
        except BodyRefused as refusal:
            return _body_refused(refusal)
        except ClientDisconnected:
            return _no_response
        except ListingTimeout as error:
            log.warning("api.listing_timeout", operation=operation.name, reason=error.reason)
            return unavailable(str(error), reason=error.reason).response()
        except StoreUnavailable as error:
            log.error("api.store_unavailable", operation=operation.name, detail=str(error))
            return unavailable(STORE_UNAVAILABLE, reason=error.reason).response()
        except Exception:
            log.exception("api.broken", operation=operation.name)
        return problem(500, "Internal error; see the receiver's log.", reason="error")

    return answer


def _to_response(reply: ApiResponse) -> Response:
    return Response(reply.text, reply.status, {**NO_STORE, **reply.headers}, media_type="application/json")


def _require_operator(operation: Operation, scope: Scope) -> None:
    """Refuse a change by anybody else; before the body is read.

    Raises:
        ProblemError: 403.
    """
    if scope.get("role") is not TokenRole.OPERATOR:
        reason = "read_only_token"
        log.warning("api.refused", outcome=reason, operation=operation.name, token=scope.get("token"))
        raise ProblemError(
            403,
            'This token or user may only read: its role is "viewer". '
            'Changes need a token with role = "operator", or such a user.',
            reason=reason,
        )


# the parts of a request


async def _path(model: type[BaseModel], scope: Scope, receive: Receive, context: ApiContext) -> BaseModel:
    try:
        return model.model_validate(scope["path_params"])
    except ValidationError as error:
        raise ProblemError(
            404, "Nothing has this id.", reason="not_found", errors=_field_errors("path", error)
        ) from None


async def _query(model: type[BaseModel], scope: Scope, receive: Receive, context: ApiContext) -> BaseModel:
    if scope["query_string"].count(b"&") >= MAX_QUERY_PARAMETERS:
        raise _invalid([InvalidField("query", f"has more than {MAX_QUERY_PARAMETERS} parameters")])
    values: dict[str, Any] = {}
    repeatable = _repeatable(model)
    for name, value in Request(scope).query_params.multi_items():
        if name in values and name not in repeatable:
            raise _invalid([InvalidField(_field_path("query", name), "is given more than once")])
        if "\0" in value:  # nothing that is stored has one, and a database may refuse to look for it
            raise _invalid([InvalidField(_field_path("query", name), "contains a NUL character")])
        values[name] = (*values.get(name, ()), value) if name in repeatable else value
    return _validated(model, values, "query")


@cache
def _repeatable(model: type[BaseModel]) -> frozenset[str]:
    """The parameters that may be given more than once."""
    return frozenset(name for name, of in model.model_fields.items() if get_origin(of.annotation) is tuple)


async def _headers(model: type[BaseModel], scope: Scope, receive: Receive, context: ApiContext) -> BaseModel:
    wanted = {(of.alias or name).lower(): of.alias or name for name, of in model.model_fields.items()}
    values: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = wanted.get(raw.decode("latin-1"))
        if name is not None:
            if name in values:
                raise _invalid([InvalidField(f"headers.{name}", "is given more than once")])
            values[name] = value.decode("latin-1")
    return _validated(model, values, "headers")


async def _body(model: type[BaseModel], scope: Scope, receive: Receive, context: ApiContext) -> BaseModel:
    """The body as JSON, whatever its content type: curl -d declares a form."""
    raw = await read_body(scope, receive, context.body_limits)
    if not raw.strip() and not any(of.is_required() for of in model.model_fields.values()):
        return _validated(model, {}, "body")
    try:
        values = read_strict_json_object(raw)
    except InvalidJson as error:
        raise ProblemError(
            400, str(error), reason=error.reason, errors=[InvalidField("body", "is not a JSON object")]
        ) from None
    return _validated(model, values, "body")


_READERS = {"path": _path, "query": _query, "headers": _headers, "body": _body}


def _validated(model: type[BaseModel], values: dict[str, Any], where: str) -> BaseModel:
    """The values as the model. Unknown names are removed first: pydantic would report every one."""
    names = {of.alias or name for name, of in model.model_fields.items()}
    known = {name: value for name, value in values.items() if name in names}
    unknown = islice((name for name in values if name not in names), MAX_ERRORS)
    errors = [InvalidField(_field_path(where, name), "is not known") for name in unknown]
    try:
        given = model.model_validate(known)
    except ValidationError as error:
        raise _invalid([*_field_errors(where, error), *errors][:MAX_ERRORS]) from None
    if errors:
        raise _invalid(errors)
    return given


def _invalid(errors: Sequence[InvalidField]) -> ProblemError:
    return ProblemError(400, "The request is invalid; /docs describes it.", reason="invalid_request", errors=errors)


def _field_errors(where: str, error: ValidationError) -> list[InvalidField]:
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]:
        what = str(item["msg"]).removeprefix("Value error, ")
        found.append(InvalidField(_field_path(where, *item["loc"]), what[:1].lower() + what[1:]))
    return found


def _field_path(where: str, *parts: object) -> str:
    """The path of a value in a request: `body.handlers.0`. A name from the request is shortened."""
    return ".".join([where, *(truncate(str(part), 100) for part in parts)])


def _body_refused(refusal: BodyRefused) -> ASGIApp:
    if refusal.status is None:
        return _no_response
    words = {
        408: "The body was not complete in time.",
        413: "The body is longer than server.max_body_bytes.",
        503: "Too many unfinished bodies at once; try again.",
    }
    return problem(refusal.status, words[refusal.status], reason=refusal.outcome, headers={"Connection": "close"})


async def _no_response(scope: Scope, receive: Receive, send: Send) -> None:
    """The client has disconnected: there is nobody to respond to."""
