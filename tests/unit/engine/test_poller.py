"""The poller: paced, paused, fenced, and never ended by what goes wrong. Everything is real but the time.

A small server on loopback is the provider (it speaks miragic's language, which gives progress); the clock jumps from
one moment that somebody waits for to the next, and only when every poller stands still.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receiver.engine.poller import (
    LEASE_SECONDS,
    LIMIT_PAUSE_SECONDS,
    MOST_MISSES,
    REFUSED_PAUSE_SECONDS,
    Poller,
    PollSource,
)
from receiver.metrics import Metrics
from receiver.model.cadence import Cadence
from receiver.model.delivery import Delivery
from receiver.outbound import api
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.providers import PROVIDERS
from receiver.providers.wire import Account, Response, Status
from receiver.store import database as database_module
from receiver.store import inbox, jobs
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from tests.integration.engine_support import NOW, Signal, execute, fresh_store, metric, query
from tests.integration.intake_support import Lines, logged
from tests.integration.outbound_support import Asked, Say, Server, serving

pytestmark = pytest.mark.anyio

KEY = "an-api-key-0123456789"
UNPACED = 1e9
"""Requests per second that leave no gap a clock could show."""
CADENCE = Cadence(min_seconds=2.0, max_seconds=60.0, deadline_seconds=3600.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fresh_store(tmp_path / "receiver.db")


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(KEY,)) as lines:
        yield lines


class Clock:
    """Stands still until it is set; knows who waits on it until when."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._now = NOW
        self._waiting: list[tuple[asyncio.Event, float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        entry = (wake, self._now + seconds, asyncio.Event())
        self._waiting.append(entry)
        self._signal.notify()
        tasks = [asyncio.ensure_future(event.wait()) for event in (wake, entry[2])]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(entry)
            for task in tasks:
                task.cancel()

    def moments(self, wake: asyncio.Event | None = None) -> list[float]:
        """Until when somebody waits."""
        return [until for whose, until, _ in self._waiting if until > self._now and wake in (None, whose)]

    def set(self, now: float) -> None:
        self._now = now
        for _, until, passed in self._waiting:
            if until <= now:
                passed.set()


class Watched(Poller):
    """A poller of which a test can tell that it stands still."""

    busy = 0
    notify: Callable[[], None]

    async def _poll_one(self, claim: jobs.JobClaim) -> None:
        self.busy += 1
        try:
            await super()._poll_one(claim)
        finally:
            self.busy -= 1
            self.notify()

    def stands_still(self, clock: Clock) -> bool:
        """Whether all that it does is wait for the clock."""
        return len(clock.moments(self._stop)) == max(1, self.busy)


def status(word: str, **data: Any) -> Say:
    """miragic's answer to a status request."""
    return Say(200, {"Content-Type": "application/json"}, json.dumps({"data": {"status": word, **data}}).encode())


PENDING = status("PENDING")
COMPLETED = status("COMPLETED", audioUrl="https://storage.example/a.mp3")
FAILED = status("FAILED", errorMessage="No such voice.")


def job_of(asked: Asked) -> str:
    return asked.path.rpartition("/")[2]


@dataclass
class Polling:
    """Pollers on one store, their provider, and what a test sees and does."""

    path: Path
    signal: Signal
    clock: Clock
    server: Server
    stack: AsyncExitStack
    metrics: Metrics = field(default_factory=Metrics)
    pollers: list[Watched] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    woken: int = 0
    polls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each job was asked about."""

    def answers(self, behave: Callable[[str], Any]) -> None:
        """The provider answers as `behave` says, which is given the job id."""

        def answer(asked: Asked) -> Any:
            self.polls[job_of(asked)].append(self.clock.now())
            self.signal.notify()
            return behave(job_of(asked))

        self.server.behave = answer

    @property
    def times(self) -> list[float]:
        """When anything was asked, in seconds from the start."""
        return sorted(at - NOW for times in self.polls.values() for at in times)

    async def poller(
        self,
        *,
        source: str = "miragic",
        rate: float = UNPACED,
        cadence: Cadence = CADENCE,
        provider: Any = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        private: bool = True,
    ) -> Watched:
        """Another process's poller of this store, started."""
        database = Database(self.path)
        database.start()
        self.databases.append(database)
        self.stack.callback(database.close)
        about = PollSource(
            source,
            provider or PROVIDERS["miragic"],
            Account(base_url or self.server.url("").rstrip("/"), KEY),
            cadence,
            rate,
        )
        poller = Watched(
            database,
            about,
            Client(AddressGuard(private), timeouts=timeouts),
            handlers_for=lambda word: ("notes",) if word.startswith("job.") else (),
            wake=self._wake,
            metrics=self.metrics,
            clock=self.clock,
            dice=random.Random(len(self.pollers)),
        )
        poller.notify = self.signal.notify
        self.pollers.append(poller)
        self.stack.push_async_callback(poller.stop)
        poller.start()
        return poller

    def _wake(self) -> None:
        self.woken += 1

    def watch(self, *ids: str, source: str = "miragic", deadline: float = 3600.0) -> None:
        """As the command does."""
        with self.writing() as database:
            for job in ids:
                now = self.clock.now()
                assert database.transact(jobs.watch, source, job, now, now, now + deadline)

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """Another process's store."""
        database = Database(self.path)
        try:
            yield database
        finally:
            database.close()

    async def settle(self) -> None:
        """Return when every poller waits for the clock."""
        await self.signal.until(lambda: all(poller.stands_still(self.clock) for poller in self.pollers))

    async def until(self, predicate: Callable[[], object]) -> None:
        await self.signal.until(predicate)

    async def jump(self, seconds: float) -> None:
        """So much later at once, and all done that is due then."""
        await self.settle()
        self.clock.set(self.clock.now() + seconds)
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """So much later, by every moment that somebody waits for."""
        end = self.clock.now() + seconds
        await self.settle()
        while (moment := min(self.clock.moments())) <= end:
            self.clock.set(moment)
            await self.settle()
        self.clock.set(end)

    def job(self, job_id: str = "a", source: str = "miragic") -> dict[str, Any]:
        [row] = query(self.path, "SELECT * FROM jobs WHERE job_id = ? AND source = ?", job_id, source)
        return row

    def states(self) -> Counter[str]:
        return Counter(row["state"] for row in query(self.path, "SELECT state FROM jobs"))

    def events(self) -> list[dict[str, Any]]:
        rows = query(self.path, "SELECT * FROM events ORDER BY id")
        return [row | {"payload": json.loads(row["payload"])} for row in rows]

    def event(self) -> dict[str, Any]:
        [event] = self.events()
        return event

    def runs(self) -> list[tuple[str, str, str]]:
        return [(row["event_id"], row["handler"], row["state"]) for row in query(self.path, "SELECT * FROM runs")]

    def pause(self) -> tuple[float, str] | None:
        """For how long from the start, and why, the source is paused."""
        rows = query(self.path, "SELECT * FROM source_state WHERE source = 'miragic'")
        return (rows[0]["pause_until"] - NOW, rows[0]["reason"]) if rows else None


@pytest.fixture
async def up(store: Path) -> AsyncIterator[Polling]:
    async with polling(store) as it:
        yield it


@asynccontextmanager
async def polling(store: Path) -> AsyncIterator[Polling]:
    signal = Signal()
    async with serving() as server, AsyncExitStack() as stack:
        yield Polling(store, signal, Clock(signal), server, stack)


# the ends


@pytest.mark.parametrize(
    ("say", "state", "type"), [(COMPLETED, "completed", "job.completed"), (FAILED, "failed", "job.failed")]
)
async def test_an_end_that_is_seen_becomes_an_event_with_its_runs(up: Polling, say: Say, state: str, type: str) -> None:
    up.watch("a")
    up.answers(lambda job: say)
    await up.poller()
    await up.settle()
    event, row = up.event(), up.job()
    assert (event["type"], event["origin"], event["status"], event["job_id"]) == (type, "poll", "accepted", "a")
    assert (event["body"], event["conflict"]) == (say.body, None)
    assert (row["state"], row["event_id"], row["polls"], row["ended_at"]) == (state, event["id"], 1, NOW)
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert up.woken == 1
    line = f'tts_receiver_events_total{{origin="poll",source="miragic",type="{type}"}}'
    assert metric(up.metrics, line) == 1
    assert metric(up.metrics, 'tts_receiver_polls_total{outcome="ended",source="miragic"}') == 1
    await up.jump(600)
    assert up.times == [0]


async def test_a_job_that_another_process_began_to_watch_is_seen_within_a_second(up: Polling) -> None:
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.settle()
    up.watch("a")
    await up.jump(1)
    assert up.states() == {"completed": 1}


# how often


async def test_the_first_poll_is_at_once_and_the_next_ever_rarer_up_to_the_cap(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: PENDING)
    await up.poller()
    await up.pass_time(400)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert up.times[0] == 0
    assert all(2 - 1e-3 <= gap <= 60 + 1e-3 for gap in gaps)
    assert gaps[0] <= 2.4 + 1e-3
    assert gaps[-1] > 35
    assert len(gaps) < 20
    assert (up.job()["polls"], up.job()["state"]) == (len(up.times), "watching")


async def test_progress_says_when_to_ask_again(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: status("PENDING", progress=50))
    await up.poller()
    await up.settle()
    await up.jump(40)  # asked now, after 40 seconds and at 50 %: 40 more are to come, half of them is waited
    assert up.job()["progress"] == 50
    assert up.job()["next_poll_at"] - up.clock.now() == pytest.approx(20, rel=0.21)


@pytest.mark.parametrize("rate", [0.01, 0.5, 2.0])
async def test_the_requests_per_second_are_never_exceeded_whatever_is_due(up: Polling, rate: float) -> None:
    ids = [f"job-{number}" for number in range(12)]
    up.watch(*ids)
    up.answers(lambda job: PENDING if len(up.polls[job]) == 1 else COMPLETED)
    await up.poller(rate=rate)
    await up.settle()
    while up.states() != {"completed": 12}:
        assert up.clock.now() < NOW + 24 / rate + 100
        await up.pass_time(5 / rate)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert len(up.times) == 24
    assert min(gaps) >= 1 / rate - 1e-3
    assert len(up.events()) == 12


async def test_a_job_whose_webhook_was_first_does_not_use_up_a_turn(up: Polling) -> None:
    up.watch("told", "open")
    with up.writing() as database:
        database.transact(inbox.accept, [webhook("told")])
    up.answers(lambda job: COMPLETED)
    await up.poller(rate=0.1)
    await up.settle()
    assert up.states() == {"completed": 2}
    assert up.times == [0]


# webhook and poll


def webhook(job: str, type: str = "job.completed") -> Delivery:
    return Delivery(
        event_id=f"evt_{1:032x}",
        source="miragic",
        type=type,
        key=job,
        job_id=job,
        origin="webhook",
        payload='{"status":"completed"}',
        body=b"{}",
        headers="[]",
        key_id=None,
        skew=0.0,
        received_at=NOW,
        handlers=("notes",),
    )


@pytest.mark.parametrize(("type", "state"), [("job.completed", "completed"), ("job.failed", "failed")])
async def test_after_a_webhook_nothing_is_asked_any_more(up: Polling, type: str, state: str) -> None:
    up.watch("a")
    with up.writing() as database:
        [receipt] = database.transact(inbox.accept, [webhook("a", type)])
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.settle()
    row, event = up.job(), up.event()
    assert (row["state"], row["event_id"], row["polls"]) == (state, receipt.event_id, 0)
    assert (event["origin"], event["duplicates"]) == ("webhook", 0)
    assert up.times == []
    assert up.woken == 0


async def test_a_webhook_while_the_poll_is_on_its_way_makes_the_event_and_the_poll_a_duplicate(up: Polling) -> None:
    up.watch("a")
    receipts: list[Receipt] = []

    def behave(job: str) -> Say:
        with up.writing() as database:
            receipts.extend(database.transact(inbox.accept, [webhook("a")]))
        return COMPLETED

    up.answers(behave)
    await up.poller()
    await up.settle()
    event = up.event()
    assert event["id"] == receipts[0].event_id == up.job()["event_id"]
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("webhook", 1, None)
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert up.job()["state"] == "completed"


async def test_a_webhook_after_the_poll_is_a_counted_duplicate_and_no_conflict(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.settle()
    with up.writing() as database:
        [receipt] = database.transact(inbox.accept, [webhook("a")])
    event = up.event()
    assert receipt.duplicate
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("poll", 1, None)
    assert len(up.runs()) == 1


# giving up


async def test_a_job_that_does_not_end_in_time_is_expired_and_its_handlers_are_told(up: Polling) -> None:
    up.watch("a", deadline=100)
    up.answers(lambda job: PENDING)
    await up.poller()
    await up.pass_time(99)
    assert (up.states(), up.events()) == ({"watching": 1}, [])
    asked = len(up.times)
    await up.pass_time(2)
    event, row = up.event(), up.job()
    assert (row["state"], row["event_id"], row["polls"]) == ("expired", event["id"], asked)
    assert row["ended_at"] - NOW == pytest.approx(100, abs=0.01)
    assert (event["type"], event["payload"]["error"]["code"]) == ("job.failed", "POLL_TIMEOUT")
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert len(up.times) == asked
    assert up.woken == 1


async def test_a_provider_that_never_answers_does_not_put_off_the_deadline(up: Polling) -> None:
    up.watch("a", deadline=100)
    up.answers(lambda job: Say(500))
    await up.poller()
    await up.pass_time(101)
    assert up.states() == {"expired": 1}
    assert up.event()["payload"]["error"]["code"] == "POLL_TIMEOUT"


async def test_a_job_that_the_provider_does_not_know_five_times_is_given_up(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: Say(404))
    await up.poller()
    await up.settle()
    for miss in range(1, MOST_MISSES):
        assert (up.job()["misses"], up.job()["state"]) == (miss, "watching")
        await up.jump(60)
    assert (up.job()["state"], up.job()["polls"]) == ("expired", MOST_MISSES)
    assert up.event()["payload"]["error"]["code"] == "JOB_UNKNOWN"
    assert len(up.runs()) == 1
    await up.jump(600)
    assert len(up.times) == MOST_MISSES


async def test_a_job_that_is_known_after_four_times_goes_on(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: PENDING if len(up.polls[job]) % MOST_MISSES == 0 else Say(404))
    await up.poller()
    await up.settle()
    for _ in range(2 * MOST_MISSES - 1):
        await up.jump(60)
    assert (up.job()["state"], up.job()["misses"], up.events()) == ("watching", 0, [])
    assert len(up.times) == 2 * MOST_MISSES


# what providers say instead


async def test_a_refused_key_pauses_the_source_and_says_why(up: Polling, lines: Lines) -> None:
    up.watch("a", "b")
    up.answers(lambda job: Say(401))
    await up.poller(rate=1.0)
    await up.pass_time(REFUSED_PAUSE_SECONDS - 1)
    assert up.times == [0]
    assert up.pause() == (REFUSED_PAUSE_SECONDS, "provider_unauthorized")
    first, second = sorted((up.job("a"), up.job("b")), key=lambda row: -row["polls"])
    assert "the API key is wrong" in first["error"]
    assert (second["polls"], second["error"], second["state"]) == (0, None, "watching")
    [line] = lines.of("poll.failed")
    assert (line["reason"], line["source"], line["level"]) == ("provider_unauthorized", "miragic", "warning")
    assert KEY not in lines.text
    up.answers(lambda job: COMPLETED)  # a person has acted
    await up.pass_time(10)
    assert up.states() == {"completed": 2}


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "30"}, 30.0), ({}, LIMIT_PAUSE_SECONDS), ({"Retry-After": "200"}, 200.0)]
)
async def test_too_many_requests_pause_the_source_as_long_as_it_says_for_every_process(
    up: Polling, headers: dict[str, str], seconds: float
) -> None:
    ids = ("a", "b", "c", "d")
    up.watch(*ids)
    up.answers(lambda job: Say(429, headers))
    await up.poller(rate=1.0)
    await up.settle()
    await up.poller()
    await up.settle()
    await up.pass_time(seconds - 0.5)
    assert up.times == [0]
    assert up.pause() == (seconds, "provider_rate_limited")
    assert sorted(up.job(job)["polls"] for job in ids) == [0, 0, 0, 1]
    up.answers(lambda job: COMPLETED)
    await up.pass_time(10)
    assert up.states() == {"completed": 4}
    assert min(up.times[1:]) >= seconds


