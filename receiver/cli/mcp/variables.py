"""The environment variables of `mcp`. Without the prefix TTS_RECEIVER_, which is for settings."""

from __future__ import annotations

API_VARIABLE = "TTS_MCP_API"
TOKEN_VARIABLE = "TTS_MCP_TOKEN"  # noqa: S105 - a variable's name
