"""Loops on one store, their provider, and a clock that a test sets. Everything is real but the time.

A small server on loopback is the provider (it speaks miragic's language, which gives progress, unless a test says
otherwise); the clock jumps from one moment that somebody waits for to the next, and only when every loop stands still.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from receiver.engine.clock_trust import ClockTrust
from receiver.engine.jobs.commands import new_job, submit_job, watch_job
from receiver.engine.jobs.loop import SourceLoop
from receiver.engine.jobs.source import JobSource
from receiver.engine.throttle import Throttle
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.model.poll_schedule import PollSchedule
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.providers import PROVIDERS
from receiver.providers.protocols import WebhookProvider
from receiver.providers.types import Account, Speech
from receiver.store.database import Database
from receiver.telemetry.hooks import Telemetry, combine
from receiver.telemetry.log import LogTelemetry
from receiver.telemetry.metrics import MetricsTelemetry
from tests.clocks import AgreedClock
from tests.integration.engine_support import NOW, Signal
from tests.integration.outbound_support import ReceivedRequest, Say, Server, serving
from tests.recording import recorder
from tests.stores import Store, open_store, query

KEY = "an-api-key-0123456789"
UNPACED = 1e9
"""Requests per second that leave no gap a clock could show."""
SCHEDULE = PollSchedule(min_seconds=2.0, max_seconds=60.0, deadline_seconds=3600.0)


class Clock:
    """Stands still until it is set; knows who waits on it until when."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._now = NOW
        self._set_by = 0.0
        self._waiting: list[tuple[asyncio.Event, float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now + self._set_by

    def monotonic(self) -> float:
        return self._now

    def step(self, seconds: float) -> None:
        """Somebody sets the machine's clock; what waits is not touched."""
        self._set_by += seconds

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


class Watched(SourceLoop):
    """A loop of which a test can tell that it stands still."""

    notify: Callable[[], None]

    def _task_done(self, task: asyncio.Task[None]) -> None:
        super()._task_done(task)
        self.notify()

    def stands_still(self, clock: Clock) -> bool:
        """Whether all that it does is wait for the clock."""
        waiting = len(clock.moments(self._stop)) == len(self._tasks) and len(clock.moments(self._wake_event)) == 1
        return waiting and not self._wake_event.is_set()


def status(word: str, **data: Any) -> Say:
    """miragic's answer to a status request."""
    return Say(200, {"Content-Type": "application/json"}, json.dumps({"data": {"status": word, **data}}).encode())


PENDING = status("PENDING")
COMPLETED = status("COMPLETED", audioUrl="https://storage.example/a.mp3")
FAILED = status("FAILED", errorMessage="No such voice.")


def job_of(request: ReceivedRequest) -> str:
    return request.path.rpartition("/")[2]


@dataclass
class Polling:
    """Loops on one store, their provider, and what a test sees and does."""

    store: Store
    signal: Signal
    clock: Clock
    server: Server
    stack: AsyncExitStack
    metrics: Metrics = field(default_factory=Metrics)
    telemetry: Telemetry = field(init=False)
    pollers: list[Watched] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    sources: dict[str, JobSource] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    woken: int = 0
    releases: int = 0
    """How often other processes were to be told that jobs were released."""

    polls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each job was asked about."""

    submits: list[ReceivedRequest] = field(default_factory=list)
    """The requests to submit a job, as they came."""

    def __post_init__(self) -> None:
        self.telemetry = combine(MetricsTelemetry(self.metrics, ()), LogTelemetry())

    def takes_on(self, behave: Callable[[ReceivedRequest], Any]) -> None:
        """The provider answers what is submitted as `behave` says; what is polled it says is running."""

        def answer(request: ReceivedRequest) -> Any:
            if request.method != "POST":
                self.polls[job_of(request)].append(self.clock.now())
                return PENDING
            self.submits.append(request)
            self.signal.notify()
            return behave(request)

        self.server.behave = answer

    def answers(self, behave: Callable[[str], Any]) -> None:
        """The provider answers as `behave` says, which is given the job id."""

        def answer(request: ReceivedRequest) -> Any:
            self.polls[job_of(request)].append(self.clock.now())
            self.signal.notify()
            return behave(job_of(request))

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
        schedule: PollSchedule = SCHEDULE,
        provider: Any = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        private: bool = True,
        version: str | None = None,
        trust: ClockTrust | None = None,
        poll_seconds: Callable[[float], float] = lambda usual: usual,
    ) -> Watched:
        """Another process's loop on this store, started; its clock is trusted unless a test passes another trust."""
        if trust is None:
            trust = ClockTrust(self.clock)
            trust.compare(0.0, "a test")
        database = open_store(self.store)
        database.start()
        self.databases.append(database)
        self.stack.callback(database.close)
        provider = provider or PROVIDERS["miragic"]
        if version is not None:
            provider = provider.versions[version]
        self.sources[source] = job_source = JobSource(
            source,
            provider,
            Account(base_url or self.server.url("").rstrip("/"), KEY),
            schedule,
            isinstance(provider, WebhookProvider),
        )
        poller = Watched(
            database,
            job_source,
            Client(AddressGuard(private), timeouts=timeouts),
            Throttle(database, source, rate, self.clock, self.telemetry),
            owner=f"process {len(self.pollers)}",
            handlers_for=lambda word, source, payload: ("notes",) if word.startswith("job.") else (),
            wake=self._wake,
            telemetry=self.telemetry,
            clock=AgreedClock(self.clock),
            trust=trust,
            rng=random.Random(len(self.pollers)),
            released=self._count_release,
            poll_seconds=poll_seconds,
        )
        poller.notify = self.signal.notify
        self.pollers.append(poller)
        self.stack.push_async_callback(poller.stop)
        poller.start()
        return poller

    def _wake(self) -> None:
        self.woken += 1

    def _count_release(self) -> None:
        self.releases += 1

    def watch(self, *ids: str, source: str = "miragic", deadline: float = 3600.0) -> None:
        """As the command does."""
        schedule = PollSchedule(min_seconds=2.0, max_seconds=60.0, deadline_seconds=deadline)
        job_source = JobSource(source, PROVIDERS["miragic"], Account("", KEY), schedule, receives_webhooks=False)
        with self.writing() as database:
            for job in ids:
                assert database.transact(watch_job, job_source, job, self.clock.now(), self.rng)[1]

    def submit(self, text: str = "Hello", client_key: str | None = None, source: str = "miragic", **fields: Any) -> str:
        """As the command does; our id of the job."""
        with self.writing() as database:
            speech = Speech(text=text, voice="alloy", **fields)
            job = new_job(self.sources[source], speech, client_key, self.clock.now(), self.rng)
            row, _ = database.transact(submit_job, recorder(), job)
        return str(row["id"])

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """Another process's store."""
        database = open_store(self.store)
        try:
            yield database
        finally:
            database.close()

    async def until_idle(self) -> None:
        """Return when every poller waits for the clock."""
        await self.signal.until(lambda: all(poller.stands_still(self.clock) for poller in self.pollers))

    async def until(self, predicate: Callable[[], object]) -> None:
        await self.signal.until(predicate)

    async def jump(self, seconds: float) -> None:
        """So much later at once, and all done that is due then."""
        await self.until_idle()
        self.clock.set(self.clock.monotonic() + seconds)
        await self.until_idle()

    async def pass_time(self, seconds: float) -> None:
        """So much later, by every moment that somebody waits for."""
        end = self.clock.monotonic() + seconds
        await self.until_idle()
        while (moment := min(self.clock.moments())) <= end:
            self.clock.set(moment)
            await self.until_idle()
        self.clock.set(end)

    def job(self, job_id: str = "a", source: str = "miragic") -> dict[str, Any]:
        [row] = query(
            self.store, "SELECT * FROM jobs WHERE job_id = :id AND source = :source", id=job_id, source=source
        )
        return row

    def states(self) -> Counter[str]:
        return Counter(row["state"] for row in query(self.store, "SELECT state FROM jobs"))

    def events(self) -> list[dict[str, Any]]:
        return query(self.store, "SELECT * FROM events ORDER BY id")

    def event(self) -> dict[str, Any]:
        [event] = self.events()
        return event

    def runs(self) -> list[tuple[str, str, str]]:
        return [(row["event_id"], row["handler"], row["state"]) for row in query(self.store, "SELECT * FROM runs")]

    def pause(self) -> tuple[float, str] | None:
        """For how long from the start, and why, the source is paused."""
        rows = query(self.store, "SELECT * FROM source_state WHERE source = 'miragic'")
        return (rows[0]["pause_until"] - NOW, rows[0]["reason"]) if rows and rows[0]["pause_until"] else None


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


@asynccontextmanager
async def polling(store: Store) -> AsyncIterator[Polling]:
    signal = Signal()
    async with serving() as server, AsyncExitStack() as stack:
        yield Polling(store, signal, Clock(signal), server, stack)
