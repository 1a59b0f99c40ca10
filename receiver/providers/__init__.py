"""How each kind of service speaks: pure modules that read responses and say which requests to make."""

from __future__ import annotations

from receiver.providers.aitts import Aitts
from receiver.providers.audixa import Audixa
from receiver.providers.base import Provider
from receiver.providers.finevoice import Finevoice
from receiver.providers.miragic import Miragic

_ALL: tuple[Provider, ...] = (Aitts(), Audixa(), Finevoice(), Miragic())

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
"""Every provider by the word that a source's `provider` key uses."""
