"""How one execution of a handler ended: what it returned or raised, as bounded plain values.

Made on the thread or loop where the handler ran. The handler's own objects can misbehave when they are converted to
text (raise, never end, be huge); here they cannot harm the thread that receives deliveries.
"""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from typing import Any, Self

from receiver.engine.results import bounded_json
from receiver.errors import ReceiverError, Reject, RetryLater
from receiver.model.error_kind import error_kind, error_reason
from receiver.model.printable import storable
from receiver.model.redact import truncate
from receiver.model.retry import RetryPolicy, wait_seconds

MAX_TEXT = 262_144
"""Characters of an error's text or trace that are kept until it is redacted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one execution of a handler ended.

    Attributes:
        word: succeeded, failed, rejected, retry_later or postponed; timeout and released are the dispatcher's.
        result: what the handler returned, as JSON values.
        error: what it raised, for all but succeeded and released.
        text: the error in a line or more; with secrets.
        trace: the traceback, with secrets; empty if the error needs none.
        kind: of the error, a word that may have secrets; empty for succeeded and released.
        reason: of the error, as `kind`; None if it has none.
        after: seconds to wait at least.
    """

    word: str
    result: Any = None
    error: BaseException | None = None
    text: str = ""
    trace: str = ""
    kind: str = ""
    reason: str | None = None
    after: float = 0.0

    @classmethod
    def of_result(cls, result: Any) -> Outcome:
        """The end of a handler that returned."""
        return _SUCCEEDED if result is None else cls("succeeded", result=bounded_json(result))

    @classmethod
    def of_error(cls, error: BaseException) -> Self:
        """The end of a handler that raised any exception."""
        text, trace, kind, reason = _text(error), _trace(error), error_kind(error), error_reason(error)
        if isinstance(error, Reject):
            return cls("rejected", error=error, text=text, trace=trace, kind=kind, reason=reason)
        try:
            if isinstance(error, RetryLater):
                word = "retry_later" if error.counts else "postponed"
                after = _seconds(error.after)
                return cls(word, error=error, text=text, trace=trace, kind=kind, reason=reason, after=after)
        except BaseException as broken:  # noqa: BLE001 - a handler's own subclass that was never initialised
            trace = _trace(broken)
        return cls("failed", error=error, text=text, trace=trace, kind=kind, reason=reason)

    @classmethod
    def of_timeout(cls, seconds: float) -> Self:
        """The end of a handler that timed out."""
        error = TimeoutError(f"not done after {seconds:g} s")
        return cls("timeout", error=error, text=_text(error), kind="timeout")

    @property
    def counts(self) -> bool:
        """Whether this was one of the handler's attempts."""
        return self.word != "postponed"

    def wait(self, policy: RetryPolicy, attempt: int, jitter: float) -> float | None:
        """Seconds until the next attempt after one that failed; None if there is none.

        Args:
            attempt: attempts that count so far, this one included.
            jitter: a random number in [0, 1).
        """
        if self.word == "rejected":
            return None
        return wait_seconds(policy, attempt, jitter, retry_after=self.after) if self.counts else self.after


_SUCCEEDED = Outcome("succeeded")


def _seconds(after: Any) -> float:
    seconds = float(after)
    if not math.isfinite(seconds):
        raise ValueError("after is not finite")
    return max(0.0, seconds)


def _text(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str.__str__(str(error))  # not the methods of a subclass of str
    except BaseException:  # noqa: BLE001 - a handler's own exception class, whose text cannot be made
        return name
    text = truncate(text, MAX_TEXT)
    return storable(text or name if isinstance(error, ReceiverError) else f"{name}: {text}")


def _trace(error: BaseException) -> str:
    """The beginning and the end of the traceback; empty for an error that needs none."""
    if isinstance(error, ReceiverError | TimeoutError):
        return ""
    try:
        text = "".join(traceback.format_exception(error)).rstrip()
    except BaseException:  # noqa: BLE001 - as above; the text of a cause, or a note
        text = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    if len(text) > MAX_TEXT:
        text = f"{truncate(text, MAX_TEXT // 2)}\n{text[-MAX_TEXT // 2 :]}"
    return storable(text)
