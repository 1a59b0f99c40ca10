"""The errors of `listen`."""

from __future__ import annotations

from receiver.errors import ReceiverError


class ListenError(ReceiverError):
    """`listen` cannot start, or cannot go on; the message says why and what to do."""

    reason = "listen"


class NotAStream(ListenError):
    """What was sent is not what a receiver sends."""


class RemoteUnavailable(ListenError):
    """The receiver cannot be used now; the command tries again.

    Attributes:
        retry_after: seconds that it asks to wait; 0 if it does not ask.
    """

    retry_after = 0.0
