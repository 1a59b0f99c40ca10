"""The kind and the reason of an error: words by which failed runs are grouped, filtered and counted.

The kind is one of a small set: how the attempt ended, the slug of one of the receiver's own errors, or an exception's
class. The reason is finer, and chosen by the code that raised the error (docs/adr/0091).
"""

from __future__ import annotations

import re

from receiver import errors
from receiver.errors import ReceiverError
from receiver.model.redact import truncate

MAX_WORD_CHARACTERS = 64
MAX_UNREDACTED_CHARACTERS = 1000
"""Characters of a name or reason that are kept until it is redacted."""

_NOT_OF_A_WORD = re.compile(r"[^\w.-]+")


def error_kind(error: BaseException) -> str:
    """The slug of the receiver's own class that it is of, such as `rejected` or `audio_gone`; else its class's name."""
    of = _own_class(error)
    return truncate(type(error).__name__, MAX_UNREDACTED_CHARACTERS) if of is None else of.reason


def error_reason(error: BaseException) -> str | None:
    """The error's own `reason`; None if it says no more than its kind."""
    if not isinstance(error, ReceiverError):
        return None
    try:
        reason = str.__str__(str(error.reason))
    except BaseException:  # noqa: BLE001 - a handler's own property, or an object whose text cannot be made
        return None
    if not reason or reason in (error_kind(error), ReceiverError.reason):
        return None
    return truncate(reason, MAX_UNREDACTED_CHARACTERS)


def as_word(text: str) -> str:
    """The text as a word of up to 64 letters, digits, `_`, `-` and `.`; anything else becomes `_`."""
    return _NOT_OF_A_WORD.sub("_", text)[:MAX_WORD_CHARACTERS]


def _own_class(error: BaseException) -> type[ReceiverError] | None:
    for base in type(error).__mro__:
        if base.__module__ == errors.__name__ and base is not ReceiverError and issubclass(base, ReceiverError):
            return base
    return None
