"""What the private API needs from the rest of the receiver; the assembly passes it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from starlette.types import Scope

    from receiver.clock import Clock
    from receiver.engine.audit import ChangeRecorder
    from receiver.engine.jobs.requests import JobRequest
    from receiver.engine.jobs.streaming import StreamStart
    from receiver.engine.operations import OperationService
    from receiver.engine.plugins import Registry
    from receiver.model.redact import Redactor
    from receiver.outbound.live_audio import LiveAudio
    from receiver.outbound.storage_types import Storage
    from receiver.providers.types import Speech, StreamedJob, Voice, VoiceQuery
    from receiver.settings import Settings
    from receiver.store.database import Database
    from receiver.store.states import JobKind
    from receiver.web.api.feed import Feed
    from receiver.web.body import BodyLimits

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """Everything that an operation may use.

    Attributes:
        polled: the sources whose jobs are polled.
        running: whether the store is open; while it is not, every operation is refused.
        wake: called after runs became due.
        submit: (recorder, source, request, client key) to the job's row, and whether it is new; as `JobService.submit`.
        submit_stream: as `submit`, for a job whose audio is streamed; see `StreamService.submit`.
        open_stream: (a job's row, its stream) to the audio as it is made; see `StreamService.open`.
        wait_until_submitted: (job id, seconds) to the row, once it is not `submitting`, or after these seconds.
        watch: (recorder, source, the provider's job id, what it is if that is known) to the row, and whether it is new.
        cancel: (recorder, a job's id) to its row, cancelled; None if there is no such job. Raises Conflict if it is
            too late.
        voices: (source, query) to the voices that the provider offers.
        client: a request's scope to the sender's address.
        logins: counts a login to the console, by how it ended.
    """

    database: Database
    settings: Settings
    registry: Registry
    storage: Storage
    redact: Redactor
    feed: Feed
    operations: OperationService
    body_limits: BodyLimits
    clock: Clock
    rng: random.Random
    polled: Collection[str]
    running: Callable[[], bool]
    wake: Callable[[], None]
    submit: Callable[[ChangeRecorder, str, JobRequest, str | None], Awaitable[tuple[Row, bool]]]
    submit_stream: Callable[[ChangeRecorder, str, Speech, str | None], Awaitable[StreamStart]]
    open_stream: Callable[[Row, StreamedJob], AbstractAsyncContextManager[LiveAudio]]
    wait_until_submitted: Callable[[str, float], Awaitable[Row]]
    watch: Callable[[ChangeRecorder, str, str, JobKind | None], Awaitable[tuple[Row, bool]]]
    cancel: Callable[[ChangeRecorder, str], Awaitable[Row | None]]
    voices: Callable[[str, VoiceQuery], Awaitable[Sequence[Voice]]]
    client: Callable[[Scope], str | None]
    logins: Callable[[str], None]
