"""The comments of a stream that say up to where everything was sent."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from receiver import Settings
from receiver.web.api import stream as stream_module
from tests.integration.api_support import event_number
from tests.integration.intake_support import configured
from tests.integration.test_api_stream import site
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, handlers={}, store={"url": address_of(store)})


def position(comment: str) -> str:
    """The event that a comment names as the position."""
    name, id, time = comment.split()
    assert name == "position"
    assert datetime.fromisoformat(time).tzinfo is not None
    return id


async def test_a_stream_says_where_it_begins(settings: Settings) -> None:
    async with site(settings) as at:
        async with at.follow("seconds=0&after=" + "evt_" + "f" * 32) as stream:
            assert position(stream.begin["comment"]) == "evt_" + "0" * 32  # before all
        await at.api_client.add(1, 2)
    async with site(settings) as at:
        async with at.follow() as stream:
            assert position(stream.begin["comment"]) == event_number(2)
            await at.api_client.add(3)
            assert await stream.ids(1) == [event_number(3)]
        async with at.follow(f"after={event_number(1)}&seconds=0") as stream:
            assert position(stream.begin["comment"]) == event_number(1)
            assert await stream.rest() == [event_number(2), event_number(3)]


async def test_who_waits_for_other_events_hears_something_and_gets_the_position(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(settings) as at:
        await at.api_client.add(1)
        async with at.follow("type=job.failed") as stream:
            monkeypatch.setattr(stream_module, "KEEP_ALIVE_SECONDS", 0.0)  # less than between any two events
            await at.api_client.add(2)
            at.api_client.up.receiver.feed.wake()
            while position((await stream.message())["comment"]) != event_number(2):
                pass
