"""Every provider keeps the contract, on recorded documents of its own API."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.contract import ProviderContract
from receiver.providers import PROVIDERS
from receiver.providers.protocols import Provider


@pytest.fixture(scope="module", params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


@pytest.fixture(scope="module")
def folder(provider: Provider) -> Path:
    return Path(__file__).parent / "documents" / provider.name


class TestEveryProvider(ProviderContract):
    pass
