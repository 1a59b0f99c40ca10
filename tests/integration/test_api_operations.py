"""Operations on all that matches: counted, accepted, done in the background, continued after a kill, stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from receiver import Settings
from receiver.clock import SystemClock
from receiver.engine.operation_worker import LEASE_SECONDS
from receiver.store import operations, runs
from receiver.store.schema import runs as runs_table
from tests.integration.api_support import Api, api, event_number, problem, until_ended
from tests.integration.intake_support import configured
from tests.stores import Store, address_of, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

MANY = 130
"""More than a batch, so that a position lies in between."""


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, store={"url": address_of(store)}, handlers={"log": {}})


async def dead_runs(client: Api, *numbers: int, reason: str = "no_such_voice", at: float = 1.0) -> list[str]:
    """Events with a dead run of a handler that no process has, so that nothing else changes them."""
    ids = await client.add(*numbers, handlers=("gone",))

    def die(connection: Connection) -> None:
        values = {"state": "dead", "error": "x", "error_kind": "rejected", "reason": reason, "finished_at": at}
        connection.execute(update(runs_table).where(runs_table.c.event_id.in_(ids)).values(values))

    await client.up.receiver.database.write(die)
    return ids


async def states(client: Api) -> dict[str, str]:
    """The states of all runs, by event."""
    return {row["event_id"]: row["state"] for row in query(client.up.receiver.database, runs_table)}


async def accepted(client: Api, path: str, **body: Any) -> str:
    """The id of an operation that is accepted."""
    answer = await client.post(path, body)
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/operations/{id}"
    return id


async def test_a_dry_run_counts_and_changes_nothing(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await dead_runs(client, *range(1, 8))
        await dead_runs(client, 8, reason="other")
        body = {"state": "dead", "reason": "no_such_voice", "dry_run": True}
        found = (await client.post("/v1/runs/replay", body)).json()
        assert (found["count"], found["more"]) == (7, False)
        assert found["examples"] == [{"event_id": id, "handler": "gone"} for id in ids[:5]]
        found = (await client.post("/v1/events/replay", {"state": "dead", "dry_run": True})).json()
        assert (found["count"], found["examples"][0]) == (8, {"event_id": ids[0], "handler": None})
        found = (await client.post("/v1/events/replay", {"state": "dead", "dry_run": True, "count_up_to": 7.0})).json()
        assert (found["count"], found["more"]) == (7, True)
        assert set((await states(client)).values()) == {"dead"}
        assert (await client.json("/v1/changes"))["items"] == []
        for body in ({"handler": "log"}, {"job_id": "job-1", "since": "2030-01-01T00:00:00Z"}):
            answer = await client.post("/v1/runs/replay", {**body, "dry_run": True})
            assert answer.json() == {"count": 0, "more": False, "examples": []}


async def test_all_that_match_are_replayed_once(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await dead_runs(client, *range(1, MANY + 1))
        others = await dead_runs(client, MANY + 1, reason="other")
        id = await accepted(client, "/v1/runs/replay", reason="no_such_voice")
        ended = await until_ended(client, id)
        assert (ended["state"], ended["matching"], ended["changed"], ended["refused"]) == ("completed", MANY, MANY, 0)
        assert await states(client) == {**dict.fromkeys(ids, "pending"), **dict.fromkeys(others, "dead")}
        (entry,) = (await client.json("/v1/changes"))["items"]
        assert (entry["id"], entry["operation"], entry["changed"], entry["state"]) == (
            id, "replay_runs", MANY, "completed",
        )  # fmt: skip
        assert entry["filter"] == ended["filter"]
        id = await accepted(client, "/v1/runs/cancel", handler="gone", state="pending")
        assert (await until_ended(client, id))["changed"] == MANY


async def test_events_are_replayed_and_released_and_refusals_counted(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, 2, quarantined=True)
        await client.add(3)
        ended = await until_ended(client, await accepted(client, "/v1/events/replay", source="aitts", handlers=["log"]))
        assert (ended["state"], ended["changed"], ended["refused"]) == ("completed", 1, 2)
        ended = await until_ended(client, await accepted(client, "/v1/events/release", type="job.completed"))
        assert (ended["operation"], ended["changed"], ended["refused"]) == ("release", 2, 0)
        assert len(await states(client)) == 3


async def test_a_run_that_ends_after_the_request_is_not_replayed(settings: Settings) -> None:
    async with api(settings) as client:
        first, second = await dead_runs(client, 1), await dead_runs(client, 2, at=SystemClock().now() + 3600)
        id = await accepted(client, "/v1/runs/replay", state="dead")
        assert (await until_ended(client, id))["changed"] == 1
        assert await states(client) == {first[0]: "pending", second[0]: "dead"}


async def test_another_process_continues_where_a_killed_one_was(settings: Settings) -> None:
    async with api(settings) as client:
        await client.up.receiver.operations.stop()
        ids = await dead_runs(client, *range(1, MANY + 1))
        id = await accepted(client, "/v1/runs/replay", state="dead")
        waiting = await accepted(client, "/v1/runs/cancel", state="pending")
        now = SystemClock().now()

        def begin(connection: Connection) -> None:
            """As a process does that is killed after its first batch."""
            assert operations.claim(connection, id, "dead", now, now + LEASE_SECONDS)
            assert operations.claim(connection, id, "me", now, now + LEASE_SECONDS) is None
            assert operations.advance(connection, id, "dead", ids[29], now, now - 1)
            changed = runs.replay(connection, [(event, "gone") for event in ids[:30]], now)
            operations.add(connection, id, len(changed), 0)

        await client.up.receiver.database.write(begin)
        assert (await client.json(f"/v1/operations/{id}"))["changed"] == 30
        assert (await client.json(f"/v1/operations/{waiting}"))["changed"] == 0
    async with api(settings) as client:
        ended = await until_ended(client, id)
        assert (ended["state"], ended["changed"]) == ("completed", MANY)
        assert (await until_ended(client, waiting))["changed"] == MANY
        assert set((await states(client)).values()) == {"cancelled"}


async def test_a_stopped_operation_changes_nothing_more(settings: Settings) -> None:
    async with api(settings) as client:
        await client.up.receiver.operations.stop()
        (event,) = await dead_runs(client, 1)
        id = await accepted(client, "/v1/runs/replay", state="dead")
        now = SystemClock().now()
        assert await client.up.receiver.database.write(operations.claim, id, "other", now, now + LEASE_SECONDS)
        for _ in range(2):
            stopped = (await client.post(f"/v1/operations/{id}/stop")).json()
            assert (stopped["state"], stopped["changed"]) == ("stopped", 0)
        assert not await client.up.receiver.database.write(
            operations.advance, id, "other", event, now, now + LEASE_SECONDS
        )
        changes = (await client.json("/v1/changes"))["items"]
        assert [(entry["operation"], entry["changed"]) for entry in changes] == [("stop_operation", 1)]
    async with api(settings) as client:
        assert (await states(client)) == {event: "dead"}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("runs/replay", {}, (422, "invalid_request")),
        ("runs/replay", {"dry_run": True}, (422, "invalid_request")),
        ("runs/replay", {"dry_run": True, "count_up_to": 5}, (422, "invalid_request")),
        ("runs/replay", {"state": "dead", "dry_run": True, "count_up_to": 10_001}, (400, "invalid_request")),
        ("events/replay", {"handlers": ["log"]}, (422, "invalid_request")),
        ("runs/replay", {"state": "pending"}, (400, "invalid_request")),
        ("runs/cancel", {"state": "dead"}, (400, "invalid_request")),
        ("runs/cancel", {"since": 1}, (400, "invalid_request")),
        ("runs/cancel", {"type": "a\0b"}, (400, "invalid_request")),
        ("events/release", {"state": "dead"}, (400, "invalid_request")),
        ("runs/replay", {"source": "aits"}, (404, "no_such_source")),
        ("events/replay", {"source": "aitts", "handlers": ["lok"]}, (404, "no_such_handler")),
        ("runs/replay", {"handler": "lok", "dry_run": True}, (404, "no_such_handler")),
        ("runs/replay", {"metadata": ["customer=1"]}, (422, "metadata_not_indexed")),
        ("operations/chg_" + "0" * 32 + "/stop", None, (404, "not_found")),
    ],
)
async def test_what_is_mistaken_is_refused(
    settings: Settings, path: str, body: dict[str, Any] | None, expected: tuple[int, str]
) -> None:
    async with api(settings) as client:
        assert problem(await client.post(f"/v1/{path}", body)) == expected
        assert query(client.up.receiver.database, "SELECT * FROM operations") == []


async def test_an_event_is_named_like_a_filter(settings: Settings) -> None:
    async with api(settings) as client:
        await dead_runs(client, 1, 2)
        id = await accepted(client, "/v1/runs/replay", event_id=event_number(2))
        assert (await until_ended(client, id))["changed"] == 1


async def test_pending_runs_are_made_due_and_their_attempts_count(settings: Settings) -> None:
    async with api(settings) as client:
        (waiting,) = await client.add(1, handlers=("gone",))
        (slot,) = await client.add(2, handlers=("gone",))
        (dead,) = await dead_runs(client, 3)

        def wait(connection: Connection) -> None:
            later = {"attempt": 2, "forgiven": 1, "due_at": 4e9, "wait_seconds": 60.0}
            connection.execute(update(runs_table).values(later))
            connection.execute(update(runs_table).where(runs_table.c.event_id == slot).values(waits_for="download"))

        await client.up.receiver.database.write(wait)
        for changed in (1, 0):  # what is due stays where it is
            ended = await until_ended(client, await accepted(client, "/v1/runs/retry-now", source="aitts"))
            assert (ended["operation"], ended["changed"]) == ("retry_runs", changed)
        found = {row["event_id"]: row for row in query(client.up.receiver.database, runs_table)}
        assert found[waiting]["due_at"] <= SystemClock().now() + 60
        assert [found[waiting][name] for name in ("attempt", "forgiven", "wait_seconds")] == [2, 1, 0]
        assert (found[slot]["due_at"], found[dead]["due_at"]) == (4e9, 4e9)
