"""A dispatcher with everything real but the time: store, handlers' loop and threads; the test moves the clock."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from receiver.assembly.receiver import build_receiver
from receiver.engine.clients import HandlerClients
from receiver.engine.dispatcher import Bounds, Dispatcher
from receiver.engine.handler import Handler
from receiver.engine.handler_context import HandlerCalls
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import ActiveHandler, Registry
from receiver.engine.runner import HandlerLoop
from receiver.engine.watchdog import LoopWatchdog
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.settings import Settings
from receiver.store import inbox
from receiver.store.backend import Processes
from receiver.store.changes import Change
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.sqlite.processes import ProcessFiles
from receiver.telemetry.hooks import Telemetry, combine
from receiver.telemetry.log import LogTelemetry
from receiver.telemetry.metrics import MetricsTelemetry
from tests.clocks import AgreedClock, FixedRandom
from tests.integration.intake_support import Lines, Running, started
from tests.patience import PATIENCE
from tests.stores import Store, open_store, query

NOW = 1_700_000_000.0
LEASE = 30.0
HEARTBEAT = LEASE / 3
SECRET = "an-api-key-0123456789"


class Signal:
    """Wakes the test's loop whenever something happened anywhere; a test waits for what it wants to see."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Something happened; from any thread."""
        self._loop.call_soon_threadsafe(self._raise)

    def _raise(self) -> None:
        current, self._next = self._next, asyncio.Event()
        current.set()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Return once `predicate()` is true; looked at after everything that happens."""
        async with asyncio.timeout(PATIENCE):
            while True:
                following = self._next
                if predicate():
                    return
                await following.wait()


async def ended(lines: Lines, signal: Signal, runs: int) -> None:
    """Return once so many runs have succeeded; their rows are surely written once the receiver has stopped."""
    await signal.until(lambda: len(lines.of("run.succeeded")) == runs)


class Notifying(Telemetry):
    """Notifies a signal of what is reported after its turn."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def run_finished(self, *args: Any) -> None:
        self._signal.notify()

    def run_discarded(self, *args: Any) -> None:
        self._signal.notify()


