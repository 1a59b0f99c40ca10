"""Editing an event: its payload in a form, the errors beside it, and the new event that comes of it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json_object
from receiver.model.printable import escaped_in_json
from receiver.web.api.events import edit, get_event
from receiver.web.api.models import Edited, EventDetail
from receiver.web.api.problems import InvalidField, ProblemError
from receiver.web.body import BodyLimits, BodyRefused
from receiver.web.console.formats import Lines, as_json
from receiver.web.console.forms import correctable, key_of, new_key, require_operator, value_of
from receiver.web.console.pages import MAX_FORM_BYTES, Console, Handler, Page, PageRoute, named_fields

_FORM_FACTOR = 4
"""How much longer a form may be than the largest payload, which is indented and percent-encoded in it."""

MIN_ROWS, MAX_ROWS = 8, 28
"""Of the field with the payload."""


class EditRoute(PageRoute):
    """A page whose form contains a whole payload."""

    def __init__(self, console: Console, **handlers: Handler) -> None:
        super().__init__(console, **handlers)
        server = console.context.settings.server
        self._limits = BodyLimits(server.body_seconds, _FORM_FACTOR * server.max_body_bytes + MAX_FORM_BYTES)


async def edit_page(page: Page) -> Response:
    """The form with the payload of an event."""
    require_operator(page.viewer)
    event: EventDetail = await page.read(get_event, path=page.parameters)
    return await _show(page, event, as_json(event.payload), new_key(page))


async def edit_event(page: Page) -> Response:
    """Make the edited event and go to it; the form again, with all that was typed, if it is refused."""
    require_operator(page.viewer)
    text = value_of(page, "payload").replace("\r\n", "\n")
    handlers = [name for name in page.form.get("handlers", ()) if name]
    try:
        payload = read_strict_json_object(text.encode())
        body = {"payload": payload, "handlers": handlers}
        made: Edited = await page.change(edit, body, page.parameters, key_of(page))
    except InvalidJson as error:
        problem = ProblemError(
            400, "Nothing was changed.", reason=error.reason, errors=[InvalidField("body.payload", str(error))]
        )
    except BodyRefused as error:
        if error.status is None:
            raise
        limit = page.console.context.settings.server.max_body_bytes
        what = f"The payload is longer than server.max_body_bytes, which is {limit:,}."
        problem = ProblemError(error.status, what, reason=error.outcome)
    except ProblemError as error:
        problem = correctable(error)
    else:
        return page.redirect(f"/events/{made.event}")
    event: EventDetail = await page.read(get_event, path=page.parameters)
    key = new_key(page) if problem.reason == "idempotency_key_reused" else value_of(page, "key")
    return await _show(page, event, _typed(text), key, handlers, problem)


async def _show(
    page: Page,
    event: EventDetail,
    text: Lines,
    key: str,
    chosen: Any = (),
    problem: ProblemError | None = None,
) -> Response:
    errors = [] if problem is None else named_fields(problem.errors)
    return await page.render(
        "edit.html",
        200 if problem is None else problem.status,
        event=event,
        text=text,
        key=key,
        rows=min(MAX_ROWS, max(MIN_ROWS, text.count("\n") + 2)),
        handlers=sorted(page.console.context.registry.active),
        chosen=chosen,
        problem=None if problem is None else page.console.context.redact(str(problem)),
        errors=errors,
    )


def _typed(text: str) -> Lines:
    """What was typed. Characters that a page shows as escapes become those of JSON, which mean the same."""
    return Lines("".join(char if char.isprintable() or char in "\n\t" else escaped_in_json(char) for char in text))
