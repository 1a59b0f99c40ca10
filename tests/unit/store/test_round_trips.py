"""How many messages a transaction of the hot paths sends to PostgreSQL: each costs a wait, while rows are locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from receiver.model.slots import Slots
from receiver.store import turns
from receiver.store.claims import ClaimRequest
from receiver.store.database import Database
from receiver.store.inbox import accept
from receiver.store.leases import Lease
from receiver.store.postgresql.backlog import MANY_CLAIMS
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.turns import Turn
from tests.stores import query
from tests.unit.store.conftest import MakeDelivery

pytestmark = pytest.mark.postgresql

NOW = 1.8e9


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent, except COMMIT."""
    sent: list[str] = []
    execute: Callable[..., Any] = psycopg.Connection.execute

    def counted(connection: Any, statement: str, *args: Any, **options: Any) -> Any:
        sent.append(" ".join(statement.split()))
        return execute(connection, statement, *args, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    return sent


def test_a_turn_that_ends_runs_and_starts_others_is_four_messages_and_a_commit(
    database: Database, delivery: MakeDelivery, messages: list[str]
) -> None:
    database.transact(accept, [delivery(job=f"job-{number}", handlers=("save",)) for number in range(8)])
    request = ClaimRequest(Slots(4, {"save": None}).free({}), Lease("me", NOW + 30), NOW)
    started = database.transact(turns.write, Turn("me", request=request)).claimed
    assert started is not None
    results = [RunResult(claim, "me", "succeeded", RunState.SUCCEEDED, NOW + 1) for claim in started.started]
    messages.clear()

    written = database.transact(turns.write, Turn("me", results, request=request))

    assert written.held == [True] * 4
    assert written.claimed is not None
    assert [claim.event["job_id"] for claim in written.claimed.started] == [f"job-{number}" for number in range(4, 8)]
    assert [message.partition(" ")[0] for message in messages] == ["BEGIN", "WITH", "SELECT", "WITH"], messages


def test_tracebacks_of_a_turn_are_one_message_more(
    database: Database, delivery: MakeDelivery, messages: list[str]
) -> None:
    database.transact(accept, [delivery(job=f"job-{number}", handlers=("save",)) for number in range(3)])
    request = ClaimRequest(Slots(4, {"save": None}).free({}), Lease("me", NOW + 30), NOW)
    started = database.transact(turns.write, Turn("me", request=request)).claimed
    assert started is not None
    results = [
        RunResult(claim, "me", "failed", RunState.DEAD, NOW + 1, error="no", error_kind="KeyError", traceback=trace)
        for claim, trace in zip(started.started, ("File 1", None, "File 3"), strict=True)
    ]
    messages.clear()

    assert database.transact(turns.write, Turn("me", results)).held == [True] * 3

    assert [message.split()[0] for message in messages] == ["BEGIN", "WITH", "INSERT"], messages
    stored = query(database, "SELECT attempt, text FROM run_tracebacks ORDER BY text")
    assert [(row["attempt"], row["text"]) for row in stored] == [(1, "File 1"), (1, "File 3")]


def test_a_claim_during_a_backlog_is_two_messages_and_a_commit(
    database: Database, delivery: MakeDelivery, messages: list[str]
) -> None:
    deliveries = [delivery(job=f"job-{number}", handlers=("save",)) for number in range(MANY_CLAIMS + 512)]
    database.transact(accept, deliveries)
    request = ClaimRequest(Slots(250, {"save": None}).free({}), Lease("me", NOW + 30), NOW)
    for _ in range(MANY_CLAIMS // 250):
        database.transact(turns.write, Turn("me", request=request))
    messages.clear()

    written = database.transact(turns.write, Turn("me", request=request))

    assert written.claimed is not None
    assert len(written.claimed.started) == 250
    assert [message.partition(" ")[0] for message in messages] == ["BEGIN", "WITH"], messages


def test_storing_is_one_message_more_with_indexed_metadata_and_none_without(
    database: Database, delivery: MakeDelivery, messages: list[str]
) -> None:
    database.transact(accept, [delivery("first")])
    counts = []
    for name, pairs in (("a", ()), ("b", (("customer", "acme"), ("project", "7")))):
        messages.clear()
        database.transact(accept, [delivery(f"{name}{number}", indexed=pairs) for number in range(8)])
        counts.append(len(messages))
    assert counts[1] == counts[0] + 1
    assert sum("metadata" in message for message in messages) == 1
