"""`processes list` says when each process was seen alive, also on a machine whose clock is wrong."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.role import Role
from receiver.store.processes import ProcessInfo, write_heartbeat
from tests.integration.engine_support import fresh_store
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store, postgresql_address


@pytest.mark.postgresql
@pytest.mark.parametrize(("hours", "said"), [(2, "s ahead of"), (-2, "s behind"), (0, None)])
def test_heartbeats_are_compared_with_the_servers_clock(
    postgresql: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, said: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    with postgresql_address(postgresql) as address:
        Path("receiver.toml").write_text(
            '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
            f'[store]\nurl = "{address}"\n'
        )
        now = time.time()
        database = open_store(address)
        info = ProcessInfo("a_host_1_abcdef", Role.WORKER, "a_host", 1, "1.0", now)
        database.transact(write_heartbeat, info, now, 12.3456)
        database.close()
        with time_machine.travel(timedelta(hours=hours)):
            listed = CliRunner().invoke(build(), ["processes", "list", "--json"])
        assert listed.exit_code == 0, listed.output
        [row] = json.loads(listed.stdout)["items"]
        assert abs(row["heartbeat_age_seconds"]) < 600
        assert row["clock_difference_seconds"] == 12.346
        assert ("! This machine's clock is" in listed.stderr) is bool(hours)
        assert said is None or f"{said} the database server's." in listed.stderr


@pytest.mark.parametrize(
    ("difference", "said"), [(None, "–"), (-7200.04, "-7,200.0 s"), (0.02, "0 s"), (2.0, "+2.0 s")]
)
def test_the_list_shows_how_far_each_clock_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("receiver.toml").write_text('[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n')
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "data").mkdir()
    database = open_store(fresh_store(tmp_path / "data" / "receiver.db"))
    now = time.time()
    info = ProcessInfo("a_host_1_abcdef", Role.WORKER, "a_host", 1, "1.0", now)
    database.transact(write_heartbeat, info, now, difference)
    database.close()
    listed = CliRunner().invoke(build(), ["processes", "list"])
    assert listed.exit_code == 0, listed.output
    header, row = (line.split("  ") for line in listed.stdout.splitlines()[:2])
    assert "clock" in [cell.strip() for cell in header]
    assert said in [cell.strip() for cell in row]
