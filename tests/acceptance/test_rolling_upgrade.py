"""The first code that had this kind of schema runs beside the newest, as processes on one store."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, text

from receiver.store.schema import HEAD
from tests.acceptance.support import Server, Site, completed, deliver, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import Store, address_of, query

FIRST = "331de03bf2c49ffbbe6e4dc628866c8dc6e6c0f0"
"""The commit that first had the schema which the newest says is the oldest that can be used beside it
(`compatible_from`). A migration that does more than add moves it."""
ROOT = Path(__file__).parents[2]
HANDLER = """
from receiver import Event, handler

@handler(on=Event)
async def work(event, ctx):
    return event.type
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of that commit, from the history of this repository."""
    folder = tmp_path_factory.mktemp("first")
    git = shutil.which("git")
    if git is None or subprocess.run([git, "-C", ROOT, "cat-file", "-e", FIRST], capture_output=True).returncode:
        pytest.skip(f"the history has no commit {FIRST[:10]} here: the clone is shallow, or there is no git")
    archive = folder / "first.tar"
    subprocess.run([git, "-C", ROOT, "archive", "-o", archive, FIRST, "receiver", "handlers"], check=True)
    shutil.unpack_archive(archive, folder / "code", filter="data")
    command = [sys.executable, "-c", "import receiver; print(receiver.__file__)"]
    found = subprocess.run(
        command, env={"PYTHONPATH": str(folder / "code")}, cwd=folder, capture_output=True, check=True
    )
    assert Path(found.stdout.decode().strip()).is_relative_to(folder), "the old code is what runs"
    return folder / "code"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, site: Site) -> Iterator[Store]:
    """An empty store."""
    if request.param == "sqlite":
        yield site.store
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def fresh(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Store]:
    """A store that the newest code created."""
    from receiver.store.migrate import migrate
    from tests.stores import open_store, postgresql_address

    if isinstance(store, str):
        with postgresql_address(request.getfixturevalue("postgresql")) as address:
            yield address
        return
    database = open_store(tmp_path / "fresh.db")
    migrate(database)
    database.close()
    yield tmp_path / "fresh.db"


def schema_of(store: Store) -> dict[str, Any]:
    """Tables, columns with types and collations, indexes with conditions, and settings of storage, in no order."""
    engine = create_engine(address_of(store).replace("postgresql:", "postgresql+psycopg:", 1))
    found = MetaData()
    found.reflect(engine)
    shape: dict[str, Any] = {
        table.name: {repr((column.name, repr(column.type), column.nullable)) for column in table.columns}
        for table in found.sorted_tables
    }
    catalog = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if isinstance(store, Path)
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL"
        " SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    with engine.connect() as connection:
        shape["catalog"] = {(name, " ".join(str(sql).split())) for name, sql in connection.execute(text(catalog))}
    engine.dispose()
    return shape


def test_the_first_code_of_a_schema_and_the_newest_work_on_one_store_and_both_start_again(
    site: Site, store: Store, fresh: Store, first: Path
) -> None:
    site.plugin("work", HANDLER).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address_of(store)}"', handlers=""
    )
    numbers = itertools.count(1)
    events: list[str] = []

    def accept(server: Server) -> None:
        answer = deliver(server.public, completed(f"job_{next(numbers)}"))
        assert answer is not None
        assert answer[0] == 202
        events.append(answer[1]["event"])

    def both_work(*servers: Server) -> None:
        """Each accepts, and goes on accepting until it has run a handler itself."""
        before = [len(list(server.lines("run.succeeded"))) for server in servers]

        def done() -> bool:
            for server in servers:
                accept(server)
            return all(len(list(server.lines("run.succeeded"))) > n for server, n in zip(servers, before, strict=True))

        until("each has run a handler", done)

    def old() -> Server:
        return site.start(PYTHONPATH=str(first))

    older = old()
    newer = site.start()
    [row] = query(store, "SELECT version_num FROM alembic_version")
    assert row["version_num"] == HEAD
    both_work(older, newer)
    older.kill()
    older = old()  # on the schema of the newest
    both_work(older, newer)
    until("every run has succeeded", lambda: not query(store, "SELECT * FROM runs WHERE state != 'succeeded'"))
    assert {row["id"] for row in query(store, "SELECT id FROM events")} == set(events)
    assert schema_of(store) == schema_of(fresh), "what migrations make is what a new store has"
