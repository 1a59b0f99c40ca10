"""Reading a body: whole, bounded in size and time, while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.web.body import BodyLimits, BodyRefused, read_body
from receiver.web.http.exchange import WHOLE_REQUEST
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


class Sender:
    """Hands out messages; after the last it hangs forever."""

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self.messages = list(messages)
        self.taken = 0

    async def receive(self) -> dict[str, Any]:
        if self.taken == len(self.messages):
            await asyncio.Event().wait()
        self.taken += 1
        return self.messages[self.taken - 1]


def pieces(*parts: bytes) -> list[dict[str, Any]]:
    return [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]


async def read(sender: Sender, *, max_bytes: int = 10, seconds: float = 60, length: bytes | None = None) -> bytes:
    headers = [] if length is None else [(b"content-length", length)]
    return await read_body({"type": "http", "headers": headers}, sender.receive, BodyLimits(seconds, max_bytes))


async def refused(sender: Sender, **how: Any) -> tuple[int | None, str]:
    with pytest.raises(BodyRefused) as caught:
        await read(sender, **how)
    return caught.value.status, caught.value.outcome


async def test_a_body_in_one_piece_is_read() -> None:
    assert await read(Sender(pieces(b"0123456789"))) == b"0123456789"
    assert await read(Sender([{"type": "http.request"}])) == b""


async def test_a_body_in_pieces_is_put_together() -> None:
    assert await read(Sender(pieces(b"01", b"", b"234", b"56789"))) == b"0123456789"


async def test_too_long_by_its_announced_length_is_refused_before_anything_is_read() -> None:
    sender = Sender(pieces(b"x"))
    assert await refused(sender, length=b"11") == (413, "too_large")
    assert await refused(sender, length=b"9" * 5000) == (413, "too_large")
    assert sender.taken == 0


async def test_too_long_in_one_piece_is_refused() -> None:
    assert await refused(Sender(pieces(b"x" * 11))) == (413, "too_large")


async def test_too_long_while_it_streams_is_refused_at_once_whatever_was_announced() -> None:
    sender = Sender(pieces(*[b"xxxx"] * 1000))
    assert await refused(sender, length=b"4") == (413, "too_large")
    assert sender.taken == 3


@pytest.mark.parametrize("length", [b"", b"-1", b"ten", b"1e9", "١".encode(), b"\xff", b"5, 5"])
async def test_an_announced_length_that_is_no_number_is_not_what_bounds_the_body(length: bytes) -> None:
    assert await read(Sender(pieces(b"x" * 10)), length=length) == b"x" * 10
    assert await refused(Sender(pieces(b"x" * 11)), length=length) == (413, "too_large")


@pytest.mark.parametrize("first", [[], pieces(b"x", b"y")[:1]])
async def test_a_sender_that_does_not_go_on_is_given_up(first: list[dict[str, Any]]) -> None:
    assert await refused(Sender(first), seconds=0.001) == (408, "too_slow")


@pytest.mark.parametrize("first", [[], pieces(b"x", b"y")[:1]])
async def test_a_sender_that_goes_away_gets_no_answer(first: list[dict[str, Any]]) -> None:
    assert await refused(Sender([*first, {"type": "http.disconnect"}])) == (None, "sender_gone")


@given(parts=st.lists(st.binary(max_size=8), min_size=1, max_size=6), max_bytes=st.integers(0, 30))
async def test_whatever_way_it_is_cut_a_body_is_whole_or_refused(parts: list[bytes], max_bytes: int) -> None:
    whole = b"".join(parts)
    if len(whole) <= max_bytes:
        assert await read(Sender(pieces(*parts)), max_bytes=max_bytes) == whole
    else:
        assert await refused(Sender(pieces(*parts)), max_bytes=max_bytes) == (413, "too_large")


async def test_one_deadline_serves_many_senders_and_cuts_off_only_the_late() -> None:
    bodies = BodyLimits(0.01, 10)
    scope = {"type": "http", "headers": []}
    slow = [asyncio.create_task(read_body(scope, Sender([]).receive, bodies)) for _ in range(5)]
    quick = await asyncio.gather(*(read_body(scope, Sender(pieces(b"x", b"y")).receive, bodies) for _ in range(5)))
    assert quick == [b"xy"] * 5
    late = await asyncio.gather(*slow, return_exceptions=True)
    assert [(type(error), getattr(error, "status", None)) for error in late] == [(BodyRefused, 408)] * 5
    assert not any(task.cancelled() for task in slow)
    assert await read_body(scope, Sender(pieces(b"z")).receive, bodies) == b"z"
    again = asyncio.create_task(read_body(scope, Sender([]).receive, bodies))
    with pytest.raises(BodyRefused):
        await again


class Held(Sender):
    """Sends on only when it is told to."""

    def __init__(self, first: int) -> None:
        super().__init__(pieces(b"x" * first, b"")[:1])
        self.gate = asyncio.Event()
        self.more: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.taken == len(self.messages):
            await self.gate.wait()
            self.gate.clear()
            self.messages += self.more
        return await super().receive()


KIB = 1024


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> BodyLimits:
    """Room for 256 KiB of small bodies, and for 1 MiB of large ones."""
    monkeypatch.setattr("receiver.web.body.MAX_SMALL_BODIES_BYTES", 256 * KIB)
    monkeypatch.setattr("receiver.web.body.MAX_LARGE_BODIES_BYTES", 1024 * KIB)
    return BodyLimits(60, 256 * KIB)


async def started(bodies: BodyLimits, size: int, count: int) -> list[asyncio.Task[bytes]]:
    scope = {"type": "http", "headers": []}
    tasks = [asyncio.create_task(read_body(scope, Held(size).receive, bodies)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def outcomes(tasks: list[asyncio.Task[bytes]]) -> list[str]:
    """How those ended that have ended."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [str(task.exception()) for task in tasks if task.done()]


