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
        database.transact(write_heartbeat, info, now)
        database.close()
        with time_machine.travel(timedelta(hours=hours)):
            listed = CliRunner().invoke(build(), ["processes", "list", "--json"])
        assert listed.exit_code == 0, listed.output
        [row] = json.loads(listed.stdout)["items"]
        assert abs(row["heartbeat_age_seconds"]) < 600
        assert ("! This machine's clock is" in listed.stderr) is bool(hours)
        assert said is None or f"{said} the database server's." in listed.stderr
