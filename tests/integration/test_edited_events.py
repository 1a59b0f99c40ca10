"""An edited event: a new one, with an identity of its own, that ends no job, and that handlers know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, JobCompleted, Settings, handler
from receiver.engine.editing import changed_fields
from receiver.simulator import Simulator
from receiver.store.schema import audit_entries, events, jobs
from tests.integration.api_support import Api, api, deliver, event_number, problem
from tests.integration.engine_support import Signal
from tests.integration.intake_support import SECRET, Lines, completed, configured
from tests.stores import Store, address_of, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

PAYLOAD = {"status": "completed", "metadata": {"customer": "acme"}, "audio_url": "https://files.test/a.wav?sig=secret"}
SHOWN = {**PAYLOAD, "audio_url": "https://files.test/a.wav?[redacted]"}


@handler(on=Event)
async def note(event: Event, ctx: Context[Any]) -> dict[str, Any]:
    return {
        "origin": event.origin, "edited_from": event.edited_from, "payload": dict(event.payload),
        "body": dict(event.body), "job_id": event.job_id, "type": type(event).__name__,
    }  # fmt: skip


@handler(on=JobCompleted)
async def other(event: JobCompleted, ctx: Context[Any]) -> None: ...


@handler(on=JobCompleted)
async def fetch(event: JobCompleted, ctx: Context[Any]) -> dict[str, Any]:
    audio = await ctx.audio()
    return {"address": audio.address, "sha256": audio.sha256}


@pytest.fixture
async def sim() -> Any:
    async with Simulator(job_seconds=None) as sim:
        yield sim


@pytest.fixture
def settings(tmp_path: Path, store: Store, sim: Simulator) -> Settings:
    source = {
        "provider": "aitts", "base_url": sim.base_urls["aitts"], "api_key": sim.api_keys["aitts"],
        "allow_private_addresses": True, "signing_secrets": [SECRET],
    }  # fmt: skip
    return configured(
        tmp_path, sources={"aitts": source}, store={"url": address_of(store)}, handlers={},
        search={"metadata": ["customer"]},
    )  # fmt: skip


async def add(client: Api, number: int = 1, payload: Any = None, **fields: Any) -> str:
    """An event with this payload, and a body that has more than it."""
    payload = PAYLOAD if payload is None else payload
    body = json.dumps({"event": "job.completed", "data": payload, "creditsUsed": 3}).encode()
    (id,) = await client.add(number, **{"payload": json.dumps(payload), "body": body, **fields})
    return id


async def edited(client: Api, id: str, payload: Any, **headers: str) -> dict[str, Any]:
    """The response to an edit that makes a new event."""
    answer = await client.post(f"/v1/events/{id}/edit", {"payload": payload}, **headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/events/{found['event']}"
    return found


async def results(client: Api, id: str) -> dict[str, Any]:
    """The results of the event's runs, by handler."""
    return {run["handler"]: run["result"] for run in (await client.json(f"/v1/events/{id}"))["runs"]}


async def test_an_edited_event_is_a_new_one_that_handlers_know(
    settings: Settings, lines: Lines, signal: Signal
) -> None:
    async with api(settings, note) as client:
        first = await add(client)
        made = await edited(client, first, {**SHOWN, "metadata": {"customer": "globex"}})
        assert made == {"event": made["event"], "edited_from": first, "handlers": ["note"]}
        await signal.until(lambda: lines.of("run.succeeded"))
        assert await results(client, made["event"]) == {
            "note": {
                "origin": "edited", "edited_from": first, "job_id": "job-1", "type": "JobCompleted",
                "payload": {**SHOWN, "metadata": {"customer": "globex"}},
                "body": {"event": "job.completed", "data": SHOWN, "creditsUsed": 3},
            }
        }  # fmt: skip
        rows = {row["id"]: row for row in query(client.up.receiver.database, events)}
        assert rows[made["event"]]["payload"]["audio_url"] == PAYLOAD["audio_url"], "what was not shown is kept"
        assert rows[first]["payload"] == PAYLOAD
        shown = await client.json(f"/v1/events/{made['event']}")
        assert (shown["origin"], shown["edited_from"], shown["edited_to"]) == ("edited", first, [])
        assert (shown["signature"], shown["key_id"], shown["headers"]) == ("cannot be checked", None, [])
        before = await client.json(f"/v1/events/{first}")
        assert (before["origin"], before["edited_from"], before["edited_to"]) == ("webhook", None, [made["event"]])
        for path in ("?origin=edited", "?metadata=customer=globex", "?origin=edited&source=aitts&type=job.completed"):
            assert [item["id"] for item in (await client.json(f"/v1/events{path}"))["items"]] == [made["event"]], path
        assert [item["id"] for item in (await client.json("/v1/events?origin=webhook"))["items"]] == [first]
        of_job = await client.json("/v1/events?job_id=job-1")
        assert [item["id"] for item in of_job["items"]] == [made["event"], first]
        again = await edited(client, made["event"], {"status": "completed"})
        assert (await client.json(f"/v1/events/{again['event']}"))["edited_from"] == made["event"]


