"""A receiver's folder and a simulated provider for each test; both are gone at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import Provider, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty folder to configure and start a receiver in; what was started there is ended."""
    it = Site(tmp_path / "site")
    yield it
    it.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The provider, listening. No request to its storage may carry credentials."""
    it = Provider()
    yield it
    it.close()
    assert it.sim.leaks == []
