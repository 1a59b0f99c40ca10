"""The tree of errors.

Every error has a `reason`: a short slug that is the metric's label and the log's field. The sender of bad input gets a
plain status; the operator sees the reason and the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ReceiverError(Exception):
    """The base of all errors that the receiver raises itself.

    Args:
        message: a sentence for an operator: what happened, where, what to do. Never contains a secret.
        reason: the slug; by default that of the class.
    """

    reason: str = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A fault of the configuration: the key or file, and what is wrong and what to do."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(ReceiverError):
    """The configuration cannot be used; `problems` has all faults."""

    reason = "config"

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginError(ReceiverError):
    """A plugin cannot be loaded or is not valid; the message names it."""

    reason = "plugin"


class SignatureError(ReceiverError):
    """A delivery's signature is not valid. The response does not contain the reason."""

    reason = "bad_signature"


class MalformedDelivery(ReceiverError):
    """A delivery with a valid signature and a body that cannot be read."""

    reason = "malformed"


class InvalidJson(ReceiverError):
    """A text is not JSON, or not the expected type of JSON value."""

    reason = "malformed_json"


class StoreUnavailable(ReceiverError):
    """The store did not commit; the delivery must not be acknowledged."""

    reason = "store_unavailable"


class NotRunning(StoreUnavailable):
    """The receiver has not started, or has stopped: its store is not open."""

    reason = "not_running"


class StoreBusy(StoreUnavailable):
    """More writes wait for a commit than the limit allows."""

    reason = "store_busy"


class StoreStalled(StoreUnavailable):
    """A delivery has waited too long for its commit, which may still happen."""

    reason = "store_stalled"


class StoreLocked(StoreUnavailable):
    """Another process does not end its write transaction."""

    reason = "store_locked"


class StoreFull(StoreUnavailable):
    """The store's disk is full."""

    reason = "store_full"


class StoreMalformed(StoreUnavailable):
    """The store's file is damaged, or is not a store. It must be restored, and the receiver restarted."""

    reason = "store_malformed"


class StoreMigrated(StoreUnavailable):
    """The store was migrated under this process to a schema that its release does not know."""

    reason = "store_migrated"


class QuarantineFull(StoreUnavailable):
    """The source has the maximum of events in quarantine; another one is not stored."""

    reason = "quarantine_full"


class ListingTimeout(ReceiverError):
    """A list, a search or a count exceeded its time limit. Nothing was changed."""

    reason = "listing_timeout"


class ListingBusy(ListingTimeout):
    """Other lists were being read until the time limit. Nothing was read."""

    reason = "listing_busy"


class NotFound(ReceiverError):
    """An object requested by name or id does not exist."""

    reason = "not_found"


class Conflict(ReceiverError):
    """The state of an object does not allow the request: a job that has ended cannot be cancelled."""

    reason = "conflict"


class Reject(ReceiverError):
    """A handler raises it if the event can never be handled; the run becomes a dead letter at once."""

    reason = "rejected"


class ThreadsExhausted(ReceiverError):
    """Too many threads of a plain handler have not returned, so no attempt starts; the run is retried."""

    reason = "handler_hangs"


MAX_RETRY_SECONDS = 30 * 86_400.0
"""The longest wait before a retry, so that a wrong `after` does not postpone a run for ever."""


class RetryLater(ReceiverError):
    """A handler raises it to be retried, not before `after` seconds from now, at most `MAX_RETRY_SECONDS`.

    The attempt counts like any other. The wait is the longer one of `after` and the backoff.

    Attributes:
        counts: whether the attempt counts; False only for errors that the attempt did not cause.
    """

    reason = "retry_later"
    counts = True

    def __init__(self, message: str, *, after: float, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.after = min(max(0.0, after), MAX_RETRY_SECONDS)


class LoopBlocked(RetryLater):
    """Another run blocks the handlers' event loop, so this one could not continue; the attempt does not count."""

    reason = "loop_blocked"
    counts = False


class OutboundError(ReceiverError):
    """A request to a provider or its storage got no response; a retry may succeed."""

    reason = "outbound_failed"


class Interrupted(OutboundError):
    """The connection failed or was closed; the same request may succeed if it is repeated."""

    reason = "interrupted"


class UnusableAddress(OutboundError):
    """The request was not sent, because its address cannot be used. Final until an operator acts."""

    reason = "bad_address"


class BlockedAddress(UnusableAddress):
    """The address guard refused the address: private, loopback, link-local, metadata, or not https."""

    reason = "blocked_address"


class AudioError(ReceiverError):
    """The audio could not be fetched; the run is retried with backoff.

    Attributes:
        not_found: an address returned 404. Just after the end of a job its audio may not exist yet.
        expired: a temporary address has expired. The source may return a new one.
    """

    reason = "audio_failed"
    not_found = False
    expired = False


class AudioGone(AudioError, Reject):
    """The provider no longer has the audio (404 or 410). Final."""

    reason = "audio_gone"


class AudioRefused(AudioError, Reject):
    """The provider refused (401, 402, 403), or the audio cannot be fetched safely. Final until an operator acts."""

    reason = "audio_refused"


class NoAudio(AudioError, Reject):
    """There is no audio: the job completed without any (a transcript), or the event is not a completed job."""

    reason = "no_audio"


class AudioDelayed(AudioError, RetryLater):
    """The provider asked us to wait (429, 503), or the download was too slow and is resumed later."""

    reason = "audio_delayed"


class AudioPostponed(AudioDelayed):
    """Retry later, for a reason outside this attempt, which therefore does not count.

    The job has just completed and its audio does not exist yet, or its source has the maximum of downloads. The code
    that raises it limits the time.
    """

    reason = "audio_not_yet"
    counts = False


class StoragePaused(AudioPostponed):
    """The audio storage cannot be used and fetching is paused; the run waits for the end of the pause."""

    reason = "storage_paused"


class NoSignedUrl(Reject):
    """The audio storage has no signed addresses: it is a folder. Final until an operator changes it."""

    reason = "no_signed_url"


class StorageFailed(AudioError):
    """The audio storage, or the spool folder, cannot be used."""

    reason = "storage_failed"
