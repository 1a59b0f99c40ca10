"""The faults that can be injected, their rates, and the injector that decides when one happens.

A fault happens by chance (a rate in `Faults`, decided by a seeded random stream) or because a test asked for
it (`FaultInjector.force`). `FaultInjector.injected` counts the faults that happened.
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
    """How often each fault happens: rates from 0 (never) to 1 (always); `clock_skew` is in seconds.

    Webhooks: duplicate, reorder, clock_skew, slow_body, truncated_webhook, dropped_webhook, forged, lost_webhook. The
    audio endpoint: expired_url, redirect_loop, redirect_private, audio_gone. Storage: the other audio faults. Any
    request to an API: error_429, error_500, error_503. Submit: refused_submit, late_job, slow_submit, lost_answer.
    Streams of aitts: no_stream_url, expired_stream, refused_stream, html_stream, cut_stream, stalled_stream.
    Status of every provider, and audixa's history: slow_status, lost_status, garbage_json, odd_case, unknown_status;
    status of audixa, finevoice and miragic: expired_id.
    """

    duplicate: float = 0.0
    """The same delivery is sent a second time at the same moment."""
    reorder: float = 0.0
    """The delivery waits until a later one has been sent (value: how many later ones; default 1)."""
    clock_skew: float = 0.0
    """Seconds added to the signature's `t` (negative: the provider's clock is behind)."""
    slow_body: float = 0.0
    """The webhook's body is sent in small chunks (value: seconds for the whole body)."""
    truncated_webhook: float = 0.0
    """The body is cut short and its Content-Length matches; the signature is of the whole body."""
    dropped_webhook: float = 0.0
    """The connection breaks in the middle of the webhook's body."""
    forged: float = 0.0
    """A delivery that is signed with another secret is sent before the real one."""
    lost_webhook: float = 0.0
    """The delivery is never sent, nor any retry of it."""
    expired_url: float = 0.0
    """The first address of a job's audio (from the audio endpoint of aitts, in a status response of the others) has
    expired; later ones are valid."""
    redirect_loop: float = 0.0
    """The audio endpoint redirects to one of two addresses that redirect to each other."""
    redirect_private: float = 0.0
    """The audio endpoint redirects to an address in a private network or to a cloud's metadata address."""
    audio_gone: float = 0.0
    """The audio endpoint returns 404 (value: another status, such as 410): the audio is no longer retained. For
    miragic only if its own origin serves the audio, and always 404."""
    object_gone: float = 0.0
    """Storage returns 404 NoSuchKey (value: another status, such as 410)."""
    truncated_audio: float = 0.0
    """Storage closes the connection before all bytes are sent (value: bytes sent). Never for a Range request."""
    slow_audio: float = 0.0
    """Storage sends the audio in small chunks (value: seconds for all of them)."""
    html_audio: float = 0.0
    """Storage returns 200 with an HTML page instead of audio."""
    wrong_checksum: float = 0.0
    """Storage sends checksums that do not match the audio."""
    no_content_length: float = 0.0
    """Storage sends the audio without a Content-Length."""
    storage_503: float = 0.0
    """Storage returns 503 SlowDown."""
    error_429: float = 0.0
    """429, as the provider sends it (value: seconds for Retry-After)."""
    error_500: float = 0.0
    """500, as the provider sends it."""
    error_503: float = 0.0
    """503, as the provider sends it (value: seconds for Retry-After)."""
    refused_submit: float = 0.0
    """The submit is refused for lack of credits, as the provider does it (value: the HTTP status; default 402, for
    miragic 200)."""
    late_job: float = 0.0
    """The job is created, and its status is 404 at first (value: for how many seconds; default 5)."""
    slow_submit: float = 0.0
    """The job is created, and the response to the submit is late (value: seconds; default 1)."""
    lost_answer: float = 0.0
    """The job is created, and the connection breaks before the response to the submit."""
    no_stream_url: float = 0.0
    """The job is created, and the response to the submit of a stream has no `stream_url`."""
    expired_stream: float = 0.0
    """The address of the stream has expired when it is used."""
    refused_stream: float = 0.0
    """The address of the stream returns 503 (value: another status), and is used up."""
    html_stream: float = 0.0
    """The address of the stream returns 200 with an HTML page, and is used up."""
    cut_stream: float = 0.0
    """The connection breaks before all of the stream is sent (value: bytes sent)."""
    stalled_stream: float = 0.0
    """The stream stops, and the connection stays open (value: bytes sent)."""
    slow_status: float = 0.0
    """The response to a status request is late (value: seconds; default 1)."""
    lost_status: float = 0.0
    """The connection breaks before the response to a status request."""
    garbage_json: float = 0.0
    """A status request gets 200 and a body that is not JSON (value: the body)."""
    odd_case: float = 0.0
    """The case of the status word is swapped. Never for finevoice, whose status is a number."""
    unknown_status: float = 0.0
    """The status is an undocumented one (value: the word; for finevoice the number)."""
    expired_id: float = 0.0
    """A status request gets 404, as if the job's id had expired. Never for aitts, whose ids do not expire."""

    def __post_init__(self) -> None:
        for name in RATES:
            rate = getattr(self, name)
            if not 0.0 <= rate <= 1.0:
                message = f"{name} is a rate between 0 and 1, not {rate}"
                raise ValueError(message)


RATES = frozenset(f.name for f in fields(Faults)) - NOT_RATES
NAMES = RATES | FORCED_ONLY


@dataclass(slots=True)
class ForcedFault:
    """A fault that will happen `times` more times."""

    times: int
    value: float | str | None
    at: str | None
    job_id: str | None


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that happens now, with the value that `force` gave."""

    value: float | str | None = None

    def number(self, default: float) -> float:
        """Return the value as a number, or `default`."""
        return default if self.value is None else float(self.value)

    def text(self, default: str) -> str:
        """Return the value as text, or `default`."""
        return default if self.value is None else str(self.value)


@dataclass
class FaultInjector:
    """Decides which faults happen. Each fault has its own random numbers, so a rate does not affect other faults."""

    seed: int
    faults: Faults
    on_injected: Callable[[], None] = lambda: None
    injected: Counter[str] = field(default_factory=Counter)
    _forced: dict[str, list[ForcedFault]] = field(default_factory=dict)
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
        """Make `name` happen at the next `times` opportunities (at `at`, for `job_id`, if given).

        `at` is a provider (`audixa`), an endpoint of any provider (`status`) or both (`audixa.status`). Raises
        ValueError for a fault that does not exist.
        """
        if name not in NAMES:
            message = f"no fault {name!r}; the faults: {', '.join(sorted(NAMES))}"
            raise ValueError(message)
        self._forced.setdefault(name, []).append(ForcedFault(times, value, at, job_id))

    def trigger(self, name: str, *, at: str, job_id: str = "", chance: bool = True) -> InjectedFault | None:
        """Return the fault if it happens now, else None. Without `chance` only a forced fault can happen."""
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
        """Discard the forced faults that have not happened yet."""
        self._forced.clear()

    def _take_forced(self, name: str, at: str, job_id: str) -> InjectedFault | None:
        for forced in self._forced.get(name, ()):
            matches = forced.at in (None, at, *at.split(".")) and forced.job_id in (None, job_id)
            if matches and forced.times > 0:
                forced.times -= 1
                return InjectedFault(forced.value)
        return None

    def _stream(self, name: str) -> random.Random:
        if name not in self._streams:
            stream = random.Random(f"{self.seed}:fault:{name}")
            self._streams[name] = stream
        return self._streams[name]
