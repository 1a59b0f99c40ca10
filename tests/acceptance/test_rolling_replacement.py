"""Two intakes behind a small balancer are replaced one after the other, under load: no delivery fails."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest

from tests.acceptance.balancer import Balancer
from tests.acceptance.load import Load
from tests.acceptance.proxies import free_port
from tests.acceptance.support import Server, Site, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_address, query

PER_SECOND = 100
BETWEEN = 60
"""Deliveries between two steps."""
LATE, NEVER = 10, 1_000_000
"""Deliveries that a balancer still sends to an intake that is not ready."""


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql_address(postgresql) as address:
        yield address


class Intakes:
    """Two intakes behind a balancer, and a provider that delivers there."""

    def __init__(self, site: Site, late: int) -> None:
        self._site = site
        self._ports = [free_port(), free_port()]
        self.running = [self._launch(port) for port in self._ports]
        self.upstreams = [intake.wait_until_listening().public for intake in self.running]
        self.balancer = Balancer(*self.upstreams, late=late)
        self.load = Load(random.Random(12), PER_SECOND, base=self.balancer.url)

    def _launch(self, port: int) -> Server:
        return self._site.launch("--only", "intake", "--port", str(port))

    def receive(self) -> None:
        """Let the provider deliver for a while."""
        sent = self.load.sent
        until("there is load", lambda: self.load.sent >= sent + BETWEEN)

    def replace(self, n: int) -> None:
        """Start an intake where one has ended."""
        passed = self.balancer.passed[self.upstreams[n]]
        self.running[n] = self._launch(self._ports[n])
        until("the new one receives", lambda: self.balancer.passed[self.upstreams[n]] > passed)


@pytest.fixture
def start(site: Site, address: str) -> Callable[[int, int], AbstractContextManager[Intakes]]:
    """Starts intakes: how long they drain (seconds), and how late the balancer notices (deliveries).

    After the block every delivery was acknowledged, and is stored.
    """

    @contextmanager
    def start_them(drain_seconds: int, late: int) -> Iterator[Intakes]:
        server = f"private_port = 0\ndrain_seconds = {drain_seconds}"
        site.configure(f'[store]\nurl = "{address}"', server=server, source="tolerance_seconds = 3600")
        intakes = Intakes(site, late)
        load, balancer = intakes.load, intakes.balancer
        with closing(balancer):
            for upstream in intakes.upstreams:
                until(f"{upstream} is ready", lambda upstream=upstream: balancer.is_ready(upstream))
            load.start()
            try:
                intakes.receive()
                yield intakes
                load.no_more()
                until("everything is acknowledged", lambda: load.everything_acknowledged)
            finally:
                load.stop()
        assert load.contradictions == []
        stored = {row["id"] for row in query(address, "SELECT id FROM events")}
        assert stored == set(load.acknowledged.values())

    return start_them


def test_a_rolling_replacement_of_two_intakes_fails_no_delivery(
    start: Callable[[int, int], AbstractContextManager[Intakes]],
) -> None:
    with start(300, LATE) as intakes:
        for n, upstream in enumerate(intakes.upstreams):
            intakes.running[n].send_signal(signal.SIGTERM)
            until("the balancer has noticed", lambda upstream=upstream: intakes.balancer.has_left(upstream))
            assert intakes.running[n].stop() == 0, "a second signal ends the wait"
            intakes.receive()
            intakes.replace(n)
    load = intakes.load
    assert (load.unanswered, set(load.statuses) - {200, 202}) == (0, set()), load.statuses


def test_an_intake_that_does_not_drain_fails_deliveries_until_the_balancer_has_noticed(
    start: Callable[[int, int], AbstractContextManager[Intakes]],
) -> None:
    with start(0, NEVER) as intakes:
        assert intakes.running[0].stop() == 0
        until("a delivery fails", lambda: intakes.load.statuses[502] > 0)