class ManualClock:
    """Time stands still until the test moves it."""

    def __init__(self, signal: Signal, now: float = NOW) -> None:
        self._signal = signal
        self._now = now
        self._waiting: list[tuple[float, asyncio.Event]] = []
        self.waits: Counter[int] = Counter()
        self.seconds: Counter[float] = Counter()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        self.waits[id(wake)] += 1
        self.seconds[seconds] += 1
        self._signal.notify()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        passed = asyncio.Event()
        entry = (self._now + seconds, passed)
        self._waiting.append(entry)
        tasks = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(passed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(entry)
            for task in tasks:
                task.cancel()

    def advance(self, seconds: float) -> None:
        """Move the clock; what waits until then goes on."""
        self._now += seconds
        for until, passed in self._waiting:
            if until <= self._now:
                passed.set()


class Gate:
    """Where handlers wait until the test lets them go; counts who is inside."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.entered = self.inside = self.peak = self.cancelled = 0

    async def wait_open(self) -> None:
        """For async handlers."""
        with self._count():
            mine = asyncio.Event()
            with self._lock:
                self._waiting.append((asyncio.get_running_loop(), mine))
                if self._open.is_set():
                    mine.set()
            try:
                await mine.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                with self._lock:
                    self._waiting = [entry for entry in self._waiting if entry[1] is not mine]

    def block(self) -> None:
        """For plain handlers, and for those that block the loop."""
        with self._count():
            assert self._open.wait(PATIENCE)

    def open(self) -> None:
        """Let everybody go, now and later."""
        with self._lock:
            self._open.set()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    @contextmanager
    def _count(self) -> Iterator[None]:
        with self._lock:
            self.entered += 1
            self.inside += 1
            self.peak = max(self.peak, self.inside)
        self._signal.notify()
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1
            self._signal.notify()


@cache
def _template() -> bytes:
    folder = Path(tempfile.mkdtemp())
    try:
        database = open_store(folder / "receiver.db")
        migrate(database)
        database.close()
        return (folder / "receiver.db").read_bytes()
    finally:
        shutil.rmtree(folder)


S = TypeVar("S", Path, str, Store)


def fresh_store(store: S) -> S:
    """An empty store at the newest schema; one that has an address is that already."""
    if isinstance(store, Path):
        store.write_bytes(_template())
    return store


def registry(*handlers: Handler, options: Any = None) -> Registry:
    """These handlers, active."""
    return Registry({found.name: ActiveHandler(found, options, "here") for found in handlers})


@contextmanager
def telling(lines: Lines, signal: Signal) -> Iterator[None]:
    """Waiting code looks again after every line of the log."""
    write = lines.stream.write

    def write_and_tell(text: str) -> int:
        written = write(text)
        if "test.looks" not in text:  # that line is somebody looking already
            signal.notify()
        return written

    lines.stream.write = write_and_tell  # type: ignore[method-assign]
    try:
        yield
    finally:
        lines.stream.write = write  # type: ignore[method-assign]


_numbers = itertools.count(1)


@dataclass
class Engine:
    """One process's dispatcher, and what a test sees and does around it."""

    store: Store
    signal: Signal
    clock: ManualClock
    database: Database
    metrics: Metrics
    handlers: HandlerLoop
    dispatcher: Dispatcher
    registry: Registry
    watch: LoopWatchdog
    stopping: asyncio.Task[None] | None = field(default=None)
    stopped: bool = field(default=False)

    def add(self, *jobs: str, type: str = "job.completed", handlers: tuple[str, ...] | None = None) -> list[str]:
        """Store events as the intake does, without telling the dispatcher; their ids."""
        deliveries = [
            Delivery(
                event_id=f"evt_{next(_numbers):032x}",
                source="aitts",
                type=type,
                key=job,
                job_id=job,
                origin="webhook",
                payload="{}",
                body=b"{}",
                headers="[]",
                key_id=None,
                skew=0.0,
                received_at=self.clock.now(),
                handlers=self.registry.names_for(type, "aitts", {}) if handlers is None else handlers,
            )
            for job in jobs
        ]
        return [receipt.event_id for receipt in self.database.transact(inbox.accept, deliveries)]

    def new(self, *jobs: str, **kwargs: Any) -> list[str]:
        """New events, as when the intake has committed them."""
        ids = self.add(*jobs, **kwargs)
        self.dispatcher.wake()
        return ids

    def runs(self, **criteria: str) -> list[dict[str, Any]]:
        """Rows of runs, oldest event first."""
        rows = query(self.store, "SELECT * FROM runs ORDER BY event_id, handler")
        return [row for row in rows if all(row[name] == value for name, value in criteria.items())]

    def runs_where(self, condition: str) -> list[dict[str, Any]]:
        """Rows of runs, oldest event first."""
        return query(self.store, f"SELECT * FROM runs WHERE {condition} ORDER BY event_id, handler")

    def run(self, **criteria: str) -> dict[str, Any]:
        """The one run."""
        [row] = self.runs(**criteria)
        return row

    def states(self) -> Counter[str]:
        """How many runs are in which state."""
        return Counter(row["state"] for row in self.runs())

    def attempts(self) -> list[tuple[int, str]]:
        """Number and outcome of every attempt that ended."""
        rows = query(self.store, "SELECT number, outcome FROM attempts ORDER BY event_id, handler, number")
        return [(row["number"], row["outcome"]) for row in rows]

    async def until(self, predicate: Callable[[], object]) -> None:
        """Return once it is true."""
        await self.signal.until(predicate)

    async def until_state(self, state: str, count: int = 1) -> None:
        """Return once so many runs are in this state, and what this process has written is logged and counted."""
        await self.until(lambda: self.states()[state] >= count and self._is_reported)

    @property
    def _is_reported(self) -> bool:
        dispatcher = self.dispatcher
        return dispatcher._held.keys() == dispatcher._executions._active.keys() and not dispatcher._deferred.waiting

    @property
    def is_idle(self) -> bool:
        """Whether no attempt runs, and every result is written, logged and counted."""
        return not self.dispatcher.busy and not self.dispatcher._deferred.waiting

    async def poll_once(self) -> None:
        """Have the dispatcher look for due runs, and return when it has started what it found."""
        for _ in range(2):  # a first look may have begun before
            before = self._looks
            self.dispatcher.wake()
            await self.until(lambda before=before: self._looks > before)

    async def beat(self, seconds: float = HEARTBEAT) -> None:
        """Move the clock, and return when the dispatcher has looked after its leases."""
        before = self.clock.seconds[HEARTBEAT]
        self.clock.advance(seconds)
        await self.until(lambda: self.clock.seconds[HEARTBEAT] > before)

    @property
    def _looks(self) -> int:
        return self.clock.waits[id(self.dispatcher._wake)]

    def metric(self, line: str) -> float:
        """The value of a line such as `tts_receiver_runs_total{handler="a",outcome="failed"}`; 0 if it is absent."""
        return metric(self.metrics, line)

    async def start(self) -> None:
        """Begin to dispatch, and return when it has looked for what crashed before."""
        heartbeat = self.dispatcher._bounds.lease_seconds / 3
        before = self.clock.seconds[heartbeat]
        self.dispatcher.start()
        await self.until(lambda: self.clock.seconds[heartbeat] > before)

    def stop_later(self) -> None:
        """Begin to end the dispatcher: handlers that still run have the grace period."""
        self.stopping = asyncio.create_task(self.dispatcher.stop())

    async def stop(self) -> None:
        """End the dispatcher; handlers that still run are given back at once."""
        if not self.stopped:
            self.stopped = True
            self.dispatcher.end_grace_period()
            await (self.stopping or self.dispatcher.stop())


def metric(metrics: Metrics, line: str) -> float:
    """The value of a metric's line; 0 if it is absent."""
    for text in metrics.render().decode().splitlines():
        if text.startswith(f"{line} "):
            return float(text.rpartition(" ")[2])
    return 0.0


class Announcing(ProcessFiles):
    """Processes of which the test hears what this one announces; it has not joined them."""

    def __init__(self, owner: str, announced: Callable[[Change], None]) -> None:
        super().__init__(Path(), owner)
        self._announced = announced

    def announce(self, change: Change) -> None:
        """Call the test."""
        self._announced(change)


@asynccontextmanager
async def engine(
    store: Store,
    *handlers: Handler,
    signal: Signal | None = None,
    clock: ManualClock | None = None,
    owner: str = "me",
    bounds: Bounds | None = None,
    backoff: RetryPolicy | None = None,
    chance: float = 0.0,
    start: bool = True,
    reporting: tuple[Telemetry, ...] = (),
    announced: Callable[[Change], None] = lambda _: None,
    processes: Processes | None = None,
) -> AsyncIterator[Engine]:
    """A dispatcher over the store, whose file is made if it is not there."""
    if isinstance(store, Path) and not store.exists():
        fresh_store(store)
    signal = signal or Signal()
    clock = clock or ManualClock(signal)
    database = open_store(store)
    database.start()
    metrics = Metrics()
    active = registry(*handlers)
    loop = HandlerLoop(asyncio.new_event_loop, metrics.abandoned.inc)
    loop.start()

    calls = HandlerCalls(
        active, loop, HandlerClients(active.with_private_addresses()), audio=None
    )  # no handler here asks for audio

    async def call(claim: Claim) -> Outcome:
        try:
            return await calls(claim)
        finally:
            signal.notify()

    watch = LoopWatchdog(loop, metrics, lambda: dispatcher.busy)
    dispatcher = Dispatcher(
        database,
        active,
        call,
        loop.loop,
        owner=owner,
        bounds=bounds or Bounds(lease_seconds=LEASE),
        telemetry=combine(MetricsTelemetry(metrics, ()), LogTelemetry(), Notifying(signal), *reporting),
        redact=Redactor([SECRET]),
        backoff=backoff,
        processes=processes or Announcing(owner, announced),
        clock=AgreedClock(clock),
        watch=watch,  # not started: the loop is never found blocked
        rng=FixedRandom(chance),
    )
    made = Engine(store, signal, clock, database, metrics, loop, dispatcher, active, watch)
    if start:
        await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await asyncio.to_thread(loop.stop, PATIENCE)
        await asyncio.to_thread(database.close)


def receiving(settings: Settings, *handlers: Handler) -> AbstractAsyncContextManager[Running]:
    """A whole receiver with these handlers, and a provider's client."""
    return started(build_receiver(settings, registry(*handlers) if handlers else None))
