"""What the forms have in common that are shown again with an error."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from receiver.web.api.problems import ProblemError
from receiver.web.console.access import Viewer
from receiver.web.console.pages import Page

_CORRECTABLE = (
    HTTPStatus.BAD_REQUEST, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)  # fmt: skip
"""After these the form is shown again, so that nothing that was typed is lost."""


def require_operator(viewer: Viewer) -> None:
    """Refuse a form to those whom its operation would refuse, before anything is typed.

    Raises:
        ProblemError: 403.
    """
    if not viewer.may_change:
        raise ProblemError(403, 'You may only read: your role is "viewer".', reason="read_only_token")


def correctable(error: ProblemError) -> ProblemError:
    """The error, if the form is to be shown again with it.

    Raises:
        ProblemError: it, if it is to have a page of its own.
    """
    if error.status not in _CORRECTABLE:
        raise error
    return error


def value_of(page: Page, name: str) -> str:
    """One field of the form; empty if it is not there."""
    return next(iter(page.form.get(name, ())), "")


def new_key(page: Page) -> str:
    """An idempotency key for a form: sent twice, it is done once."""
    return f"console-{page.console.context.rng.getrandbits(128):032x}"


def key_of(page: Page) -> Sequence[tuple[bytes, bytes]]:
    """The form's idempotency key as a header."""
    return [(b"idempotency-key", value_of(page, "key").encode())]
