"""`db copy` as a stranger uses it: another kind of store, wrong addresses, a store in use, and kills in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.support import Site, completed, deliver, signed_headers, until
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store
from tests.unit.store.conftest import NOW

ROWS = 20_000
PROGRAM = [sys.executable, "-m", "receiver"] if (Path("receiver/__main__.py")).exists() else [
    str(Path(sys.executable).parent / "tts-receiver")
]  # fmt: skip


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


@pytest.fixture
def filled(tmp_path: Path) -> str:
    """The address of a store in SQLite with many events."""
    from sqlalchemy import text

    from receiver.store.migrate import migrate

    database = open_store(tmp_path / "from.db")
    migrate(database)
    database.transact(
        lambda connection: connection.execute(
            text(
                "INSERT INTO events (id, source, type, key, origin, status, payload, body, headers, received_at)"
                " VALUES (:id, 's', 't', :id, 'webhook', 'accepted', '{}', :body, '[]', :at)"
            ),
            [{"id": f"evt_{n:032x}", "body": b"x" * 500, "at": NOW} for n in range(ROWS)],
        )
    )
    database.close()
    return f"sqlite:///{tmp_path}/from.db"


def test_a_copy_that_is_killed_at_any_moment_is_completed_by_the_next(
    filled: str, address: str, tmp_path: Path
) -> None:
    """Each is killed when it has committed something more."""
    seen, kills = -1, 0
    while kills < 3:
        copying = subprocess.Popen([*PROGRAM, "db", "copy", filled, address], cwd=tmp_path)
        count = 0
        while copying.poll() is None and count <= seen:
            with psycopg.connect(address) as connection:
                if connection.execute("SELECT to_regclass('copy_state')").fetchone() != (None,):
                    [count] = connection.execute("SELECT sum(copied)::bigint FROM copy_state").fetchone() or [0]
        assert copying.poll() is None, "it ended before it was killed"
        copying.send_signal((signal.SIGKILL, signal.SIGINT, signal.SIGKILL)[kills])
        expected = (-signal.SIGKILL, 130, -signal.SIGKILL)[kills]
        assert copying.wait(PATIENCE) == expected
        kills, seen = kills + 1, count
    done = run("db", "copy", filled, address, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{ROWS:,}" in done.stdout
    again = run("db", "copy", filled, address, folder=tmp_path)
    assert again.returncode == 1
    assert "The target is not empty" in again.stderr


def test_mistakes_are_named(filled: str, address: str, tmp_path: Path) -> None:
    missing = run("db", "copy", "sqlite:///nothing.db", address, folder=tmp_path)
    assert (missing.returncode, "There is no store at" in missing.stderr) == (1, True)
    same = run("db", "copy", filled, filled, folder=tmp_path)
    assert (same.returncode, "the same store" in same.stderr) == (1, True)
    secret = run("db", "copy", filled, "postgresql://u:hidden-one@h/d", folder=tmp_path)
    assert secret.returncode == 2
    assert "PGPASSWORD" in secret.stderr
    assert "hidden-one" not in secret.stderr
    nowhere = run("db", "copy", filled, "postgresql://u@127.0.0.1:1/d", folder=tmp_path)
    assert (nowhere.returncode, "cannot be reached" in nowhere.stderr) == (1, True)
    path = run("db", "copy", "from.db", address, folder=tmp_path)
    assert (path.returncode, "sqlite:///" in path.stderr) == (2, True)


def test_a_store_in_use_is_refused_and_a_copy_goes_on_where_the_first_ended(site: Site, address: str) -> None:
    site.configure(f'[store]\nurl = "{address}"')
    receiver = site.start()
    body = completed("job_1")
    answered = deliver(receiver.public, body, signed_headers(body))
    assert answered is not None
    assert answered[0] == 202
    folder = site.config.parent
    config = str(site.config)
    refused = run("db", "copy", config, "sqlite:///moved.db", folder=folder)
    assert (refused.returncode, "is in use" in refused.stderr) == (1, True)
    assert receiver.stop() == 0
    done = run("db", "copy", config, "sqlite:///moved.db", folder=folder)
    assert done.returncode == 0, done.stderr
    site.configure('[store]\nurl = "sqlite:///moved.db"')
    receiver = site.start()
    again = deliver(receiver.public, body, signed_headers(body))
    assert again is not None
    assert (again[0], again[1]["status"]) == (202, "duplicate")
    listed = site.command("events", "list", "--json").stdout
    assert listed.count('"job_1"') >= 1
    until("every run ended", lambda: '"succeeded"' in site.command("runs", "list", "--json").stdout)
    assert receiver.stop() == 0
