"""Changes of all that a list shows: a dry run on a page of its own, the confirmation, and the operation's progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from receiver.engine.matching import MAX_COUNTED_AT_ONCE
from receiver.model.redact import ELLIPSIS
from receiver.model.redact_json import CUT
from receiver.store.states import EVENT_STATES
from receiver.web.api import bulk
from receiver.web.api.bulk import NOT_CONDITIONS
from receiver.web.api.bulk_models import BulkOperation, DryRun, Match
from receiver.web.api.events import get_event, list_events
from receiver.web.api.fields import RequestModel
from receiver.web.api.problems import ProblemError
from receiver.web.api.runs import list_runs
from receiver.web.console.access import CSRF_FIELD
from receiver.web.console.filters import api_query
from receiver.web.console.operations import Query, Run
from receiver.web.console.pages import Handler, Page

MAX_SHOWN = 100
"""Up to how many matches are counted while a page of an operation updates itself."""
_NOT_FILTERS = ("limit", "cursor", "order")
_NOT_OF_LISTS = NOT_CONDITIONS - {"handlers"}
"""How the operation is asked, which is up to the page."""
_LISTS = ("metadata", "handlers")
"""Conditions that have several values."""


@dataclass(frozen=True, slots=True)
class BulkAction:
    """An operation on all that matches a list's filters.

    Attributes:
        list: the name of the list.
        model: of the operation's body; its fields are the conditions that the operation knows.
        states: the states of the list for which it is offered; "" for no state.
        implies_state: whether the operation changes one state only, and takes none.
        verb: what its buttons say.
        effect: what it does, after the number: "361 runs".
    """

    list: str
    name: str
    run: Run
    model: type[RequestModel]
    states: Sequence[str]
    verb: str
    effect: str
    implies_state: bool = False

    @property
    def path(self) -> str:
        """Of its pages."""
        return f"/{self.list}/{self.name}"

    @property
    def noun(self) -> str:
        """One of what it changes."""
        of_state = f"{self.states[0]} " if self.implies_state else ""
        return of_state + self.list.removesuffix("s")

    def body(self, query: Query) -> dict[str, Any] | None:
        """The conditions of the list as the operation takes them; None if it does not know one of them."""
        found: dict[str, Any] = {}
        for name, value in query:
            if name in _NOT_FILTERS or (name == "state" and self.implies_state and value in self.states):
                continue
            if name not in self.model.model_fields or name in _NOT_OF_LISTS:
                return None
            if name in _LISTS:
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
        return found


BULK_ACTIONS = (
    BulkAction(
        "runs", "replay", bulk.replay_runs, bulk.RunsToReplay, ("", "dead", "succeeded", "cancelled"), "Replay",
        "become due again, with all their attempts",
    ),
    BulkAction(
        "runs", "retry", bulk.retry_runs, bulk.RunsToRetry, ("pending",), "Retry now",
        "become due now, without their wait; their attempts count as before", implies_state=True,
    ),
    BulkAction(
        "runs", "cancel", bulk.cancel_runs, bulk.RunsToCancel, ("pending", "running"), "Cancel",
        "are cancelled; a running handler is stopped within a lease",
    ),
    BulkAction(
        "events", "replay", bulk.replay_events, bulk.EventsToReplay,
        ("", *(state for state in EVENT_STATES if state != "quarantined")), "Replay",
        "get all their handlers run again",
    ),
    BulkAction(
        "events", "release", bulk.release_events, bulk.EventsToRelease, ("quarantined",), "Release",
        "leave the quarantine, and are dispatched", implies_state=True,
    ),
)  # fmt: skip
"""Those that lists offer."""
ACTION_OF_OPERATION = {action.run.__name__: action for action in BULK_ACTIONS}
_LIST_OPERATIONS: Mapping[str, Run] = {"runs": list_runs, "events": list_events}
_WORDS_OF_LISTS = {"event": "event_id"}


@dataclass(frozen=True, slots=True)
class OfferedAction:
    """An action as a list offers it.

    Attributes:
        is_limited: whether there is any condition; without one the operation is refused.
    """

    action: BulkAction
    is_limited: bool


def offered(list_name: str, query: Query) -> list[OfferedAction]:
    """What can be done with all that a list shows: exactly these, so nothing if a filter is not one of the action."""
    state = dict(query).get("state", "")
    found = []
    for action in BULK_ACTIONS:
        body = action.body(query) if action.list == list_name and state in action.states else None
        if body is not None:
            found.append(OfferedAction(action, bool(body)))
    return found


def dry_run_page(action: BulkAction) -> Handler:
    """The page that says what an action would change, and asks for a confirmation."""

    async def show(page: Page) -> Response:
        query = api_query(page.query, page.console.context.clock.now())
        body = action.body(query)
        if body is None:
            unknown = "The list has a filter that this operation does not know, so it would change more than is shown."
            raise ProblemError(400, unknown, reason="invalid_request")
        found: DryRun = await page.change(action.run, {**body, "dry_run": True, "count_up_to": MAX_COUNTED_AT_ONCE})
        return await page.render(
            "bulk.html",
            action=action,
            found=found,
            conditions=_pairs(body),
            examples=[await _example(page, match) for match in found.examples],
            handlers=sorted(page.console.context.registry.active) if "handlers" in action.model.model_fields else [],
            query_pairs=[(name, value) for name, value in page.query if name not in _NOT_FILTERS],
        )

    return show


def accept(action: BulkAction) -> Handler:
    """Accepts an operation that was confirmed, and goes to its page."""

    async def start(page: Page) -> Response:
        pairs = [(name, value) for name, values in page.form.items() if name != CSRF_FIELD for value in values]
        body = action.body(pairs)
        if body is None:
            raise ProblemError(400, "The form has a field that this operation does not know.", reason="invalid_request")
        operation: BulkOperation = await page.change(action.run, body)
        return page.redirect(f"/operations/{operation.id}")

    return start


async def operation_page(page: Page) -> Response:
    """The page of one operation: how far it is, and what still matches."""
    operation: BulkOperation = await page.read(bulk.get_operation, path=page.parameters)
    action = ACTION_OF_OPERATION.get(operation.operation)
    query = _query_of(operation)
    return await page.render(
        "operation.html",
        operation=operation,
        action=action,
        conditions=_pairs(operation.filter),
        list_query=query,
        matching_now=None if action is None or query is None else await _matching(page, action, query),
    )


async def stop(page: Page) -> Response:
    """Stop an operation."""
    return await _change_operation(page, bulk.stop_operation)


async def resume(page: Page) -> Response:
    """Continue an operation."""
    return await _change_operation(page, bulk.resume_operation)


async def _change_operation(page: Page, run: Run) -> Response:
    operation: BulkOperation = await page.change(run, None, page.parameters)
    return page.redirect(f"/operations/{operation.id}")


async def _example(page: Page, match: Match) -> dict[str, Any]:
    """What matches, with its event and its run; without them if they were deleted meanwhile."""
    try:
        event = await page.read(get_event, path={"id": match.event_id})
    except ProblemError:
        return {"match": match, "event": None, "run": None}
    run = next((run for run in event.runs if run.handler == match.handler), None)
    return {"match": match, "event": event, "run": run}


async def _matching(page: Page, action: BulkAction, query: Query) -> tuple[int, bool] | None:
    """How many match the operation's filter now, up to a bound, and whether there are more."""
    try:
        found = await page.read(_LIST_OPERATIONS[action.list], [*query, ("limit", str(MAX_SHOWN))])
    except ProblemError:  # a name of the filter is no longer configured
        return None
    return len(found.items), found.next is not None


def _query_of(operation: BulkOperation) -> list[tuple[str, str]] | None:
    """The list's query with the filter of an operation; None if a list has no such filter, or a text was shortened."""
    pairs = [(name, value) for name, value in _pairs(operation.filter) if name != "handlers"]
    if any(name in _WORDS_OF_LISTS or value.endswith(ELLIPSIS) or CUT in value for name, value in pairs):
        return None
    return pairs


def _pairs(conditions: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Conditions, those with several values one by one."""
    found = []
    for name, value in conditions.items():
        found += [(name, str(item)) for item in (value if isinstance(value, list) else [value])]
    return found
