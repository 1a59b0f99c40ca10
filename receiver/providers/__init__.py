"""How each kind of service speaks: pure modules that read responses and say which requests to make."""

from __future__ import annotations

from receiver.providers.aitts import Aitts
from receiver.providers.base import Provider

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (Aitts(),)}
"""Every provider by the word that a source's `provider` key uses."""
