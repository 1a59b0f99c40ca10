"""The faults that can be injected, their rates, and the injector that decides when one happens.

A fault happens by chance (a rate in `Faults`, decided by a seeded random stream) or because a test asked for
it (`FaultInjector.force`). Every fault that happened is counted in `FaultInjector.injected`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

NOT_RATES = frozenset({"clock_skew"})
FORCED_ONLY = frozenset({"redirect_to"})


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each thing goes wrong: rates from 0 (never) to 1 (always); `clock_skew` is seconds.

    Webhooks: duplicate, reorder, clock_skew, slow_body, truncated_webhook, dropped_webhook, forged,
    lost_webhook. The audio endpoint: expired_url, redirect_loop, redirect_private, audio_gone.
    Storage: the other audio faults. Any request to an API: the errors. Submit: refused_submit,
    late_job, slow_submit, lost_answer. Status of any provider (and audixa's history): slow_status,
    lost_status, garbage_json, odd_case, unknown_status; of those that are only polled also expired_id.
    """

    duplicate: float = 0.0
    """The same delivery is sent a second time at the same moment."""
    reorder: float = 0.0
    """The delivery waits until a later one has passed it (value: how many; default 1)."""
    clock_skew: float = 0.0
    """Seconds added to the signature's `t` (negative: the provider's clock is behind)."""
    slow_body: float = 0.0
    """The webhook's body is sent in small pieces (value: seconds for the whole body)."""
    truncated_webhook: float = 0.0
    """The body is cut short, its Content-Length with it; the signature is of the whole."""
    dropped_webhook: float = 0.0
    """The connection breaks in the middle of the webhook's body."""
    forged: float = 0.0
    """Before the true delivery comes one signed with another secret."""
    lost_webhook: float = 0.0
    """The delivery is never sent, nor any retry of it."""
    expired_url: float = 0.0
    """The first address of a job's audio that is given (by the audio endpoint of aitts, in a status
    answer of the others) has expired; the next is good."""
    redirect_loop: float = 0.0
    """The audio endpoint redirects to two addresses that redirect to each other forever."""
    redirect_private: float = 0.0
    """The audio endpoint redirects into a private network or to a cloud's metadata address."""
    audio_gone: float = 0.0
    """The audio endpoint answers 404 (value: another status, such as 410): the audio is not retained (any more). Of
    miragic only where it has the audio itself, and always 404."""
    object_gone: float = 0.0
    """Storage answers 404 NoSuchKey (value: another status, such as 410)."""
    truncated_audio: float = 0.0
    """Storage closes before Content-Length (value: bytes sent). Never for a Range request."""
    slow_audio: float = 0.0
    """Storage sends the audio in small pieces (value: seconds for the whole)."""
    html_audio: float = 0.0
    """Storage answers 200 with an HTML page instead of audio."""
    wrong_checksum: float = 0.0
    """Storage states checksums that are not those of the bytes it sends."""
    no_content_length: float = 0.0
    """Storage sends the audio chunked, without a length."""
    storage_503: float = 0.0
    """Storage answers 503 SlowDown."""
    error_429: float = 0.0
    """429, in each provider's words (value: seconds for Retry-After)."""
    error_500: float = 0.0
    """500, in each provider's words."""
    error_503: float = 0.0
    """503, in each provider's words (value: seconds for Retry-After)."""
    refused_submit: float = 0.0
    """The submit is refused for lack of credits, in each provider's words (value: the HTTP status;
    402, but for miragic 200)."""
    late_job: float = 0.0
    """The job is made, and its status is answered 404 for a while (value: seconds; default 5)."""
    slow_submit: float = 0.0
    """The job is made, and the answer to the submit takes its time (value: seconds; default 1)."""
    lost_answer: float = 0.0
    """The job is made, and the connection breaks before the answer to the submit."""
    slow_status: float = 0.0
    """The answer to a status request takes its time (value: seconds; default 1)."""
    lost_status: float = 0.0
    """The connection breaks before the answer to a status request."""
    garbage_json: float = 0.0
    """A status request is answered 200 with what is no JSON (value: the body)."""
    odd_case: float = 0.0
    """A status word comes in the other letter case. Never for finevoice, whose status is a number."""
    unknown_status: float = 0.0
    """The status is one that nobody documented (value: the word; for finevoice the number)."""
    expired_id: float = 0.0
    """A job's id is answered 404, as if it had expired. Not for aitts, whose ids do not."""

    def __post_init__(self) -> None:
        for name in RATES:
            rate = getattr(self, name)
            if not 0.0 <= rate <= 1.0:
                message = f"{name} is a rate between 0 and 1, not {rate}"
                raise ValueError(message)


RATES = frozenset(f.name for f in fields(Faults)) - NOT_RATES
NAMES = RATES | FORCED_ONLY


@dataclass(slots=True)
class Forced:
    """A fault that will happen `times` more times."""

    times: int
    value: float | str | None
    at: str | None
    job_id: str | None


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that happens now, with the value that came with it."""

    value: float | str | None = None

    def number(self, default: float) -> float:
        """The value as a number, or `default`."""
        return default if self.value is None else float(self.value)

    def text(self, default: str) -> str:
        """The value as text, or `default`."""
        return default if self.value is None else str(self.value)


@dataclass
class FaultInjector:
    """Decides which faults happen. Each has its own random stream, so that one rate does not change another fault."""

    seed: int
    faults: Faults
    on_injected: Callable[[], None] = lambda: None
    injected: Counter[str] = field(default_factory=Counter)
    _forced: dict[str, list[Forced]] = field(default_factory=dict)
    _streams: dict[str, random.Random] = field(default_factory=dict)

    def force(
        self,
        name: str,
        times: int = 1,
        *,
        value: float | str | None = None,
        at: str | None = None,
        job_id: str | None = None,
    ) -> None:
        """Make `name` happen the next `times` times it could (at `at`, for `job_id`, if given).

        `at` is a provider (`audixa`), an endpoint of any provider (`status`) or both
        (`audixa.status`). Raises ValueError for a fault that does not exist.
        """
        if name not in NAMES:
            message = f"no fault {name!r}; there are {', '.join(sorted(NAMES))}"
            raise ValueError(message)
        self._forced.setdefault(name, []).append(Forced(times, value, at, job_id))

    def draw(self, name: str, *, at: str, job_id: str = "", chance: bool = True) -> InjectedFault | None:
        """Whether `name` happens now. With `chance` off only what was forced can happen."""
        fault = self._take_forced(name, at, job_id)
        if fault is None and chance and name in RATES:
            rate = getattr(self.faults, name)
            if rate > 0 and self._stream(name).random() < rate:
                fault = InjectedFault()
        if fault is not None:
            self.injected[name] += 1
            self.on_injected()
        return fault

    def clear(self) -> None:
        """Drop the forced faults that have not happened yet."""
        self._forced.clear()

    def _take_forced(self, name: str, at: str, job_id: str) -> InjectedFault | None:
        for forced in self._forced.get(name, ()):
            here = forced.at in (None, at, *at.split(".")) and forced.job_id in (None, job_id)
            if here and forced.times > 0:
                forced.times -= 1
                return InjectedFault(forced.value)
        return None

    def _stream(self, name: str) -> random.Random:
        if name not in self._streams:
            stream = random.Random(f"{self.seed}:fault:{name}")
            self._streams[name] = stream
        return self._streams[name]
