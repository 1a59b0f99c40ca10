"""A receiver's folder and a simulated provider for each test; both are gone at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.proxies import SITE, TRUSTED
from tests.acceptance.support import API_KEY, SECRET, Provider, Server, Site
from tests.acceptance.wrong_provider import Stub
from tests.certificate import self_signed


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty folder to configure and start a receiver in; what was started there is ended.

    Whatever the test does, no log and no output may show a secret, nor a traceback.
    """
    it = Site(tmp_path / "site")
    yield it
    it.close()
    written = it.everything_written()
    assert SECRET not in written
    assert API_KEY not in written
    assert "Traceback" not in written


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The provider, listening. No request to its storage may carry credentials."""
    it = Provider()
    yield it
    it.close()
    assert it.sim.leaks == []


@pytest.fixture
def stub() -> Iterator[Callable[[Callable[[Any], None]], Stub]]:
    """Makes providers that answer wrongly."""
    made: list[Stub] = []

    def make(answer: Callable[[Any], None]) -> Stub:
        made.append(Stub(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the proxies, with its key."""
    return self_signed(tmp_path_factory.mktemp("certificate") / "both.pem", SITE)


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Server]]:
    """One receiver for all proxies, configured as the how-to says."""
    site = Site(tmp_path_factory.mktemp("receiver") / "site")
    site.configure(server=f"port = 0\nprivate_port = 0\n{TRUSTED}")
    yield site, site.start()
    site.close()
    assert SECRET not in site.everything_written()
    assert "Traceback" not in site.everything_written()
