"""The error of speech, apart from what raises it so that reading a file loads no client."""

from __future__ import annotations

from receiver.errors import ReceiverError


class SpeechError(ReceiverError):
    """Speech was not synthesized, or its audio not saved; the message says what to do."""
