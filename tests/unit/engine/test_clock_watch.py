"""A process whose clock is set: it notices, puts the store right, and believes its clock only after somebody agrees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from sqlalchemy import Connection

from receiver.clock import SteadyClock
from receiver.engine.clock_trust import UPTIME_SECONDS, ClockTrust
from receiver.engine.clock_watch import POLL_INTERVAL_SECONDS, ClockWatch
from receiver.engine.maintenance import INTERVAL_SECONDS, Maintenance
from receiver.engine.server_clock import ServerClock
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.model.retry_after import MAX_CLOCK_DIFFERENCE_SECONDS
from receiver.settings import Store
from receiver.store import inbox
from receiver.store.clocks import TimeBounds
from receiver.store.database import Database
from tests.integration.engine_support import NOW, ManualClock, Signal, fresh_store
from tests.integration.intake_support import Lines, logged
from tests.patience import PATIENCE
from tests.stores import execute, file_of, open_store, query

pytestmark = pytest.mark.anyio

HOUR, DAY = 3600.0, 86_400.0
WAITS = TimeBounds(run_lease=30.0, job_lease=60.0, deadlines={}, request_times={})


class Machine(SteadyClock):
    """A machine whose clock a test sets, and whose time passes when a test says so; waits end at once."""

    def __init__(self) -> None:
        self.wall, self.elapsed = NOW, 50.0
        super().__init__(lambda: self.wall, lambda: self.elapsed)
        self.turns: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        assert seconds == POLL_INTERVAL_SECONDS
        turn = asyncio.Event()
        await self.turns.put(turn)
        await turn.wait()

    async def poll_once(self) -> None:
        """Have the watch look once, and return when it has."""
        (await self.turns.get()).set()
        following = await self.turns.get()
        await self.turns.put(following)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_store(fresh_store(tmp_path / "receiver.db"))
    database.start()
    yield database
    database.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def clock_watch(
    database: Database, machine: Machine, metrics: Metrics, on_step: Callable[[], None] = lambda: None
) -> ClockWatch:
    """The watch of a process whose store has no other clock."""
    server = ServerClock(database, machine, 30.0, metrics)
    return ClockWatch(database, machine, ClockTrust(machine), WAITS, metrics, server, on_step)


def come(database: Database, at: float, job: str = "a", *handlers: str) -> str:
    """An event that was received at this moment; its id."""
    made = delivery(at, job, *handlers)
    database.transact(inbox.accept, [made])
    return made.event_id


def delivery(at: float, job: str, *handlers: str) -> Delivery:
    return Delivery(
        event_id=event_id(at, len(job)), source="aitts", type="job.completed", key=job, job_id=job, origin="webhook",
        payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=at, handlers=handlers,
    )  # fmt: skip


def times(database: Database, column: str) -> list[float]:
    return [row[column] for row in query(database, f"SELECT {column} FROM runs ORDER BY event_id")]


def test_the_process_goes_by_the_clock_as_it_was_until_it_adopts_the_new_one() -> None:
    machine = Machine()
    machine.pass_time(10)
    assert (machine.now(), machine.monotonic(), machine.step()) == (NOW + 10, 60.0, 0.0)
    machine.wall -= HOUR
    assert (machine.now(), machine.step()) == (NOW + 10, -HOUR)
    machine.adopt()
    assert (machine.now(), machine.monotonic(), machine.step()) == (NOW + 10 - HOUR, 60.0, 0.0)


async def test_a_start_moves_what_another_clock_has_left(database: Database, lines: Lines) -> None:
    come(database, NOW + HOUR, "a", "notes")
    machine = Machine()
    watch = clock_watch(database, machine, Metrics())
    await watch.start()
    await watch.stop()
    assert times(database, "due_at") == [NOW]
    [line] = lines.of("clock.times_corrected")
    assert (line["runs"], line["events"]) == (1, 1)
    assert lines.of("clock.stepped") == []


async def test_what_others_store_while_the_watch_waits_for_its_transaction_is_not_moved(
    database: Database, lines: Lines
) -> None:
    machine = Machine()
    watch = clock_watch(database, machine, Metrics())
    begun, over = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        begun.set()
        assert over.wait(PATIENCE)
        inbox.accept(connection, [delivery(NOW + 60, "a", "notes")])

    others = asyncio.ensure_future(database.write(work))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    start = asyncio.ensure_future(watch.start())
    while database.waiting < 2:
        await asyncio.sleep(0)
    machine.pass_time(60)
    over.set()
    await asyncio.gather(others, start)
    await watch.stop()
    assert lines.of("clock.times_corrected") == []
    assert times(database, "due_at") == [NOW + 60]


async def test_a_clock_that_is_set_back_is_noticed_and_told(database: Database, lines: Lines) -> None:
    machine, metrics = Machine(), Metrics()
    steps: list[float] = []
    watch = clock_watch(database, machine, metrics, lambda: steps.append(times(database, "due_at")[0]))
    await watch.start()
    come(database, machine.now(), "a", "notes")
    machine.pass_time(1)
    await machine.poll_once()
    assert times(database, "due_at") == [NOW], "nothing was set"
    assert steps == []
    machine.wall -= HOUR
    await machine.poll_once()
    await watch.stop()
    assert times(database, "due_at") == [machine.now()] == [NOW + 1 - HOUR] == steps
    assert [line["seconds"] for line in lines.of("clock.stepped")] == [-HOUR]
    assert "tts_receiver_clock_steps_total 1.0" in metrics.render().decode()


async def test_a_clock_that_is_set_forward_ends_no_lease(database: Database, lines: Lines) -> None:
    machine = Machine()
    watch = clock_watch(database, machine, Metrics())
    await watch.start()
    come(database, NOW, "a", "notes")
    held = "UPDATE runs SET state = 'running', lease_owner = 'one', lease_until = :until"
    execute(database, held, until=NOW + 30)
    machine.wall += 40 * DAY
    await machine.poll_once()
    await watch.stop()
    assert times(database, "lease_until") == [NOW + 40 * DAY + 30]


async def test_a_fault_does_not_end_the_watching(
    database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    watch = clock_watch(database, machine, Metrics())
    await watch.start()
    come(database, machine.now(), "a", "notes")
    machine.wall -= HOUR
    with monkeypatch.context() as broken:
        broken.setattr("receiver.store.clocks.steps", lambda waits, clock: 1 / 0)
        await machine.poll_once()
    assert len(lines.of("clock.broken")) == 1
    await machine.poll_once()
    await watch.stop()
    assert times(database, "due_at") == [NOW - HOUR]


async def test_a_store_that_does_not_commit_is_put_right_when_it_does(database: Database, lines: Lines) -> None:
    machine = Machine()
    watch = clock_watch(database, machine, Metrics())
    await watch.start()
    come(database, NOW, "a", "notes")
    aside = file_of(database).with_name("aside.db")
    file_of(database).rename(aside)
    machine.wall -= HOUR
    await machine.poll_once()
    assert lines.of("clock.times_not_corrected")
    aside.rename(file_of(database))
    await machine.poll_once()
    await watch.stop()
    assert times(database, "due_at") == [NOW - HOUR]


# whether it is believed


@pytest.mark.parametrize(
    ("skew", "agrees"), [(0.0, True), (-MAX_CLOCK_DIFFERENCE_SECONDS, True), (MAX_CLOCK_DIFFERENCE_SECONDS + 1, False)]
)
def test_a_clock_is_trusted_once_a_signed_time_agrees_with_it(skew: float, agrees: bool) -> None:
    trust = ClockTrust(Machine())
    assert not trust.trusted
    trust.compare(skew, "aitts")
    assert trust.trusted is trust.confirmed is trust.wake.is_set() is agrees


@pytest.mark.parametrize(
    ("date", "agrees"),
    [
        (formatdate(NOW - 60, usegmt=True), True),
        (formatdate(NOW - 40 * DAY, usegmt=True), False),
        (None, False),
        ("yesterday", False),
        ("x" * 100_000, False),
    ],
)
def test_a_clock_is_trusted_once_a_providers_date_agrees_with_it(date: str | None, agrees: bool) -> None:
    trust = ClockTrust(Machine())
    trust.read_date(date, "aitts")
    assert trust.trusted is agrees


def test_a_clock_that_has_gone_on_for_a_day_is_trusted_and_a_step_begins_anew() -> None:
    machine = Machine()
    trust = ClockTrust(machine)
    machine.pass_time(UPTIME_SECONDS - 1)
    assert not trust.trusted
    assert trust.confirms_wait(HOUR)
    machine.pass_time(1)
    assert trust.trusted
    trust.compare(0.0, "aitts")
    trust.invalidate()
    assert not trust.trusted
    assert not trust.confirms_wait(HOUR)
    assert not trust.wake.is_set()


# what waits for it


async def test_a_start_with_the_clock_days_ahead_deletes_nothing_until_somebody_agrees(
    database: Database, lines: Lines
) -> None:
    signal = Signal()
    clock = ManualClock(signal, NOW + 40 * DAY)
    trust, swept = ClockTrust(clock), list[float]()
    come(database, NOW, "finished")
    come(database, NOW + 39 * DAY, "fresh")

    async def sweep(seconds: float) -> int:
        swept.append(seconds)
        signal.notify()
        return 0

    maintenance = Maintenance(database, Store(), sweep, clock, trust, owner="me")
    maintenance.start()
    await signal.until(lambda: clock.waits[id(trust.wake)] == 1)
    trust.compare(40 * DAY, "aitts")
    clock.advance(INTERVAL_SECONDS)
    await signal.until(lambda: clock.waits[id(trust.wake)] == 2)
    assert (len(query(database, "SELECT id FROM events")), swept) == (2, [])
    trust.compare(2.0, "aitts")
    await signal.until(lambda: swept)
    await maintenance.stop()
    assert [row["job_id"] for row in query(database, "SELECT job_id FROM events")] == ["fresh"]
    assert lines.of("events.pruned")


async def test_a_fault_in_one_chore_ends_neither_the_other_nor_the_next_hour_s(
    database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = Signal()
    clock = ManualClock(signal)
    trust, swept = ClockTrust(clock), list[float]()
    trust.compare(0.0, "aitts")

    async def sweep(seconds: float) -> int:
        swept.append(seconds)
        signal.notify()
        return 0

    come(database, NOW - 40 * DAY, "finished")
    maintenance = Maintenance(database, Store(), sweep, clock, trust, owner="me")
    with monkeypatch.context() as broken:
        broken.setattr("receiver.engine.maintenance.Pruner", lambda *given: 1 / 0)
        maintenance.start()
        await signal.until(lambda: len(swept) == 1)
    assert len(lines.of("maintenance.broken")) == 1
    await signal.until(lambda: clock.seconds[INTERVAL_SECONDS] == 1)
    clock.advance(INTERVAL_SECONDS)
    await signal.until(lambda: len(swept) == 2)
    await maintenance.stop()
    assert query(database, "SELECT job_id FROM events") == []
