"""The error of speech, in a module of its own so that reading a file imports no client."""

from __future__ import annotations

from receiver.errors import ReceiverError


class SpeechError(ReceiverError):
    """Speech was not synthesized, or its audio was not saved; the message says what to do."""
