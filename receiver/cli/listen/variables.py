"""The environment variables of `listen`. Without the prefix TTS_RECEIVER_, which is for settings."""

from __future__ import annotations

API_VARIABLE = "TTS_LISTEN_API"
TOKEN_VARIABLE = "TTS_LISTEN_TOKEN"  # noqa: S105 - a variable's name
