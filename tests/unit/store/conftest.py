"""Real stores of both kinds, each copied from one that was migrated once.

A test that uses the fixture `database` is run on both, unless it is about how one of them works: then it has the marker
`sqlite` or `postgresql`, or the fixture `plans`. With the marker `pooled`, it is also run through PgBouncer; with the
option `--pooled`, every test on PostgreSQL is.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.migrate import migrate
from tests.stores import open_store, postgresql_store
from tests.unit.store.plans import plans_of

NOW = 1_700_000_000.0
KINDS = ("sqlite", "postgresql")
POOLED = "pooled"

MakeDelivery = Callable[..., Delivery]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store at the newest schema."""
    path = tmp_path_factory.mktemp("template") / "receiver.db"
    database = open_store(path)
    migrate(database)
    database.close()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every kind of database that it is about."""
    if "store_kind" not in metafunc.fixturenames:
        return
    marked = {mark.name for mark in metafunc.definition.iter_markers()} & set(KINDS)
    if "plans" in metafunc.fixturenames:
        marked = {"sqlite"}
    kinds = sorted(marked or KINDS, key=KINDS.index)
    if "postgresql" in kinds:
        if metafunc.config.getoption("--pooled"):
            kinds = ["postgresql" if metafunc.definition.get_closest_marker("direct") else POOLED]
        elif metafunc.definition.get_closest_marker(POOLED):
            kinds.append(POOLED)
    metafunc.parametrize("store_kind", kinds)


@pytest.fixture
def new_store(store_kind: str, request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Database]]:
    """Opens an empty store of its own for each call; its writer is started."""
    if store_kind == "postgresql":
        return partial(postgresql_store, request.getfixturevalue("postgresql"))
    if store_kind == POOLED:
        return partial(postgresql_store, request.getfixturevalue("pooler"), pooled=True)
    template, folder = request.getfixturevalue("template"), request.getfixturevalue("tmp_path")
    return partial(_copied_store, template, folder / "receiver.db")


@contextmanager
def _copied_store(template: Path, path: Path) -> Iterator[Database]:
    shutil.copyfile(template, path)
    database = open_store(path)
    database.start()
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def database(new_store: Callable[[], AbstractContextManager[Database]]) -> Iterator[Database]:
    """An open, empty store; its writer is started."""
    with new_store() as database:
        yield database


@pytest.fixture
def delivery() -> MakeDelivery:
    """Makes deliveries; each has a new event id, later ones sort later."""
    numbers = itertools.count(1)

    def make(job: str = "job_1", type: str = "job.completed", source: str = "aitts", **values: Any) -> Delivery:
        default: dict[str, Any] = {
            "event_id": f"evt_{next(numbers):032x}",
            "source": source,
            "type": type,
            "key": job,
            "job_id": job,
            "origin": "webhook",
            "payload": '{"status":"completed"}',
            "body": b'{"event":"job.completed"}',
            "headers": '[["x-tts-signature","t=1,v1=00"]]',
            "key_id": "key-1",
            "skew": 0.5,
            "received_at": NOW,
            "handlers": ("save_audio",),
        }
        return Delivery(**(default | values))

    return make


@pytest.fixture
def accept(database: Database) -> Callable[..., list[Receipt]]:
    """Stores deliveries in one transaction."""

    def run(*deliveries: Delivery) -> list[Receipt]:
        return database.transact(inbox.accept, list(deliveries))

    return run


@pytest.fixture
def plans(database: Database) -> Callable[..., list[str]]:
    """How SQLite carries out the reading statements of a function of a connection."""

    def plans_of_reads(function: Callable[..., Any], *arguments: Any) -> list[str]:
        found = plans_of(database, function, *arguments)
        return [" / ".join(plan.lines) for plan in found if plan.statement.startswith("SELECT")]

    return plans_of_reads
