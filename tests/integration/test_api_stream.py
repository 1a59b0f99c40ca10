"""The stream of new events, over a real socket: each once, in the order of the commits, and none lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from receiver import Settings
from receiver.store.database import Database
from receiver.store.schema import events
from receiver.web.api import feed
from tests.integration.api_support import HOST, Api, api, deliver, event_number, listening, problem
from tests.integration.intake_support import completed, configured, logged
from tests.patience import PATIENCE
from tests.stores import Store, address_of, execute, insert_rows, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, handlers={}, store={"url": address_of(store)})


@dataclass
class Followed:
    """An open stream."""

    answer: httpx.Response
    lines: AsyncIterator[str]
    begin: dict[str, str] = field(default_factory=dict)

    async def message(self) -> dict[str, str]:
        """The next message; a comment has the one field `comment`."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self.lines:
                if not line and fields:
                    return fields
                name, _, value = line.partition(":")
                fields[name or "comment"] = value.removeprefix(" ")
        raise EOFError

    async def ids(self, count: int) -> list[str]:
        """The ids of the next events."""
        found: list[str] = []
        while len(found) < count:
            message = await self.message()
            if "id" in message:
                found.append(message["id"])
        return found

    async def rest(self) -> list[str]:
        """Ids until the stream ends."""
        found = []
        try:
            while True:
                message = await self.message()
                found += [message["id"]] if "id" in message else []
        except EOFError:
            return found


