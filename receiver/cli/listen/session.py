"""The loop of `listen`: read the next event, hand it over until it is accepted, keep its position, read on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from random import Random

from receiver.cli.event_lines import wrap
from receiver.cli.listen import lines
from receiver.cli.listen.delivery import MAX_ASKED_SECONDS, Delivery
from receiver.cli.listen.errors import ListenError, NotAStream, RemoteUnavailable
from receiver.cli.listen.gap import gap, is_event
from receiver.cli.listen.remote import Remote
from receiver.cli.listen.state import Progress, StateFile
from receiver.cli.listen.stream import StreamEvent, StreamPosition
from receiver.cli.listen.target import Target
from receiver.cli.stop_signals import stop_signals
from receiver.cli.text_output import echo
from receiver.clock import Clock
from receiver.model.metadata import Pair
from receiver.model.retry import RetryPolicy, backoff_seconds

RECONNECTS = RetryPolicy(base_seconds=1.0, factor=2.0, cap_seconds=30.0)
MARGIN_SECONDS = 600.0
"""How much earlier than the receiver's clock everything is known to be complete: a commit may take a while, and so may
the receiver until it notices one of another process."""
MIN_PROGRESS_SECONDS = 600.0
"""How much later a position without new events must be to be kept."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asks for: a filter, and events to pass over."""

    source: str | None = None
    type: str | None = None
    metadata: Collection[Pair] = ()
    skip: Collection[str] = ()


class Session:
    """One run of the command.

    Args:
        state: where the position is kept.
        progress: how far it has come; None: begin with the events from now on.
        rng: for the waits between attempts.
    """

    def __init__(
        self,
        remote: Remote,
        target: Target,
        state: StateFile,
        progress: Progress | None,
        options: Options,
        *,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._remote = remote
        self._target = target
        self._state = state
        self._progress = progress
        self._options = options
        self._clock = clock
        self._rng = rng
        self._counts = lines.Counts()
        self._delivery = Delivery(remote, target, options.skip, self._counts, clock=clock, rng=rng)
        self._broken_since: float | None = None
        self._failures = 0

    async def run(self, introduction: lines.Introduction) -> None:
        """Work until SIGINT, SIGTERM or SIGHUP; an event in flight is finished first.

        Raises:
            ListenError: the receiver does not serve this command, or the position cannot be kept.
            OSError: standard output cannot be written.
        """
        echo(*lines.introduction_lines(introduction))
        work = asyncio.create_task(self._follow())
        with stop_signals(lambda number: self._stop(work)):
            try:
                await work
            except asyncio.CancelledError:
                if not self._delivery.stop.is_set():
                    raise
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                await self._remote.aclose()
                await self._target.aclose()
        echo(lines.summary(self._counts))

    def _stop(self, work: asyncio.Task[None]) -> None:
        waits_for = None if self._delivery.stop.is_set() else self._delivery.in_flight
        self._delivery.stop.set()
        if waits_for is None:
            work.cancel()
        else:
            with suppress(OSError):  # an output that is closed ends the command at the next line
                echo(*wrap(f"Waiting for the answer to {waits_for.id}; Ctrl-C again stops at once."))

    async def _follow(self) -> None:
        """Read the stream, and connect again whenever it ends."""
        while not self._delivery.stop.is_set():
            requested = 0.0
            try:
                await self._read_stream()
                if self._delivery.stop.is_set():
                    return
                why = "The receiver ended the stream."
            except RemoteUnavailable as error:
                why, requested = str(error), min(error.retry_after, MAX_ASKED_SECONDS)
            except NotAStream as error:
                raise ListenError(f"{self._remote.url} is not a receiver's API. {error}") from None
            if self._broken_since is None:
                self._broken_since = self._clock.monotonic()
                echo(*wrap(f"! {why} Trying again until it answers."))
            self._failures += 1
            wait = max(requested, backoff_seconds(RECONNECTS, self._failures, self._rng.random()))
            await self._clock.wait(self._delivery.stop, wait)

    async def _read_stream(self) -> None:
        """Read until the stream ends.

        Raises:
            RemoteUnavailable: it cannot be read, or broke.
        """
        progress = self._progress
        position, wanted = None if progress is None else progress.position, self._options
        async with (
            self._remote.stream(position, wanted.source, wanted.type, wanted.metadata) as messages,
            aclosing(messages),
        ):
            begin = await anext(messages, None)
            if begin is None:
                return
            if not isinstance(begin, StreamPosition):
                raise ListenError(f"{self._remote.url} sends no positions: upgrade that receiver first.")
            progress = await self._connected(progress, begin)
            self._failures = 0
            async for message in messages:
                if isinstance(message, StreamPosition):
                    progress = self._reached(progress, message)
                elif isinstance(message, StreamEvent):
                    progress = await self._hand_over(progress, message)
                if self._delivery.stop.is_set():
                    break

    async def _connected(self, progress: Progress | None, begin: StreamPosition) -> Progress:
        """A stream has begun: say so, and what may be missing before it."""
        self._delivery.clock_difference = begin.at - self._clock.now()
        if progress is None:
            progress = self._keep(Progress(begin.id, begin.at - MARGIN_SECONDS))
        else:
            found = await self._remote.find(progress.position)
            what = gap(progress.position, progress.complete_until, begin.at, found)
            if what is not None:
                self._counts.gaps += 1
                echo(*wrap(f"! {what}"))
            if not is_event(progress.position):  # a time by this machine's clock, perhaps one that is still to come
                progress = self._keep(Progress(begin.id, min(progress.complete_until, begin.at - MARGIN_SECONDS)))
        if self._broken_since is None:
            echo("Connected.")
        else:
            echo(f"Connected again after {self._clock.monotonic() - self._broken_since:,.0f} s.")
            self._broken_since = None
        return progress

    def _reached(self, progress: Progress, at: StreamPosition) -> Progress:
        """Everything up to a position was sent, and is handed over by now."""
        until = max(at.at - MARGIN_SECONDS if at.caught_up else 0.0, progress.complete_until)
        if at.id == progress.position and until - progress.complete_until < MIN_PROGRESS_SECONDS:
            return progress
        return self._keep(Progress(at.id, until))

    async def _hand_over(self, progress: Progress, event: StreamEvent) -> Progress:
        """Hand an event over; its position is on disk before anything else happens."""
        line = await self._delivery.deliver(event)
        if line is None:  # it is to stop first
            return progress
        until = max(event.received_at, progress.complete_until)
        progress = self._keep(replace(progress, position=event.id, complete_until=until))
        echo(line)
        return progress

    def _keep(self, progress: Progress) -> Progress:
        self._state.write(progress)
        self._progress = progress
        return progress