async def test_a_maintenance_that_says_how_long_pauses_the_source(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: Say(503, {"Retry-After": "120"}) if len(up.polls[job]) == 1 else COMPLETED)
    await up.poller()
    await up.pass_time(119)
    assert up.times == [0]
    assert up.pause() == (120, "provider_unavailable")
    await up.pass_time(2)
    assert up.states() == {"completed": 1}


async def test_a_pause_is_obeyed_by_a_process_that_starts_into_it(up: Polling) -> None:
    up.watch("a")
    with up.writing() as database:
        database.transact(jobs.pause, "miragic", NOW + 45, "provider_rate_limited")
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.pass_time(44.5)
    assert up.times == []
    await up.pass_time(1)
    assert up.times == [pytest.approx(45, abs=0.01)]


@pytest.mark.parametrize(
    "say",
    [
        Say(500),
        Say(502, {}, b"<html>Bad Gateway</html>"),
        Say(503),
        Say(200, {}, b'{"data": {"stat'),
        Say(200, {}, b""),
        Say(200, {}, b"\xff\x00\xfe"),
        Say(200, {}, b"[]"),
        Say(200, {}, b'{"data": {}}'),
        Say(200, {}, b"x" * 50, cut=10),
        Say(302, {"Location": "http://127.0.0.1:1/"}),
        Say(400),
        Say(402),
        Say(418),
    ],
    ids=lambda say: f"{say.status}-{say.body[:12]!r}",
)
async def test_an_answer_that_helps_nobody_is_asked_for_again_ever_later(up: Polling, lines: Lines, say: Say) -> None:
    up.watch("a")
    up.answers(lambda job: say if len(up.polls[job]) <= 4 else COMPLETED)
    await up.poller()
    await up.pass_time(13)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert len(up.times) == 4
    assert all(gap >= 2 - 1e-3 for gap in gaps)
    assert gaps[-1] > gaps[0]
    row = up.job()
    assert (row["state"], row["polls"], row["misses"]) == ("watching", 4, 0)
    assert row["error"]
    assert (up.events(), up.pause()) == ([], None)
    assert len(lines.of("poll.failed")) == 4
    await up.pass_time(20)
    assert (up.job()["state"], up.job()["error"]) == ("completed", None)


