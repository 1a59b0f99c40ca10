"""Hands one event over: fetches its details, waits for its audio, and tries until the local application accepts it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from random import Random
from typing import Any

from receiver.cli.listen import lines
from receiver.cli.listen.message import Message, awaits_audio, build_message
from receiver.cli.listen.remote import Remote
from receiver.cli.listen.stream import StreamEvent
from receiver.cli.listen.target import Answer, Target
from receiver.cli.text_output import echo
from receiver.clock import Clock
from receiver.model.retry import RetryPolicy, backoff_seconds

RETRIES = RetryPolicy(base_seconds=1.0, factor=2.0, cap_seconds=15.0)
"""Of the local address. A developer who has repaired it does not wait for long."""
MAX_ASKED_SECONDS = 60.0
"""The longest `Retry-After` that is followed."""
AUDIO_SECONDS = 30.0
"""How long after an event its audio is waited for, while the receiver is fetching it."""
AUDIO_NOTICE_SECONDS = 2.0
AUDIO_POLLS = RetryPolicy(base_seconds=0.02, factor=2.0, cap_seconds=0.5)


class Delivery:
    """Hands events over, one at a time.

    Args:
        skip: ids of events that are passed over.
        counts: to count what happens.
        rng: for the waits between attempts.

    Attributes:
        in_flight: the event that waits for an answer.
        stop: set to make no further attempt.
        clock_difference: seconds by which the receiver's clock is ahead of this machine's.
    """

    def __init__(
        self, remote: Remote, target: Target, skip: Collection[str], counts: lines.Counts, *, clock: Clock, rng: Random
    ) -> None:
        self._remote = remote
        self._target = target
        self._skip = skip
        self._counts = counts
        self._clock = clock
        self._rng = rng
        self.in_flight: StreamEvent | None = None
        self.stop = asyncio.Event()
        self.clock_difference = 0.0

    async def deliver(self, event: StreamEvent) -> str | None:
        """Return once the event is done with: the line to print when its position is kept. None: it was stopped first.

        Raises:
            RemoteUnavailable, ListenError: the event's details cannot be had.
            NotAStream: they cannot be read.
        """
        if event.id in self._skip:
            self._counts.skipped += 1
            return self._passed(event, "skipped")
        if event.state == "quarantined":
            self._counts.quarantined += 1
            return self._passed(event, "in quarantine, not handed over")
        detail = await self._detail(event)
        if detail is None:
            self._counts.deleted += 1
            return self._passed(event, "deleted before it was handed over")
        note = "audio not fetched" if awaits_audio(detail) else ""
        return await self._until_final(event, await build_message(detail, self._remote.audio_link), note)

    def _passed(self, event: StreamEvent, why: str) -> str:
        return lines.passed_line(event, self._clock.now(), why)

    async def _detail(self, event: StreamEvent) -> Mapping[str, Any] | None:
        """The event's details, with its audio if the receiver has it in time; None if the event was deleted."""
        announced = False
        polls = 0
        while (detail := await self._remote.event(event.id)) is not None and awaits_audio(detail):
            age = self._clock.now() + self.clock_difference - event.received_at
            if age >= AUDIO_SECONDS:
                break
            if age >= AUDIO_NOTICE_SECONDS and not announced:
                echo(lines.waiting_line(event, self._clock.now()))
                announced = True
            polls += 1
            await self._clock.wait(self.stop, backoff_seconds(AUDIO_POLLS, polls, 0.0))
        return detail

    async def _until_final(self, event: StreamEvent, message: Message, note: str) -> str | None:
        attempt = 0
        before: Answer | None = None
        while True:
            attempt += 1
            answer = await self._post(event, message)
            if answer.is_final:
                self._counts.accepted += answer.is_accepted
                self._counts.gone += not answer.is_accepted
                return lines.answer_line(event, self._clock.now(), answer, attempt, note)
            self._counts.repeated += 1
            backoff = backoff_seconds(RETRIES, attempt, self._rng.random())
            again = max(backoff, min(answer.retry_after, MAX_ASKED_SECONDS))
            self._report(event, answer, before, attempt, f"again in {again:.1f} s")
            before = answer
            await self._clock.wait(self.stop, again)
            if self.stop.is_set():
                return None

    def _report(self, event: StreamEvent, answer: Answer, before: Answer | None, attempt: int, again: str) -> None:
        """Print an answer that is not final, unless it is the same as the one before."""
        if before is not None and (before.status, before.detail) == (answer.status, answer.detail):
            return
        echo(
            lines.answer_line(event, self._clock.now(), answer, attempt, again),
            *lines.detail_lines(answer),
            *(lines.retry_lines(event) if before is None else ()),
        )

    async def _post(self, event: StreamEvent, message: Message) -> Answer:
        self.in_flight = event
        try:
            return await self._target.post(message, event.id)
        finally:
            self.in_flight = None
