"""How each kind of service speaks: pure modules that read responses and say which requests to make."""

from __future__ import annotations

from receiver.providers.registry import PROVIDERS, known_providers

__all__ = ["PROVIDERS", "known_providers"]
