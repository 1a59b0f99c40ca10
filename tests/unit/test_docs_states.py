"""The diagrams show what the code does: every change of state, by the receiver or an operator, and the data flow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, create_engine, insert, select

from receiver.model.event import COMPLETED, FAILED
from receiver.model.slots import Slots
from receiver.providers.protocols import WebhookProvider
from receiver.store import completion, job_leases
from receiver.store import jobs as job_rows
from receiver.store import runs as run_rows
from receiver.store.claims import Claim
from receiver.store.job_leases import JobClaim
from receiver.store.runs import RunResult
from receiver.store.schema import events, jobs, metadata, runs
from receiver.store.states import OPEN_JOBS, OPEN_STATES, EventStatus, JobState, RunState
from tests.claiming import claim_due

ROOT = Path(__file__).parents[2]
RECEIVER = ROOT / "receiver"
PAGE = (ROOT / "docs" / "explanation" / "states.md").read_text()
START = "[*]"

Edge = tuple[str, str]
Row = dict[str, Any]
Acts = Sequence[Callable[[], object]]


def transitions(heading: str) -> list[tuple[str, str, str]]:
    """The (from, to, label) of each arrow in the diagram of a section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^    (\S+) --> (\w+): (.+)$", section, re.MULTILINE)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


@pytest.mark.parametrize(
    ("heading", "states", "open_states"), [("A run", RunState, OPEN_STATES), ("A job", JobState, OPEN_JOBS)]
)
def test_a_diagram_has_the_states_of_the_code(
    heading: str, states: type[RunState | JobState], open_states: tuple[str, ...]
) -> None:
    shown = transitions(heading)
    assert {state for start, end, _ in shown for state in (start, end)} - {START} == {str(state) for state in states}
    left_without_an_operator = {start for start, _, label in shown if "by an operator" not in label} - {START}
    assert left_without_an_operator == {str(state) for state in open_states}


def state_after(connection: Connection, table: Table, act: Callable[[], object]) -> str:
    with connection.begin_nested() as savepoint:
        act()
        state = str(connection.execute(select(table.c.state)).scalar_one())
        savepoint.rollback()
    return state


def shown(heading: str, by_operator: bool) -> set[tuple[str, str]]:
    """The arrows of a diagram whose label says that an operator causes them, or the other ones."""
    return {(start, end) for start, end, label in transitions(heading) if ("by an operator" in label) is by_operator}


def driven(acts: Acts, table: Table, connection: Connection, states: type[RunState | JobState], row: Row) -> set[Edge]:
    """The changes of state that these functions of the store make, tried on a row in each state."""
    found = set()
    for state in states:
        lease = {"lease_owner": "me", "lease_until": 9.0} if state is RunState.RUNNING else {}
        connection.execute(insert(table).values(**row, state=state, **lease))
        found |= {(str(state), state_after(connection, table, act)) for act in acts}
        connection.execute(table.delete())
    return {(start, end) for start, end in found if start != end}


EVENT = {"id": "evt_1", "source": "s", "type": "test", "key": "k", "origin": "webhook", "payload": {}}
RUN = {"event_id": "evt_1", "handler": "h", "attempt": 1, "due_at": 0.0}
JOB = {"id": "job_1", "source": "s", "job_id": "j", "created_at": 0.0, "due_at": 0.0, "deadline_at": 9.0}


@pytest.fixture
def with_event(connection: Connection) -> Connection:
    connection.execute(insert(events).values(**EVENT, status=EventStatus.ACCEPTED, body=b"", headers=[], received_at=0))
    return connection


def test_what_an_operator_can_do_with_a_run_is_what_its_diagram_shows(with_event: Connection) -> None:
    acts = (
        lambda: run_rows.cancel(with_event, [("evt_1", "h")], 1.0),
        lambda: run_rows.replay(with_event, [("evt_1", "h")], 1.0),
    )
    assert driven(acts, runs, with_event, RunState, RUN) == shown("A run", by_operator=True)


def test_what_the_receiver_does_with_a_run_is_what_its_diagram_shows(with_event: Connection) -> None:
    held = Claim("evt_1", "h", 1, 1, 0.0, 1.0, {})

    def finish(state: RunState) -> None:
        due_at = 2.0 if state is RunState.PENDING else None
        run_rows.finish(with_event, [RunResult(held, "me", "ended", state, 1.0, due_at)])

    acts = (
        lambda: claim_due(with_event, Slots(1, {"h": 1}).free({}), "me", 1.0, 9.0),
        lambda: finish(RunState.SUCCEEDED),
        lambda: finish(RunState.PENDING),
        lambda: finish(RunState.DEAD),
    )
    found = driven(acts, runs, with_event, RunState, RUN)
    run_rows.replay(with_event, [("evt_1", "h")], 1.0)  # creates it, as the inbox does
    found.add((START, str(with_event.execute(select(runs.c.state)).scalar_one())))
    assert found == shown("A run", by_operator=False)


