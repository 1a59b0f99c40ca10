"""Tasks of any kind: a path and a JSON body for a service's API, in the service's own words.

The path is checked here, because the request carries the account's API key: it leads to the service's own address and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from receiver.providers.api_path import MAX_PATH, check_api_path
from receiver.providers.requests import post_document
from receiver.providers.types import Account, Invalid, Request, Response, Submitted

__all__ = ["MAX_BODY_BYTES", "MAX_PATH", "JsonTasks", "Task", "task_request"]

MAX_BODY_BYTES = 256 * 1024
"""The largest body of a task, as UTF-8 JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task for a service.

    Attributes:
        path: below the account's base URL, with a slash at its beginning; it may have a query.
        body: the JSON object that is sent, unchanged.
        metadata: JSON values that are returned with the event; not sent.
    """

    path: str
    body: Mapping[str, Any]
    metadata: Mapping[str, Any] | None = None


def task_request(account: Account, task: Task, headers: Mapping[str, str]) -> Request:
    """Return the `POST` of a task's body to its path.

    Args:
        headers: the credentials, and an idempotency key where the service takes one.

    Raises:
        Invalid: the path could lead elsewhere, or the body is too large or cannot be written as JSON.
    """
    try:
        check_api_path(task.path)
    except ValueError as error:
        raise Invalid(f"The path of a task {error}.") from None
    request = post_document(account, task.path, headers, task.body)
    if len(request.body or b"") > MAX_BODY_BYTES:
        raise Invalid(
            f"The body of the task has {len(request.body or b''):,} bytes; at most {MAX_BODY_BYTES:,} are sent."
        )
    return request


class _AnswersSubmits(Protocol):
    """What `JsonTasks` needs of the provider that it is a base of."""

    def credentials(self, account: Account) -> dict[str, str]:
        """Return the headers that carry the account's key."""

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read the response to a submit."""


class JsonTasks:
    """Base class of providers that take tasks as JSON, and answer them as they answer speech."""

    def task_request(self: _AnswersSubmits, account: Account, task: Task, idempotency_key: str) -> Request:
        """`POST` of the body to the path. There is no idempotency key."""
        return task_request(account, task, self.credentials(account))

    def read_task(self: _AnswersSubmits, account: Account, response: Response) -> Submitted:
        """Read the response, as that to a speech job."""
        return self.read_submit(account, response)

    def is_idempotent_task(self, task: Task) -> bool:
        """Return whether a task can be repeated without being charged twice: no."""
        return False