@dataclass
class Site:
    """A receiver whose private side listens."""

    api_client: Api
    base: str
    client: httpx.AsyncClient

    @asynccontextmanager
    async def follow(self, query: str = "", **headers: str) -> AsyncIterator[Followed]:
        """A stream, once it has begun."""
        async with self.client.stream("GET", f"{self.base}/v1/stream?{query}", headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            followed = Followed(answer, answer.aiter_lines())
            followed.begin = await followed.message()
            assert "comment" in followed.begin
            yield followed


@asynccontextmanager
async def site(settings: Settings) -> AsyncIterator[Site]:
    async with (
        api(settings) as api_client,
        listening(api_client.up.receiver.private) as base,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        try:
            yield Site(api_client, base, client)
        finally:
            api_client.up.receiver.drain()


async def test_an_event_comes_as_soon_as_it_is_committed(settings: Settings) -> None:
    async with site(settings) as at, at.follow() as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.answer.headers["cache-control"] == "no-store"
        id = await deliver(at.api_client.up, completed("job_1"))
        message = await stream.message()
        assert (message["id"], message["event"]) == (id, "job.completed")
        assert json.loads(message["data"]) == (await at.api_client.json("/v1/events"))["items"][0]


async def test_a_commit_of_this_process_is_not_waited_for(settings: Settings) -> None:
    async with api(settings) as api_client:
        api_client.up.receiver.feed._quiet_seconds = lambda: 3600.0  # type: ignore[method-assign]
        async with listening(api_client.up.receiver.private) as base, httpx.AsyncClient(timeout=PATIENCE) as client:
            async with Site(api_client, base, client).follow() as stream:
                ids = [await deliver(api_client.up, completed(f"job_{number}")) for number in range(3)]
                assert await stream.ids(3) == ids
            api_client.up.receiver.drain()


def copy_event(database: Database, *numbers: int) -> None:
    """Another process stores events like the one that is there."""
    [there] = query(database, events)
    insert_rows(database, events, *(there | {"id": event_number(n), "key": str(n)} for n in numbers))


async def test_events_of_another_process_come_too(settings: Settings) -> None:
    async with site(settings) as at:
        await at.api_client.add(1)
        async with at.follow() as stream:
            copy_event(at.api_client.up.receiver.database, 2)
            at.api_client.up.receiver.feed.wake()  # where processes announce their commits
            assert await stream.ids(1) == [event_number(2)]


async def test_only_events_of_a_source_or_type_come_if_asked_for(settings: Settings) -> None:
    async with site(settings) as at:
        await at.api_client.add(1, 2)
        await at.api_client.add(3, source="other", key_id="key-1")
        await at.api_client.add(4, type="job.failed")
        after = f"after={event_number(1)}&seconds=0"
        for wanted, numbers in (("source=other", [3]), ("type=job.failed", [4]), ("source=aitts", [2, 4])):
            async with at.follow(f"{after}&{wanted}") as stream:
                assert await stream.rest() == [event_number(number) for number in numbers]


async def test_who_comes_again_gets_what_was_committed_since_in_the_order_of_the_commits(settings: Settings) -> None:
    """Ids are made before the commit: an event can appear behind one whose id is later."""
    async with site(settings) as at:
        await at.api_client.add(10)
        async with at.follow() as stream:
            await at.api_client.add(20, 15)
            assert await stream.ids(2) == [event_number(20), event_number(15)]
        await at.api_client.add(12, 30, 18)
        async with at.follow("seconds=0", **{"last-event-id": event_number(15)}) as stream:
            assert await stream.rest() == [event_number(12), event_number(30), event_number(18)]
        async with at.follow(f"seconds=0&after={event_number(20)}") as stream:
            assert await stream.rest() == [event_number(number) for number in (15, 12, 30, 18)]


async def test_an_event_that_was_pruned_is_still_a_place_to_go_on_from(settings: Settings) -> None:
    async with site(settings) as at:
        await at.api_client.add(1, 2, 3, 4)
        execute(at.api_client.up.receiver.database, "DELETE FROM events WHERE id <= :id", id=event_number(2))
        async with at.follow(f"seconds=0&after={event_number(2)}") as stream:
            assert await stream.rest() == [event_number(3), event_number(4)]
        async with at.follow(f"seconds=0&after={event_number(9)}") as stream:
            assert await stream.rest() == []
        execute(at.api_client.up.receiver.database, "DELETE FROM events")
        await at.api_client.add(5)  # the first row again
        async with at.follow(f"seconds=0&after={event_number(4)}") as stream:
            assert await stream.rest() == [event_number(5)]


async def test_a_stream_goes_on_when_the_newest_event_was_pruned(settings: Settings, store_kind: str) -> None:
    async with site(settings) as at:
        await at.api_client.add(1)
        async with at.follow() as stream:
            await at.api_client.add(2)
            assert await stream.ids(1) == [event_number(2)]
            execute(at.api_client.up.receiver.database, "DELETE FROM events")
            await at.api_client.add(3)
            at.api_client.up.receiver.feed.wake()
            if store_kind == "sqlite":  # the rows have new numbers: the stream ends
                assert await stream.rest() == []
            else:
                assert await stream.ids(1) == [event_number(3)]
        async with at.follow("seconds=0", **{"last-event-id": event_number(2)}) as stream:
            assert await stream.rest() == [event_number(3)]


async def test_a_client_that_reads_slowly_loses_nothing_and_takes_no_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_QUEUED", 5)
    monkeypatch.setattr(feed, "PAGE_SIZE", 7)
    async with api(settings) as api_client:
        news = api_client.up.receiver.feed
        place = await news.subscribe(None)
        ids = await api_client.add(*range(1, 40))
        while not place.behind:
            news.wake()
            await asyncio.sleep(0)
            await api_client.up.receiver.database.read(lambda connection: None)
        assert len(place.queue) <= 5
        found: list[str] = []
        async for item in news.follow(place, lambda: 0.0 if len(found) >= 39 else PATIENCE):
            found.extend([item.row["id"]] if item is not None else [])
        assert found == ids
        news.unsubscribe(place)


async def test_many_streams_share_one_reader_and_each_gets_everything(settings: Settings) -> None:
    async with api(settings) as api_client:
        news = api_client.up.receiver.feed
        places = [await news.subscribe(None) for _ in range(20)]
        reader = news._reader

        async def all_of(place: feed.Stream) -> list[str]:
            found: list[str] = []
            async for item in news.follow(place, lambda: 0.0 if len(found) == 30 else PATIENCE):
                found.extend([item.row["id"]] if item is not None else [])
            return found

        async def commit() -> list[str]:
            made = []
            for number in range(30):
                made += await api_client.add(100 - number)
                news.wake()
            return made

        ids, *got = await asyncio.gather(commit(), *(all_of(place) for place in places))
        assert got == [ids] * 20
        assert news._reader is reader
        for place in places:
            news.unsubscribe(place)


async def test_joining_while_events_are_committed_loses_none_and_repeats_none(settings: Settings) -> None:
    async with api(settings) as api_client:
        news = api_client.up.receiver.feed
        await api_client.add(1000)

        async def commit() -> list[str]:
            made = []
            for number in range(40):
                made += await api_client.add(1001 + number)
                news.wake()
            return made

        async def subscribe(turns: int) -> list[str]:
            for _ in range(turns):
                await api_client.up.receiver.database.read(lambda connection: None)
            place = await news.subscribe(event_number(1000))
            found: list[str] = []
            async for item in news.follow(place, lambda: 0.0 if len(found) >= 40 else PATIENCE):
                found.extend([item.row["id"]] if item is not None else [])
            news.unsubscribe(place)
            return found

        ids, *got = await asyncio.gather(commit(), *(subscribe(turns) for turns in range(0, 40, 4)))
        assert got == [ids] * 10


async def test_nothing_new_is_told_by_a_comment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from receiver.web.api import stream as module

    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.01)
    async with site(settings) as at, at.follow() as stream:
        assert await stream.message() == {"comment": "nothing new"}
        await at.api_client.add(1)
        assert await stream.ids(1) == [event_number(1)]


async def test_streams_end_at_once_with_the_receiver(settings: Settings) -> None:
    async with site(settings) as at, at.follow() as stream, at.follow() as other:
        at.api_client.up.receiver.drain()
        assert await stream.rest() == []
        assert await other.rest() == []
        assert problem(await at.client.get(f"{at.base}/v1/stream")) == (503, "stopping")


async def test_a_client_that_does_not_read_does_not_hold_up_the_end(settings: Settings) -> None:
    async with api(settings) as api_client:
        await api_client.add(1)
        copy_event(api_client.up.receiver.database, *range(2, 30_000))
        async with asyncio.timeout(PATIENCE):
            async with listening(api_client.up.receiver.private) as base:
                host, port = base.removeprefix("http://").split(":")
                reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
                writer.write(f"GET /v1/stream?after={event_number(1)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                (place,) = api_client.up.receiver.feed._streams
                before = None
                while before != place.cursor:  # until the connection takes no more
                    before = place.cursor
                    for _ in range(200):
                        await api_client.up.receiver.database.read(lambda connection: None)
                assert 1 < place.cursor.row < 29_999
                api_client.up.receiver.drain()
            assert not api_client.up.receiver.feed.active
        writer.close()


async def test_a_fault_ends_every_stream_rather_than_leave_a_gap(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with logged() as lines:
        async with site(settings) as at, at.follow() as stream:
            monkeypatch.setattr(feed.feed, "events_after", breaks)
            at.api_client.up.receiver.feed.wake()
            assert await stream.rest() == []
            monkeypatch.undo()
            await at.api_client.add(1)
            async with at.follow(f"seconds=0&after={'evt_' + '0' * 32}") as again:
                assert await again.rest() == [event_number(1)]
        assert lines.of("stream.broken")


async def test_a_type_with_line_breaks_makes_no_lines_of_its_own(settings: Settings) -> None:
    async with site(settings) as at:
        await at.api_client.add(1, type="one\nid: evil\r\ndata: {}")
        async with at.follow(f"seconds=0&after={'evt_' + '0' * 32}") as stream:
            message = await stream.message()
            assert (message["id"], message["event"]) == (event_number(1), "one id: evil data: {}")


async def test_there_are_only_so_many_streams(settings: Settings) -> None:
    async with site(settings) as at:
        at.api_client.up.receiver.feed._max_streams = 2
        async with at.follow() as first, at.follow():
            answer = await at.client.get(f"{at.base}/v1/stream")
            assert problem(answer) == (503, "too_many_streams")
            assert answer.headers["retry-after"] == "10"
            assert first.answer.status_code == 200
        async with asyncio.timeout(PATIENCE):
            while at.api_client.up.receiver.feed.active:  # until the server has seen that they are gone
                await at.api_client.up.receiver.database.read(lambda connection: None)
        async with at.follow("seconds=0") as stream:
            assert await stream.rest() == []


async def test_the_reader_ends_with_the_last_stream(settings: Settings) -> None:
    async with api(settings) as api_client:
        news = api_client.up.receiver.feed
        place = await news.subscribe(None)
        assert news._reader is not None
        news.unsubscribe(place)
        async with asyncio.timeout(PATIENCE):
            await news._reader
        assert not news.active


@pytest.mark.parametrize(
    ("query", "where"), [("after=nowhere", "query.after"), ("seconds=-1", "query.seconds"), ("from=1", "query.from")]
)
async def test_a_query_that_is_wrong_is_refused(settings: Settings, query: str, where: str) -> None:
    async with api(settings) as api_client:
        answer = await api_client.get(f"/v1/stream?{query}")
        assert problem(answer) == (400, "invalid_request")
        assert answer.json()["errors"][0]["where"] == where


async def test_a_last_id_that_is_none_of_ours_is_passed_over(settings: Settings) -> None:
    async with site(settings) as at:
        await at.api_client.add(1)
        async with at.follow("seconds=0", **{"last-event-id": "17"}) as stream:
            assert await stream.rest() == []
        async with at.follow(f"seconds=0&after={'evt_' + '0' * 32}", **{"last-event-id": "17"}) as stream:
            assert await stream.rest() == [event_number(1)]


async def test_the_head_of_a_stream_does_not_wait(settings: Settings) -> None:
    async with api(settings, base_url=HOST) as api_client:
        answer = await api_client.client.head("/v1/stream")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