def test_what_an_operator_can_do_with_a_job_is_what_its_diagram_shows(connection: Connection) -> None:
    acts = (
        lambda: job_rows.cancel(connection, "job_1", 1.0),
        lambda: job_rows.adopt(connection, "job_1", "other", 1.0, 9.0),
        lambda: job_rows.watch(connection, "job_2", "s", "j", 1.0, 1.0, 9.0),
    )
    found = driven(acts, jobs, connection, JobState, JOB)
    row, _ = job_rows.watch(connection, "job_2", "s", "j", 1.0, 1.0, 9.0)
    found.add((START, str(row["state"])))
    assert found == shown("A job", by_operator=True)


def test_what_the_receiver_does_with_a_job_is_what_its_diagram_shows(connection: Connection) -> None:
    def held(state: JobState) -> JobClaim:
        return JobClaim("job_1", "s", "j", state, 0, 0, 0, 0, 0.0, 9.0)

    def end_submit(state: JobState) -> None:
        job_leases.mark_not_submitted(connection, held(JobState.SUBMITTING), state, 1.0, "code", "error")

    def complete(state: JobState) -> None:
        job_leases.complete(connection, held(JobState.WATCHING), state, 1.0, "evt_1", polls=1)

    def deliver(type_: str) -> None:
        completion.complete_jobs(connection, [completion.TerminalEvent("s", "j", type_, "evt_1", 1.0, {})])

    acts = (
        lambda: job_leases.mark_submitted(connection, held(JobState.SUBMITTING), "new", 1.0, 1.0, 9.0),
        lambda: end_submit(JobState.FAILED),
        lambda: end_submit(JobState.UNKNOWN),
        lambda: complete(completion.final_state(COMPLETED)),
        lambda: complete(completion.final_state(FAILED)),
        lambda: complete(JobState.EXPIRED),
        lambda: deliver(COMPLETED),
        lambda: deliver(FAILED),
    )
    found = driven(acts, jobs, connection, JobState, JOB)
    new = job_rows.NewJob(id="job_2", source="s", request={}, submit_key="k", client_key="c", now=0.0, deadline_at=9.0)
    row, _ = job_rows.enqueue(connection, new)
    found.add((START, str(row["state"])))
    assert found == shown("A job", by_operator=False)


FLOW = {
    ("provider", "intake"): ("web/intake.py", "read_body("),
    ("intake", "parse"): ("web/intake.py", "provider.parse_delivery("),
    ("parse", "writer"): ("web/intake.py", "context.accept("),
    ("client", "jobs"): ("engine/jobs/service.py", "submit_job"),
    ("watch", "jobs"): ("engine/jobs/service.py", "watch_job"),
    ("jobs", "loop"): ("engine/jobs/claiming.py", "job_leases.claim("),
    ("loop", "provider"): ("engine/throttle.py", "outbound.api import call_api"),
    ("loop", "writer"): ("engine/jobs/completion.py", "inbox.accept("),
    ("writer", "events"): ("store/writer.py", "connection.begin()"),
    ("events", "intake"): ("web/intake.py", "status, answer = 202"),
    ("events", "dispatcher"): ("engine/dispatcher.py", "ClaimRequest("),
    ("dispatcher", "handlers"): ("engine/dispatcher.py", "_executions.start("),
    ("handlers", "audio"): ("engine/audio.py", "outbound.audio import"),
    ("audio", "provider"): ("outbound/download.py", "from receiver.outbound.redirects import"),
    ("audio", "storage"): ("outbound/audio.py", "outbound.storage_types import Storage"),
}
"""Each arrow of the data flow, and where the code does what it shows."""


def test_each_arrow_of_the_data_flow_is_in_the_code_and_each_module_exists() -> None:
    section = PAGE.partition("\n## Data flow\n")[2].partition("\n## ")[0]
    line = re.compile(r"^    (\w+)\S*(?: [^-<]*?)? <?--.*> (\w+)", re.MULTILINE)
    assert {(start, end) for start, end in line.findall(section)} == set(FLOW)
    for path, text in FLOW.values():
        assert text in (RECEIVER / path).read_text(), (path, text)
    for name in re.findall(r"\b((?:web|engine|outbound|store)\.\w+)", section):
        module = RECEIVER / name.replace(".", "/")
        assert module.is_dir() or module.with_suffix(".py").is_file(), name
    [method] = re.findall(r"provider\.(\w+)", section)
    assert hasattr(WebhookProvider, method)
