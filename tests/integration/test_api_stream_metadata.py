"""Streams that want events with some metadata: they get those that a list with the same filter has, and miss none."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest

from receiver import Settings
from receiver.store import metadata_index
from tests.integration.api_support import deliver, problem
from tests.integration.intake_support import Lines, completed, configured
from tests.integration.test_api_stream import Site, site
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

START = "evt_" + "0" * 32
ACME = "metadata=customer=acme"


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    search = {"metadata": ["customer", "project"]}
    return configured(tmp_path, handlers={}, store={"url": address_of(store)}, search=search)


async def delivered(at: Site, job: str, **metadata: object) -> str:
    return await deliver(at.api_client.up, completed(job, metadata=metadata))


async def test_new_events_and_earlier_ones_come_if_they_have_all_pairs(settings: Settings) -> None:
    async with site(settings) as at:
        first = await delivered(at, "a", customer="acme", project=7)
        await delivered(at, "b", customer="globex", project=7)
        async with at.follow(f"{ACME}&after={START}") as stream, at.follow(f"{ACME}&metadata=project=7") as both:
            assert await stream.ids(1) == [first]
            await deliver(at.api_client.up, completed("c"))
            await delivered(at, "d", customer="globex")
            second = await delivered(at, "e", customer="acme")
            third = await delivered(at, "f", customer="acme", project=7)
            assert await stream.ids(2) == [second, third]
            assert await both.ids(1) == [third]
        async with at.follow(f"seconds=0&after={START}&{ACME}&type=job.failed") as stream:
            assert await stream.rest() == []
        async with at.follow(f"seconds=0&after={START}&{ACME}") as stream:
            listed = (await at.api_client.json(f"/v1/events?{ACME}"))["items"]
            assert await stream.rest() == [first, second, third]
            assert {item["id"] for item in listed} == {first, second, third}


async def test_a_stream_far_behind_gets_each_of_many(settings: Settings) -> None:
    async with site(settings) as at:
        wanted = []
        for number in range(250):
            id = await delivered(at, f"job_{number}", customer=("acme", "globex", "Smith & Sons")[number % 3])
            wanted += [id] if number % 3 == 2 else []
        async with at.follow(f"seconds=0&after={START}&metadata={quote('customer=Smith & Sons')}") as stream:
            assert await stream.rest() == wanted


async def test_a_key_that_is_not_indexed_is_the_error_of_the_list(settings: Settings) -> None:
    async with site(settings) as at:
        for query in ("metadata=custmer=acme", "metadata=voice=alloy"):
            answers = [await at.api_client.get(f"/v1/{what}?{query}") for what in ("events", "stream")]
            assert [problem(answer) for answer in answers] == [(422, "metadata_not_indexed")] * 2
            assert answers[0].json()["detail"] == answers[1].json()["detail"]


async def test_a_stream_ends_rather_than_miss_an_event_that_is_not_indexed(settings: Settings, lines: Lines) -> None:
    """Another process, with another configuration, has forgotten the key: from then on it is not indexed."""
    async with site(settings) as at:
        database = at.api_client.up.receiver.database
        async with at.follow(ACME) as stream:
            before = await delivered(at, "a", customer="acme")
            assert await stream.ids(1) == [before]
            await database.write(metadata_index.declare_keys, ["project"], time.time(), time.time())
            await delivered(at, "b", customer="acme")
            assert await stream.rest() == []
        [line] = lines.of("stream.metadata_not_indexed")
        assert "customer" in line["detail"]
        again = await at.api_client.get(f"/v1/stream?{ACME}&after={before}")
        assert problem(again) == (422, "metadata_not_indexed")
