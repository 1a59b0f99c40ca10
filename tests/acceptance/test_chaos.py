"""A few of the faults of `make chaos`: nothing is lost, nothing succeeds twice, everything ends."""

from __future__ import annotations

import pytest

from tests.acceptance.support import Site
from tests.chaos.faults import Fault, make_plan
from tests.chaos.run import run_chaos
from tests.chaos.systems import PostgresqlSystem, SqliteSystem
from tests.postgresql_server import PostgresqlServer

SEED = 20261127
PACE_SECONDS = 0.7
LEASE_SECONDS = 3.0


@pytest.mark.timeout(900)
def test_replicas_on_one_file_outlive_kills_and_freezes(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(SEED, {Fault.KILL: 4, Fault.FREEZE: 1, Fault.END: 1}, PACE_SECONDS, LEASE_SECONDS)
    report = run_chaos(site, SqliteSystem(site.folder), plan)
    with capsys.disabled():
        print(f"\n  {report}")
    assert report.failures == []


@pytest.mark.timeout(900)
def test_replicas_on_postgresql_outlive_kills_of_either_and_broken_connections(
    site: Site, postgresql: PostgresqlServer, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = dict.fromkeys(Fault, 1) | {Fault.KILL: 4, Fault.CUT: 2}
    system = PostgresqlSystem(postgresql)
    try:
        report = run_chaos(site, system, make_plan(SEED, counts, PACE_SECONDS, LEASE_SECONDS))
    finally:
        site.close()
        system.close()
    with capsys.disabled():
        print(f"\n  {report}")
    assert report.failures == []
