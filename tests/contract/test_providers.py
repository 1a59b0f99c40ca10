"""Every provider keeps the contract, on recorded documents of its own API."""

from __future__ import annotations

import pytest

from receiver.providers import PROVIDERS
from receiver.providers.base import Provider
from tests.contract.provider_contract import ProviderContract
from tests.contract.recorded import DOCUMENTS, Recorded, load


@pytest.fixture(scope="module", params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


@pytest.fixture(scope="module")
def documents(provider: Provider) -> list[Recorded]:
    return load(DOCUMENTS / provider.name)


@pytest.fixture(scope="module")
def submits(provider: Provider) -> list[Recorded]:
    return load(DOCUMENTS / provider.name / "submit")


class TestEveryProvider(ProviderContract):
    pass