async def ended(tasks: list[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_unfinished_bodies_are_bounded_all_together(narrow: BodyLimits) -> None:
    tasks = await started(narrow, 250 * KIB, 40)
    assert await outcomes(tasks) == ["no_room"] * 36
    assert narrow.held == 4 * 250 * KIB
    await ended(tasks)
    assert narrow.held == 0


async def test_large_bodies_take_no_room_of_the_small(narrow: BodyLimits) -> None:
    large = await started(narrow, 250 * KIB, 40)
    assert len(await outcomes(large)) == 36
    small = await started(narrow, 60 * KIB, 4)
    assert await outcomes(small) == []
    whole = Sender(pieces(b"a" * KIB, b"b" * KIB))
    assert len(await read_body({"type": "http", "headers": []}, whole.receive, narrow)) == 2 * KIB
    await ended(large + small)


async def test_many_slow_small_bodies_do_not_keep_a_delivery_out(narrow: BodyLimits) -> None:
    slow = await started(narrow, 60 * KIB, 50)
    assert await outcomes(slow) == ["no_room"] * 46
    whole = Sender(pieces(b"a" * 40 * KIB, b"b" * KIB))
    assert len(await read_body({"type": "http", "headers": []}, whole.receive, narrow)) == 41 * KIB
    await ended(slow)


async def test_the_one_that_is_cut_off_is_the_largest_and_slowest(narrow: BodyLimits) -> None:
    scope = {"type": "http", "headers": []}
    largest = await started(narrow, 120 * KIB, 1)
    smaller = await started(narrow, 100 * KIB, 9)
    newcomer = Held(10 * KIB)
    newcomer.more = pieces(b"y" * 90 * KIB, b"")[:1]
    reading = asyncio.create_task(read_body(scope, newcomer.receive, narrow))
    await asyncio.sleep(0.001)
    newcomer.gate.set()
    await asyncio.gather(*largest, return_exceptions=True)
    assert await outcomes(largest) == ["no_room"]
    assert await outcomes([*smaller, reading]) == []
    await ended([*smaller, reading])


async def test_a_body_that_outgrows_the_small_ones_room_is_counted_with_the_large(narrow: BodyLimits) -> None:
    sender = Held(60 * KIB)
    sender.more = pieces(b"y" * 60 * KIB, b"z")
    reading = asyncio.create_task(read_body({"type": "http", "headers": []}, sender.receive, narrow))
    await asyncio.sleep(0)
    assert narrow.held == 60 * KIB
    sender.gate.set()
    assert len(await reading) == 120 * KIB + 1
    assert narrow.held == 0


async def test_a_request_that_is_cancelled_by_the_server_stays_cancelled() -> None:
    bodies = BodyLimits(60, 10)
    task = asyncio.create_task(read_body({"type": "http", "headers": []}, Sender([]).receive, bodies))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_was_cut_off_can_wait_again() -> None:
    """Its cancellation was the deadline's business and is over: nothing after it is cancelled too."""

    async def twice() -> str:
        with pytest.raises(BodyRefused):
            await read(Sender([]), seconds=0.001)
        async with asyncio.timeout(PATIENCE):
            await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(twice()) == "went on"


class Whole:
    """A request that has come to its end; no body if its sender is gone."""

    def __init__(self, body: bytes | None) -> None:
        self._body = body

    def take_body(self) -> bytes | None:
        return self._body


async def read_whole(body: bytes | None, bodies: BodyLimits) -> bytes:
    scope = {"headers": [], "extensions": {WHOLE_REQUEST: Whole(body)}}
    return await read_body(scope, Sender([]).receive, bodies)


async def test_a_body_that_has_come_whole_is_read_within_the_same_size() -> None:
    bodies = BodyLimits(60, 10)
    assert await read_whole(b"x" * 10, bodies) == b"x" * 10
    with pytest.raises(BodyRefused) as refused:
        await read_whole(b"x" * 11, bodies)
    assert (refused.value.status, refused.value.outcome) == (413, "too_large")
    with pytest.raises(BodyRefused) as refused:
        await read_whole(None, bodies)
    assert (refused.value.status, refused.value.outcome) == (None, "sender_gone")
    assert bodies.held == 0
