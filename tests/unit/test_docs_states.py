"""The state diagrams show the states of the code, and what an operator can do in each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, create_engine, insert, select

from receiver.store import jobs as job_rows
from receiver.store import runs as run_rows
from receiver.store.schema import events, jobs, metadata, runs
from receiver.store.states import OPEN_JOBS, OPEN_STATES, EventStatus, JobState, RunState

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "states.md").read_text()
START = "[*]"


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


def test_what_an_operator_can_do_with_a_run_is_what_its_diagram_shows(connection: Connection) -> None:
    stored = {"id": "evt_1", "source": "s", "type": "test", "key": "k", "origin": "webhook", "payload": {}}
    connection.execute(
        insert(events).values(**stored, status=EventStatus.ACCEPTED, body=b"", headers=[], received_at=0)
    )
    found = set()
    for state in RunState:
        lease = {"lease_owner": "me", "lease_until": 9.0} if state is RunState.RUNNING else {}
        connection.execute(insert(runs).values(event_id="evt_1", handler="h", state=state, due_at=0.0, **lease))
        for act in (
            lambda: run_rows.cancel(connection, [("evt_1", "h")], 1.0),
            lambda: run_rows.replay(connection, [("evt_1", "h")], 1.0),
        ):
            found.add((str(state), state_after(connection, runs, act)))
        connection.execute(runs.delete())
    changed = {(start, end) for start, end in found if start != end}
    assert changed == {(start, end) for start, end, label in transitions("A run") if "by an operator" in label}


def test_what_an_operator_can_do_with_a_job_is_what_its_diagram_shows(connection: Connection) -> None:
    found = set()
    for state in JobState:
        row = {"id": "job_1", "source": "s", "job_id": "j", "created_at": 0.0, "due_at": 0.0, "deadline_at": 9.0}
        connection.execute(insert(jobs).values(**row, state=state))
        for act in (
            lambda: job_rows.cancel(connection, "job_1", 1.0),
            lambda: job_rows.adopt(connection, "job_1", "other", 1.0, 9.0),
            lambda: job_rows.watch(connection, "job_2", "s", "j", 1.0, 1.0, 9.0),
        ):
            found.add((str(state), state_after(connection, jobs, act)))
        connection.execute(jobs.delete())
    found.add((START, "watching"))
    changed = {(start, end) for start, end in found if start != end}
    assert changed == {(start, end) for start, end, label in transitions("A job") if "by an operator" in label}