async def test_the_audit_log_says_who_made_what_of_which_event(settings: Settings) -> None:
    async with api(settings, note, other) as client:
        first = await add(client)
        body = {"payload": {**SHOWN, "metadata": {"order": "confidential"}, "n": 1}, "handlers": ["other"]}
        made = (await client.post(f"/v1/events/{first}/edit", body)).json()
        assert made["handlers"] == ["other"]
        (entry,) = query(client.up.receiver.database, audit_entries)
        assert (entry["operation"], entry["changed"], entry["via"], entry["state"]) == ("edit", 1, "api", "completed")
        assert entry["filter"] == {"event": first, "handlers": ["other"]}
        assert entry["detail"] == f"Made {made['event']}; changed: metadata.customer, metadata.order, n."


@pytest.mark.parametrize("type_", ["job.completed", "job.failed"])
async def test_an_edited_end_never_ends_its_job_and_is_none_of_its_deliveries(
    settings: Settings, sim: Simulator, type_: str
) -> None:
    async with api(settings, note) as client:
        first = await add(client, type=type_, key="earlier", job_id="running", payload={"status": "completed"})
        watched = (await client.post("/v1/jobs", {"source": "aitts", "job_id": "running"})).json()
        made = await edited(client, first, {"status": "edited"})
        assert (await client.json(f"/v1/jobs/{watched['id']}"))["state"] == "watching"
        for end in ("job.completed", "job.failed"):  # genuine ones are stored as if there were no edited one
            body = json.dumps({"event": end, "data": {"job_id": "running", "status": end.removeprefix("job.")}})
            got = await deliver(client.up, body.encode())
            row = next(row for row in query(client.up.receiver.database, events) if row["id"] == got)
            expected = None if end == "job.completed" else "completed_and_failed"
            assert (row["origin"], row["duplicates"], row["conflict"]) == ("webhook", 0, expected)
        (job,) = query(client.up.receiver.database, jobs)
        assert (job["state"], job["event_id"] not in (first, made["event"])) == ("completed", True)
        row = next(row for row in query(client.up.receiver.database, events) if row["id"] == made["event"])
        assert (row["duplicates"], row["conflict"], row["job_id"]) == (0, None, "running")
        # nor does it end one that is watched later
        again = await add(client, 2, type=type_, key="other", job_id="later")
        await edited(client, again, {"status": "edited"})
        assert (await client.post("/v1/jobs", {"source": "aitts", "job_id": "later"})).json()["state"] == "watching"


async def test_audio_is_shared_unless_the_edit_names_other_audio(
    settings: Settings, sim: Simulator, lines: Lines, signal: Signal
) -> None:
    async with api(settings, fetch) as client:
        job = sim.finish(await sim.submit("Hello."))
        first = await deliver(client.up, completed(job.id))
        await signal.until(lambda: len(lines.of("run.succeeded")) == 1)
        original = (await results(client, first))["fetch"]
        downloads = len(lines.of("audio.stored"))
        shared = await edited(client, first, {"status": "completed", "metadata": {"order": 7}})
        await signal.until(lambda: len(lines.of("run.succeeded")) == 2)
        assert (await results(client, shared["event"]))["fetch"] == original
        assert len(lines.of("audio.stored")) == downloads
        fetched = await edited(client, first, {"status": "completed", "audio_urls": ["/"], "audio_endpoint": None})
        await signal.until(lambda: len(lines.of("run.succeeded")) == 3)
        own = (await results(client, fetched["event"]))["fetch"]
        assert own["sha256"] == original["sha256"]
        assert own["address"] != original["address"], "the job's file is never replaced"


