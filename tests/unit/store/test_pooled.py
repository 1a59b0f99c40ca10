"""`store.pooled`: a pooler gives each transaction another session, so that nothing may be kept in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from receiver.assembly.resources import open_database
from receiver.errors import ConfigError
from receiver.settings import Settings
from receiver.store import claims
from tests.postgresql_server import PostgresqlServer

TIMES = 20


def prepared(connection: Connection) -> int:
    """Prepared statements of the session, after one was executed often."""
    for _ in range(TIMES):
        claims.next_due(connection, ["save_audio"], 0.0)
        connection.execute(text("SELECT id FROM events WHERE id = :id"), {"id": "evt_1"})
    return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one())


@pytest.mark.parametrize("pooled", [False, True])
def test_a_pooled_session_keeps_no_prepared_statements(postgresql: PostgresqlServer, pooled: bool) -> None:
    name = postgresql.copy()
    settings = Settings.model_validate({"store": {"url": postgresql.url(name), "pooled": pooled}})
    database = open_database(settings)
    found = [database.transact(prepared), database.query(prepared)]
    database.close()
    postgresql.drop(name)
    assert all(found) is not pooled


def test_a_file_has_no_pooler(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"remove store\.pooled"):
        open_database(Settings.model_validate({"store": {"pooled": True}, "base": tmp_path}))
