"""The tests that every provider module must pass, for any service. Run them on your own provider.

This package needs `pytest` and `hypothesis`, which the receiver does not install; no other package imports it.

Record responses of the service's API in a folder (see `receiver.contract.recorded`), then

    @pytest.fixture(scope="module")
    def provider() -> Provider:
        return Murmur()

    @pytest.fixture(scope="module")
    def folder() -> Path:
        return Path(__file__).parent / "documents"

    class TestMurmur(ProviderContract):
        pass
"""

from __future__ import annotations

import pytest

for module in ("checks", "files", "lists", "provider", "recorded", "status", "stream", "submit", "webhook"):
    pytest.register_assert_rewrite(f"receiver.contract.{module}")  # so that a failure shows the values

from receiver.contract.provider import ProviderContract  # noqa: E402
from receiver.contract.recorded import Recorded, load  # noqa: E402

__all__ = ["ProviderContract", "Recorded", "load"]
