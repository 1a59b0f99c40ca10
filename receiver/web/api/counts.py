"""How many events, runs and jobs there are in the states that lists are filtered by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection

from receiver.store import gauges, quarantine, views
from receiver.store.event_pages import Filter
from receiver.store.states import JobState, RunState
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import ResponseModel
from receiver.web.api.operations import ApiResponse

MAX_COUNTED = 100
"""Events are counted up to this number, except those in quarantine."""


class EventCount(ResponseModel):
    """Events in one state."""

    state: Literal["quarantined", "open", "dead"]
    count: int
    more: Annotated[bool, Field(description="There are more than `count`.")]


class RunCount(ResponseModel):
    """Runs of one handler in one state."""

    handler: str
    state: RunState
    count: int


class JobCount(ResponseModel):
    """Jobs of one source in one state."""

    source: str
    state: JobState
    count: int


class Counts(ResponseModel):
    """Everything that has not ended well."""

    events: list[EventCount]
    runs: Annotated[list[RunCount], Field(description="Those that are pending, running or dead.")]
    jobs: Annotated[list[JobCount], Field(description="Those that have not ended, or of which that is unknown.")]


async def get_counts(context: ApiContext) -> ApiResponse:
    """How many runs, jobs and events need attention, by state. What has ended well is not counted: it would be slow."""
    now = context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        events = [EventCount(state="quarantined", count=sum(quarantine.counts(connection).values()), more=False)]
        for state in ("open", "dead"):
            found = len(views.list_ids(connection, Filter(state=state), MAX_COUNTED + 1))
            events.append(EventCount(state=state, count=min(found, MAX_COUNTED), more=found > MAX_COUNTED))
        runs = gauges.depth(connection, now).by_handler
        jobs = gauges.counts(connection)
        return ApiResponse(
            200,
            Counts(
                events=events,
                runs=[
                    RunCount(handler=name, state=RunState(state), count=n) for (name, state), n in sorted(runs.items())
                ],
                jobs=[
                    JobCount(source=name, state=JobState(state), count=n) for (name, state), n in sorted(jobs.items())
                ],
            ),
        )

    return await context.database.read_list(read)
