"""Two intakes behind a small balancer are replaced one after the other, under load: no delivery fails."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.balancer import Balancer
from tests.acceptance.load import Load
from tests.acceptance.proxies import free_port
from tests.acceptance.support import Server, Site, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

PER_SECOND = 100
BETWEEN = 60
"""Deliveries between two steps."""


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def test_a_rolling_replacement_of_two_intakes_fails_no_delivery(site: Site, address: str) -> None:
    site.configure(
        f'[store]\nurl = "{address}"', server="private_port = 0\ndrain_seconds = 1", source="tolerance_seconds = 3600"
    )
    site.command("db", "upgrade")
    ports = [free_port(), free_port()]

    def start(port: int) -> Server:
        return site.launch("--only", "intake", "--port", str(port))

    intakes = [start(port) for port in ports]
    upstreams = [intake.wait_until_listening().public for intake in intakes]
    with closing(Balancer(*upstreams)) as balancer:
        load = Load(random.Random(12), PER_SECOND, base=balancer.url)
        for upstream in upstreams:
            until(f"{upstream} is ready", lambda upstream=upstream: balancer.is_ready(upstream))
        load.start()
        try:
            for n, port in enumerate(ports):
                sent = load.sent
                until("there is load", lambda sent=sent: load.sent >= sent + BETWEEN)
                assert intakes[n].stop() == 0
                sent = load.sent
                until("the other receives", lambda sent=sent: load.sent >= sent + BETWEEN)
                passed = balancer.passed[upstreams[n]]
                start(port).wait_until_listening()
                until("the new one receives", lambda n=n, passed=passed: balancer.passed[upstreams[n]] > passed)
            load.no_more()
            until("everything is acknowledged", lambda: load.everything_acknowledged)
        finally:
            load.stop()
    assert (load.unanswered, set(load.statuses) - {200, 202}) == (0, set()), load.statuses
    assert load.contradictions == []
    stored = {row["id"] for row in query(address, "SELECT id FROM events")}
    assert stored == set(load.acknowledged.values())