async def test_the_payload_of_an_event_that_ends_no_job_is_its_body(
    settings: Settings, lines: Lines, signal: Signal
) -> None:
    async with api(settings, note) as client:
        first = await add(client, type="voice.trained", payload={"voice": "Ana"}, job_id=None)
        made = await edited(client, first, {"voice": "Anna"})
        await signal.until(lambda: lines.of("run.succeeded"))
        found = (await results(client, made["event"]))["note"]
        assert (found["payload"], found["body"], found["type"]) == ({"voice": "Anna"}, {"voice": "Anna"}, "OtherEvent")


async def test_a_repeated_request_makes_one_event(settings: Settings) -> None:
    async with api(settings, note) as client:
        first, second = await add(client), await add(client, 2)
        key = {"idempotency_key": "order 7"}
        made = await edited(client, first, {"n": 1}, **key)
        repeated = await client.post(f"/v1/events/{first}/edit", {"payload": {"n": 1}}, **key)
        assert (repeated.status_code, repeated.json()) == (200, made)
        changed = await client.post(f"/v1/events/{first}/edit", {"payload": {"n": True}}, **key)
        assert problem(changed) == (422, "idempotency_key_reused")
        assert (await edited(client, second, {"n": 1}, **key))["event"] != made["event"], "a key is of one event"
        assert (await edited(client, first, {"n": 1}))["event"] != made["event"], "without a key each is a new one"
        assert len(query(client.up.receiver.database, audit_entries)) == 3


async def test_what_cannot_be_edited_is_refused_and_nothing_is_stored(settings: Settings, sim: Simulator) -> None:
    async with api(settings, note, other) as client:
        first = await add(client)
        stale = await add(client, 2, quarantined=True)
        changed = await deliver(client.up, completed("tampered"))
        before = len(query(client.up.receiver.database, events))

        async def refused(id: str, payload: Any, handlers: Any = ()) -> tuple[int, str]:
            return problem(await client.post(f"/v1/events/{id}/edit", {"payload": payload, "handlers": [*handlers]}))

        assert await refused(event_number(99), {"n": 1}) == (404, "not_found")
        assert await refused(stale, {"n": 1}) == (409, "not_replayable")
        assert await refused(first, SHOWN) == (409, "not_edited")
        assert await refused(first, PAYLOAD) == (409, "not_edited")
        assert await refused(first, {"n": 1}, ["nobody"]) == (409, "not_replayable")
        assert await refused(first, {"text": "https://x.test/?[redacted]"}) == (422, "redacted_value")
        assert await refused(first, [1]) == (400, "invalid_request")
        for text in (b'{"payload": {"n": NaN}}', b'{"payload": {"n": "\\ud800"}}', b'{"payload": ' + b"[" * 300):
            answer = await client.client.post(f"/v1/events/{first}/edit", content=text)
            assert problem(answer) == (400, "malformed_json"), text
        long = {"text": "x" * settings.server.max_body_bytes}
        assert (await client.post(f"/v1/events/{first}/edit", {"payload": long})).status_code == 413
        tampered = events.update().where(events.c.id == changed).values(body=b"{}")
        await client.up.receiver.database.write(lambda connection: connection.execute(tampered).rowcount)
        assert await refused(changed, {"n": 1}) == (409, "not_replayable")
        assert len(query(client.up.receiver.database, events)) == before
        assert query(client.up.receiver.database, audit_entries) == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "d": 3}}, ["a.b", "a.d"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a.b"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
    ],
)
def test_fields_that_differ(before: Any, after: Any, changed: list[str]) -> None:
    assert changed_fields(before, after) == changed
