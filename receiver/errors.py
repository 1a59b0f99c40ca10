"""The one tree of errors.

Every error carries a `reason`: a short slug that is the metric's label and the log's field. The person who
sent us bad input sees a plain status; the person on call sees the reason and the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ReceiverError(Exception):
    """Anything the receiver itself can say went wrong.

    Args:
        message: one sentence for a person: what happened, where, what to do. Never holds a secret.
        reason: the slug; a class has a default.
    """

    reason: str = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where it stands, what is wrong, what to do."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(ReceiverError):
    """The configuration cannot be used; `problems` has every reason at once."""

    reason = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginError(ReceiverError):
    """A handler plugin cannot be loaded or does not fit; the message names it."""

    reason = "plugin"


class SignatureError(ReceiverError):
    """A delivery's signature does not hold. The sender is never told why."""

    reason = "bad_signature"


class MalformedDelivery(ReceiverError):
    """A delivery whose signature holds, but whose body cannot be read."""

    reason = "malformed"


class InvalidJson(ReceiverError):
    """A text is not JSON, or is not the kind of JSON that it must be."""

    reason = "malformed_json"


class StoreUnavailable(ReceiverError):
    """The store did not commit; nothing may be acknowledged."""

    reason = "store_unavailable"


class StoreBusy(StoreUnavailable):
    """More is waiting to be committed than the bound allows."""

    reason = "store_busy"


class StoreLocked(StoreUnavailable):
    """Another process holds a write transaction and does not end it."""

    reason = "store_locked"


class StoreFull(StoreUnavailable):
    """The store's disk is full."""

    reason = "store_full"


class StoreMalformed(StoreUnavailable):
    """The store's file is damaged, or is not a store. It stays so until it is restored and the receiver restarted."""

    reason = "store_malformed"


class QuarantineFull(StoreUnavailable):
    """The source has the maximum of events in quarantine; a further one is not kept."""

    reason = "quarantine_full"


class ListingTimeout(ReceiverError):
    """A list, a search or a count took longer than it may, and was ended. Nothing was changed."""

    reason = "listing_timeout"


class ListingBusy(ListingTimeout):
    """Other lists were being read for as long as one waits for its turn. Nothing was read."""

    reason = "listing_busy"


class NotFound(ReceiverError):
    """Something asked for by name or id is not there."""

    reason = "not_found"


class Conflict(ReceiverError):
    """The state of what is there does not allow what was asked for: a job that has ended cannot be cancelled."""

    reason = "conflict"


class Reject(ReceiverError):
    """Raised by a handler: this event can never be handled; the run becomes a dead letter at once."""

    reason = "rejected"


class HandlerHangs(ReceiverError):
    """Too many threads of a plain handler have not returned, so no attempt starts; the run is tried again."""

    reason = "handler_hangs"


MAX_RETRY_SECONDS = 30 * 86_400.0
"""No run is put off for longer: a mistaken `after` must not park it for ever."""


class RetryLater(ReceiverError):
    """Raised by a handler: try again, not before `after` seconds from now, at most `MAX_RETRY_SECONDS`.

    The attempt counts like any other. The wait is at least `after` and at least what backoff would give.

    Attributes:
        counts: whether the attempt is one of the handler's attempts; only that of an `AudioPostponed` is not.
    """

    reason = "retry_later"
    counts = True

    def __init__(self, message: str, *, after: float, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.after = min(max(0.0, after), MAX_RETRY_SECONDS)


class HeldUp(RetryLater):
    """Another run blocks the handlers' event loop, so this one could not go on; the attempt does not count."""

    reason = "held_up"
    counts = False


class OutboundError(ReceiverError):
    """A request to a provider or to its storage was not answered; another try may help."""

    reason = "outbound_failed"


class Interrupted(OutboundError):
    """The connection could not be made, or broke; the same request may well work when it is made again."""

    reason = "interrupted"


class UnusableAddress(OutboundError):
    """The request was not made: its address cannot be used. Final until an operator acts."""

    reason = "bad_address"


class BlockedAddress(UnusableAddress):
    """The address guard will not connect there: private, loopback, link-local, metadata, or not https."""

    reason = "blocked_address"


class AudioError(ReceiverError):
    """The audio could not be fetched this time; the run is tried again with backoff.

    Attributes:
        not_found: an address answered 404. Just after the end of a job the audio may not be there yet.
        expired: a temporary address has expired. The source may give a fresh one.
    """

    reason = "audio_failed"
    not_found = False
    expired = False


class AudioGone(AudioError, Reject):
    """The provider no longer has the audio (404 or 410). Final."""

    reason = "audio_gone"


class AudioRefused(AudioError, Reject):
    """The provider refuses us (401, 402, 403), or the audio cannot be fetched safely. Final until an operator acts."""

    reason = "audio_refused"


class NoAudio(AudioError, Reject):
    """There is nothing to fetch: the job completed without audio (a transcript), or the event is no completed job."""

    reason = "no_audio"


class AudioDelayed(AudioError, RetryLater):
    """The provider asked us to wait (429, 503), or the download was too slow and is resumed later."""

    reason = "audio_delayed"


class AudioPostponed(AudioDelayed):
    """Retry later, for a reason outside this attempt, which therefore does not count.

    The job has only just completed, and its audio is not there yet; or its source has the maximum of downloads.
    The code that raises it limits how long this goes on.
    """

    reason = "audio_not_yet"
    counts = False


class StoragePaused(AudioPostponed):
    """The audio storage cannot be used, and fetching is paused; the run waits until it can."""

    reason = "storage_paused"


class StorageFailed(AudioError):
    """The audio storage, or the folder of unfinished files, cannot be used."""

    reason = "storage_failed"