async def test_a_word_that_nobody_knows_is_a_job_still_running(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: status("WarmingUp"))
    await up.poller()
    await up.jump(5)
    assert (up.job()["state"], up.job()["polls"], up.job()["error"]) == ("watching", 2, None)


async def test_an_answer_that_is_not_begun_in_time_is_tried_again(up: Polling) -> None:
    up.watch("a")
    never = asyncio.Event()

    async def late(job: str) -> Say:
        if len(up.polls[job]) == 1:
            await never.wait()
        return COMPLETED

    up.answers(late)
    await up.poller(timeouts=Timeouts(read=0.05))
    await up.settle()
    assert (up.job()["state"], up.job()["polls"]) == ("watching", 1)
    assert "in time" in up.job()["error"]
    await up.jump(5)
    assert up.states() == {"completed": 1}
    never.set()


async def test_an_answer_that_drips_in_for_ever_is_given_up(up: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_SECONDS", 0.05)
    up.watch("a")
    never = asyncio.Event()
    up.answers(lambda job: Say(200, {}, b" " * 100, cut=1, hang=never))
    await up.poller()
    await up.settle()
    assert (up.job()["state"], up.job()["polls"]) == ("watching", 1)
    assert "in time" in up.job()["error"]
    never.set()


async def test_an_answer_that_is_too_long_is_no_status(up: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_BYTES", 1000)
    up.watch("a")
    up.answers(lambda job: status("COMPLETED", padding="x" * 1000))
    await up.poller()
    await up.settle()
    assert up.job()["state"] == "watching"
    assert "too long" in up.job()["error"]


async def test_a_provider_that_does_not_listen_is_asked_again_later(up: Polling) -> None:
    up.watch("a")
    await up.poller(base_url="http://127.0.0.1:1")
    await up.settle()
    row = up.job()
    assert (row["state"], row["polls"]) == ("watching", 1)
    assert "Cannot connect" in row["error"]
    assert row["next_poll_at"] >= NOW + 2


async def test_an_address_that_is_not_allowed_is_never_connected_to_and_pauses_the_source(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    await up.poller(private=False)
    await up.settle()
    assert up.server.asked == []
    assert up.job()["state"] == "watching"
    pause = up.pause()
    assert pause is not None
    assert pause[0] == REFUSED_PAUSE_SECONDS


# one another


async def test_a_source_that_is_down_does_not_hold_up_another(up: Polling) -> None:
    never = asyncio.Event()

    async def hang(job: str) -> Say:
        await never.wait()
        return COMPLETED

    async with serving() as other:
        other.behave = lambda asked: COMPLETED
        up.answers(hang)
        up.watch(*(f"stuck-{number}" for number in range(10)))
        up.watch("b", source="other")
        await up.poller()
        await up.until(lambda: len(up.times) == 8)
        well = await up.poller(source="other", base_url=other.url("").rstrip("/"))
        await up.until(lambda: well.stands_still(up.clock))
        assert up.job("b", "other")["state"] == "completed"
        assert up.states() == {"watching": 10, "completed": 1}
        never.set()
        await up.settle()
        assert up.states() == {"completed": 11}


async def test_two_pollers_never_ask_about_one_job_at_one_time(up: Polling) -> None:
    ids = [f"job-{number:02}" for number in range(16)]
    up.watch(*ids)
    go, inside, peak = asyncio.Event(), Counter[str](), Counter[str]()

    async def behave(job: str) -> Say:
        inside[job] += 1
        peak[job] = max(peak[job], inside[job])
        up.signal.notify()
        await go.wait()
        inside[job] -= 1
        return PENDING if len(up.polls[job]) < 3 else COMPLETED

    up.answers(behave)
    await up.poller()
    await up.poller()
    await up.until(lambda: inside.total() == 16)
    go.set()
    await up.pass_time(30)
    assert up.states() == {"completed": 16}
    assert peak == dict.fromkeys(ids, 1)
    assert {job: len(times) for job, times in up.polls.items()} == dict.fromkeys(ids, 3)
    assert [event["duplicates"] for event in up.events()] == [0] * 16


async def test_a_poller_that_lost_its_lease_changes_nothing_any_more(up: Polling) -> None:
    up.watch("a")
    go = asyncio.Event()

    async def behave(job: str) -> Say:
        if len(up.polls[job]) > 1:
            return COMPLETED
        await go.wait()
        return FAILED

    up.answers(behave)
    slow = await up.poller()
    await up.until(lambda: up.times)
    up.clock.set(NOW + LEASE_SECONDS + 1)
    quick = await up.poller()
    await up.until(lambda: quick.stands_still(up.clock) and up.states() == {"completed": 1})
    before = up.job()
    go.set()
    await up.until(lambda: slow.stands_still(up.clock))
    assert up.job() == before
    assert (up.event()["type"], up.event()["duplicates"]) == ("job.completed", 0)


async def test_a_job_in_somebody_elses_hands_is_waited_for_without_haste(up: Polling) -> None:
    up.watch("a")
    with up.writing() as database:
        database.transact(jobs.claim, "miragic", 8, NOW, NOW + LEASE_SECONDS)
    up.answers(lambda job: COMPLETED)
    poller = await up.poller()
    await up.settle()
    assert up.clock.moments(poller._stop) == [NOW + 1]  # a look a second, as when there is nothing to do
    await up.pass_time(LEASE_SECONDS - 1)
    assert up.times == []
    await up.pass_time(2)
    assert up.states() == {"completed": 1}


# what goes wrong here


async def test_a_job_cancelled_while_its_poll_is_on_its_way_has_no_event(up: Polling) -> None:
    up.watch("a")

    def behave(job: str) -> Say:
        with up.writing() as database:
            assert database.transact(jobs.cancel, "miragic", "a", NOW)
        return COMPLETED

    up.answers(behave)
    await up.poller()
    await up.settle()
    assert (up.job()["state"], up.job()["event_id"]) == ("cancelled", None)
    assert (up.events(), up.woken) == ([], 0)


class Broken:
    """A provider module with a fault of ours: it breaks on one job, as often as it is told."""

    def __init__(self, times: float) -> None:
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(PROVIDERS["miragic"], name)

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        if job_id == "bad" and self.times > 0:
            self.times -= 1
            raise RuntimeError("a fault of ours")
        return PROVIDERS["miragic"].read_status(account, job_id, response)


async def test_a_poll_that_breaks_ends_neither_the_poller_nor_its_job(up: Polling, lines: Lines) -> None:
    up.watch("a", "bad", "c")
    up.answers(lambda job: COMPLETED)
    poller = await up.poller(provider=Broken(1))
    await up.settle()
    assert poller.alive
    assert [up.job(job)["state"] for job in ("a", "bad", "c")] == ["completed", "watching", "completed"]
    [line] = lines.of("poll.broken")
    assert line["job"] == "bad"
    assert "a fault of ours" in str(line)
    up.watch("d")
    await up.jump(1)
    assert up.job("d")["state"] == "completed"
    assert len(up.polls["bad"]) == 1
    await up.jump(LEASE_SECONDS)
    assert up.job("bad")["state"] == "completed"


async def test_a_job_that_breaks_every_poll_is_given_up_at_its_deadline(up: Polling) -> None:
    up.watch("bad", deadline=200)
    up.answers(lambda job: COMPLETED)
    await up.poller(provider=Broken(math.inf))
    for _ in range(4):
        await up.jump(LEASE_SECONDS + 1)
    assert up.job("bad")["state"] == "expired"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else's transaction that does not end."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_a_store_that_is_away_is_looked_for_again(
    up: Polling, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    with locked(up.path):
        poller = await up.poller()
        await up.settle()
        await up.jump(1)
        assert len(lines.of("poll.store_unavailable")) == 2
        assert poller.alive
        assert up.times == []
    await up.jump(1)
    assert up.states() == {"completed": 1}


async def test_an_end_that_could_not_be_stored_is_asked_for_again(
    up: Polling, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    up.watch("a")
    lock = AsyncExitStack()

    def behave(job: str) -> Say:
        if len(up.polls[job]) == 1:
            lock.enter_context(locked(up.path))
        return COMPLETED

    up.answers(behave)
    async with lock:
        await up.poller()
        await up.settle()
        assert len(lines.of("poll.not_stored")) == 1
        assert (up.job()["state"], up.events()) == ("watching", [])
    await up.jump(LEASE_SECONDS + 1)
    assert (up.job()["state"], up.event()["duplicates"]) == ("completed", 0)
    assert len(up.times) == 2


async def test_a_poller_stopped_in_the_middle_leaves_its_job_to_the_next(up: Polling) -> None:
    up.watch("a")
    never = asyncio.Event()

    async def behave(job: str) -> Say:
        if len(up.polls[job]) == 1:
            await never.wait()
        return COMPLETED

    up.answers(behave)
    first = await up.poller()
    await up.until(lambda: up.times)
    await first.stop()
    up.pollers.remove(first)
    assert not first.alive
    assert (up.job()["state"], up.job()["polls"], up.events()) == ("watching", 0, [])
    await up.poller()
    await up.settle()
    assert up.times == [0]
    await up.jump(LEASE_SECONDS + 1)
    assert up.states() == {"completed": 1}
    assert len(up.events()) == 1
    never.set()


async def test_a_poller_stops_while_it_waits_for_its_turn(up: Polling) -> None:
    up.watch("a", "b", "c")
    up.answers(lambda job: PENDING)
    poller = await up.poller(rate=0.1)
    await up.settle()
    await poller.stop()
    up.pollers.remove(poller)
    assert up.times == [0]


async def test_a_job_made_due_by_hand_is_polled_at_the_next_look(up: Polling) -> None:
    up.watch("a")
    execute(up.path, "UPDATE jobs SET next_poll_at = ?", NOW + 1000)
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.settle()
    with up.writing() as database:
        assert database.transact(jobs.poll_now, "miragic", "a", NOW)
    await up.jump(1)
    assert up.times == [1]


async def test_no_job_is_held_while_its_source_waits_long_for_a_turn(up: Polling) -> None:
    up.watch("a", "b")
    up.answers(lambda job: PENDING)
    await up.poller(rate=0.01)
    await up.pass_time(20)
    assert up.times == [0]
    assert (up.job("a")["lease_until"], up.job("b")["lease_until"]) == (None, None)
