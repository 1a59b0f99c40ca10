"""What an operation of the API is: the one declaration that its route, its checks and its documentation are made of.

An operation is an async function and a few words. What it takes stands in its signature: the parameters `path`,
`query`, `headers` and `body` are pydantic models, and whatever has another name is handed in as it is (`context`,
`scope`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import get_type_hints

from pydantic import BaseModel
from starlette.types import ASGIApp

INPUTS = ("path", "query", "headers", "body")


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer in JSON.

    Attributes:
        text: the body as it is sent. It is written out where the reply is made: for what may be large that is a list's
            thread, as it would hold up the loop.
    """

    status: int
    body: BaseModel
    headers: Mapping[str, str] = field(default_factory=dict)
    text: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.body.model_dump_json().encode("utf-8"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to succeed: what the document says of it.

    Attributes:
        model: of the JSON body; None where the answer is none.
        media_type: where there is no model; None for an answer without a body.
        headers: name to what it says.
    """

    what: str
    model: type[BaseModel] | None = None
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        answers: status to what it means.
        refusals: statuses of problems that are this operation's own; `statuses` adds those that every one has.
    """

    method: str
    path: str
    run: Callable[..., Awaitable[Reply | ASGIApp]]
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for programs: the function's."""
        return self.run.__name__

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
        """Whether an empty body will not do."""
        body = self.inputs.get("body")
        return body is not None and any(of.is_required() for of in body.model_fields.values())

    def problems(self, *, tokens: bool) -> dict[int, str]:
        """Every status of a problem that it may be answered with, and when.

        Args:
            tokens: whether the listener wants tokens.
        """
        found = {503: "The store does not answer, or the receiver stops; nothing was done.", **self.refusals}
        found[500] = "A fault of the receiver's own; its log says which."
        inputs = self.inputs
        if tokens:
            found[401] = "There is no token, or it is none of ours."
        else:
            found[403] = "A page of another origin, or a foreign name of this machine, is behind the request."
        if "path" in inputs:
            found.setdefault(404, "There is nothing of this id.")
        if inputs.keys() - {"path"}:
            found.setdefault(400, "The request is not as described here; `errors` says where.")
        if "body" in inputs:
            found[408] = "The body took too long."
            found[413] = "The body is too long."
        return dict(sorted(found.items()))
