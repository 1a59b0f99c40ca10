"""The declaration of an operation of the API, from which its route, its validation and its documentation are made.

An operation is an async function with a description. Its parameters `path`, `query`, `headers` and `body` are pydantic
models of the request's parts; `context` and `scope` are passed as they are. An operation that changes something must
also take `audit`, an `Auditor`, and record in the transaction of the change what it changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import get_type_hints

from pydantic import BaseModel
from starlette.types import ASGIApp

from receiver.model.audit import AuditOperation

INPUTS = ("path", "query", "headers", "body")
SAFE = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A successful response in JSON.

    Attributes:
        text: the body as it is sent. It is serialized at construction, which for large bodies happens in a thread that
            reads lists, so that the loop is not blocked.
    """

    status: int
    body: BaseModel
    headers: Mapping[str, str] = field(default_factory=dict)
    text: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.body.model_dump_json().encode("utf-8"))


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One successful response in the OpenAPI document.

    Attributes:
        model: of the JSON body; None if the response is not JSON.
        media_type: of a body that is not JSON; None if there is none. With a model the response has one of both.
        headers: name to description.
    """

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        responses: by status.
        own_problems: status to description, of this operation alone; `problems` adds those of every operation.
        recorded_as: its name in the audit log, if that is not its own.
    """

    method: str
    path: str
    run: Callable[..., Awaitable[ApiResponse | ASGIApp]]
    summary: str
    tag: str
    responses: Mapping[int, ResponseSpec]
    own_problems: Mapping[int, str] = field(default_factory=dict)
    recorded_as: AuditOperation | None = None

    def __post_init__(self) -> None:
        if self.changes:
            _ = self.audit_operation
            if "audit" not in self.run.__annotations__:
                raise TypeError(f"{self.name} changes something, and does not take `audit` to record it.")

    @property
    def name(self) -> str:
        """The OpenAPI `operationId`: the function's name."""
        return self.run.__name__

    @property
    def audit_operation(self) -> AuditOperation:
        """Its name in the audit log."""
        return self.recorded_as or AuditOperation(self.name)

    @property
    def changes(self) -> bool:
        """Whether it changes something: then it is for operators alone, and recorded in the audit log."""
        return self.method not in SAFE

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.cleandoc(self.run.__doc__ or "")

    @property
    def inputs(self) -> dict[str, type[BaseModel]]:
        """Which of `INPUTS` it takes, with their models."""
        hints = get_type_hints(self.run)
        return {name: hints[name] for name in INPUTS if name in hints}

    @property
    def body_required(self) -> bool:
        """Whether an empty body is refused."""
        body = self.inputs.get("body")
        return body is not None and any(of.is_required() for of in body.model_fields.values())

    def problems(self, *, tokens: bool) -> dict[int, str]:
        """Every status of a problem that it may respond with, and its description.

        Args:
            tokens: whether the listener requires tokens.
        """
        found = {
            503: "The store is unavailable, or the receiver is starting or stopping. Try again.",
            **self.own_problems,
        }
        found[500] = "Internal error; see the receiver's log."
        inputs = self.inputs
        if tokens:
            found[401] = "There is no token, or it is not one of the configured ones."
            if self.changes:
                found[403] = "The token's role is `viewer`: it changes nothing."
        else:
            found[403] = (
                "The request was forwarded by a proxy, comes from a page of another origin, or names another host."
            )
        if "path" in inputs:
            found.setdefault(404, "Nothing has this id.")
        if inputs.keys() - {"path"}:
            found.setdefault(400, "The request is invalid; `errors` says where.")
        if "body" in inputs:
            found[408] = "The body was not complete in time."
            found[413] = "The body is too long."
        return dict(sorted(found.items()))
