"""Receivers are killed while they change all that matches; `make operation-kills` does it for longer."""

from __future__ import annotations

import random

import pytest

from tests.acceptance.operation_kills import measure
from tests.acceptance.support import Site
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_address

RUNS = 1500


@pytest.mark.sqlite
def test_each_run_is_changed_once_though_the_receiver_is_killed(site: Site) -> None:
    report = measure(site, site.store, 1, RUNS, [(2, False), (1, True)], random.Random(13))
    assert report.faults == [], report
    assert report.kills == 4


def test_each_run_is_changed_once_though_replicas_are_killed(site: Site, postgresql: PostgresqlServer) -> None:
    with postgresql_address(postgresql) as address:
        report = measure(site, address, 2, RUNS, [(2, False), (1, True)], random.Random(14))
        site.close()
    assert report.faults == [], report
    assert report.kills == 4
