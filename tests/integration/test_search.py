"""Search over the private API: jobs and events by metadata and time, events by the errors of their dead runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, text

from receiver import Settings
from receiver.simulator import Simulator
from receiver.store.event_pages import Filter
from receiver.store.views import list_runs
from tests.integration.api_support import T0, Api, api, problem
from tests.integration.intake_support import Lines, completed, configured
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

SPEECH = {"source": "aitts", "text": "Hello world", "voice": "alloy"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim


@pytest.fixture
def settings(tmp_path: Path, store: Store, sim: Simulator) -> Settings:
    source = {
        "base_url": sim.base_urls["aitts"], "api_key": sim.api_keys["aitts"], "allow_private_addresses": True,
        "poll": {"requests_per_second": 1000},
    }  # fmt: skip
    tables: dict[str, Any] = {"store": {"url": address_of(store)}, "search": {"metadata": ["customer", "project"]}}
    return configured(tmp_path, source=source, **tables)


async def found(client: Api, path: str) -> list[str]:
    return [item["job_id"] for item in (await client.json(path))["items"]]


async def test_a_delivery_is_found_by_the_metadata_that_it_returns(settings: Settings) -> None:
    async with api(settings) as client:
        for job, metadata in (("a", {"customer": "Smith & Sons", "project": 7}), ("b", {"customer": "acme"})):
            assert (await client.up.post(completed(job, metadata=metadata))).status_code == 202
        one = f"metadata={quote('customer=Smith & Sons')}"
        assert await found(client, f"/v1/events?{one}") == ["a"]
        assert await found(client, f"/v1/events?{one}&metadata=project=7") == ["a"]
        assert await found(client, f"/v1/events?{one}&metadata=project%3D8") == []
        assert await found(client, "/v1/events?metadata=customer=acme&source=aitts&type=job.completed") == ["b"]
        assert await found(client, "/v1/events?metadata=customer=acme&type=job.failed") == []


async def test_a_submitted_job_is_found_at_once_and_its_event_when_it_has_ended(
    settings: Settings, sim: Simulator
) -> None:
    async with api(settings) as client:
        answer = await client.post("/v1/speech", SPEECH | {"metadata": {"customer": "acme", "project": True}})
        job = answer.json()
        assert (await client.post("/v1/speech", SPEECH)).status_code == 202
        query = "metadata=customer=acme&metadata=project=true"
        assert await found(client, f"/v1/jobs?{query}") == [job["job_id"]]
        assert await found(client, f"/v1/jobs?{query}&state=failed") == []
        assert await found(client, f"/v1/jobs?job_id={job['job_id']}") == [job["job_id"]]
        assert await found(client, f"/v1/jobs?job_id={job['id']}&until=2020-01-01T00:00:00Z") == []
        assert await found(client, f"/v1/events?{query}") == []
        body = completed(job["job_id"], metadata={"customer": "acme", "project": True})
        assert (await client.up.post(body)).status_code == 202
        assert await found(client, f"/v1/events?{query}") == [job["job_id"]]


@pytest.mark.parametrize(
    ("query", "reason", "what"),
    [
        ("metadata=custmer=a", "metadata_not_indexed", "did you mean 'customer'?"),
        ("metadata=other=a", "metadata_not_indexed", "add it to search.metadata"),
        ("metadata=customer", "invalid_request", ""),
        ("metadata==a", "invalid_request", ""),
        (f"metadata=customer={'x' * 257}", "invalid_request", ""),
        ("&".join(f"metadata=customer={n}" for n in range(5)), "invalid_request", "at most 4"),
        ("since=yesterday", "invalid_request", "2026-11-26T08:00:00Z"),
        ("since=1700000000", "invalid_request", "2026-11-26T08:00:00Z"),
        ("source=a&source=b", "invalid_request", "more than once"),
    ],
)
async def test_a_filter_that_cannot_be_asked_for_is_refused(
    settings: Settings, query: str, reason: str, what: str
) -> None:
    async with api(settings) as client:
        for path in ("events", "jobs"):
            answer = await client.get(f"/v1/{path}?{query}")
            assert problem(answer) == (422 if reason == "metadata_not_indexed" else 400, reason)
            assert what in answer.text
            assert answer.json()["errors"][0]["where"].startswith(f"query.{query.partition('=')[0]}")


async def test_a_key_that_was_configured_later_is_refused_until_all_is_indexed(
    settings: Settings, lines: Lines
) -> None:
    async with api(settings.model_copy(update={"search": type(settings.search)()})) as client:
        assert (await client.up.post(completed("a", metadata={"customer": "acme"}))).status_code == 202
        answer = await client.get("/v1/events?metadata=customer=acme")
        assert problem(answer) == (422, "metadata_not_indexed")
    async with api(settings) as client:
        assert [line["keys"] for line in lines.of("search.not_indexed")] == [["customer", "project"]]
        answer = await client.get("/v1/events?metadata=customer=acme")
        assert problem(answer) == (422, "metadata_not_indexed")
        assert "`tts-receiver db index-metadata` does that" in answer.json()["detail"]


async def test_events_are_found_by_the_time_of_their_reception(settings: Settings) -> None:
    async with api(settings) as client:
        for number in (1, 2, 3):
            await client.add(number, event_id=f"evt_{int((T0 + number) * 1000):012x}{number:020x}")
        since, until = "2027-01-15T08:00:02Z", quote("2027-01-15T09:00:03+01:00")
        assert await found(client, f"/v1/events?since={since}") == ["job-3", "job-2"]
        assert await found(client, f"/v1/events?until={until}") == ["job-2", "job-1"]
        assert await found(client, f"/v1/events?since={since}&until={until}") == ["job-2"]


async def test_events_are_found_by_words_of_their_dead_runs_page_by_page(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, 2, 3, handlers=("nobody",))

        def fail(connection: Connection) -> None:
            for row in list_runs(connection, Filter(), 9):
                error = "other" if row["job_id"] == "job-2" else f"Connection refused by {row['job_id']}"
                connection.execute(
                    text("UPDATE runs SET state = 'dead', error = :error WHERE event_id = :event"),
                    {"error": error, "event": row["event_id"]},
                )

        await client.up.receiver.database.write(fail)
        page = await client.json(f"/v1/events?limit=1&error_text={quote('REFUSED connection')}")
        assert [item["job_id"] for item in page["items"]] == ["job-3"]
        assert page["examined"] == 1
        page = await client.json(f"/v1/events?error_text=refused&cursor={page['next']}")
        assert [item["job_id"] for item in page["items"]] == ["job-1"]
        assert (page["examined"], page["next"]) == (2, None)
        assert (await client.json("/v1/events"))["examined"] is None
        assert await found(client, "/v1/events?error_text=refused&state=done") == []
        assert problem(await client.get("/v1/events?error_text=")) == (400, "invalid_request")


async def test_metadata_is_an_array_of_texts_in_the_document(settings: Settings) -> None:
    async with api(settings) as client:
        document = await client.json("/openapi.json")
        for path in ("/v1/events", "/v1/jobs"):
            parameters = {of["name"]: of for of in document["paths"][path]["get"]["parameters"]}
            schema = parameters["metadata"]["schema"]
            assert (schema["type"], schema["items"]["type"], schema["maxItems"]) == ("array", "string", 4)
            assert json.dumps(parameters["since"]["schema"]) == '{"format": "date-time", "type": "string"}'
