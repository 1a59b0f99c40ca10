"""What every test has: asyncio, and a number of examples.

Hypothesis tries few, always the same ones; or many new ones by `HYPOTHESIS_PROFILE=thorough`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.pgbouncer import Pooler
    from tests.postgresql_server import PostgresqlServer
    from tests.stores import Store

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""The processes that tests start compile our modules once, and not each of them again, as for everybody."""

for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)
"""What `nohup` or a shell's `&` has this process ignore, every process that tests start would ignore too. A handler
that does nothing ignores it here alone: what is started begins with the defaults, however the tests were started."""

settings.register_profile("quick", max_examples=40, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the marker `every_database` on each kind, but for one that is about SQLite."""
    marked = {mark.name for mark in metafunc.definition.iter_markers()}
    if "every_database" in marked and "sqlite" not in marked and "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", ["sqlite", "postgresql"])


@pytest.fixture
def store_kind() -> str:
    """The kind of database that the test's store is in."""
    return "sqlite"


@pytest.fixture
def store(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that does not exist yet, or is empty at the newest schema."""
    if store_kind == "sqlite":
        yield tmp_path / "receiver.db"
        return
    from tests.stores import postgresql_address

    with postgresql_address(request.getfixturevalue("postgresql")) as address:
        yield address


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A running PostgreSQL, started by the first test that needs it."""
    from tests.postgresql_server import running_server

    with running_server() as started:
        yield started


@pytest.fixture(scope="session")
def pooler(postgresql: PostgresqlServer) -> Iterator[Pooler]:
    """A running PgBouncer before that PostgreSQL."""
    from tests.pgbouncer import running_pooler

    with running_pooler(postgresql) as started:
        yield started


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pooled", action="store_true", help="every test of a store in PostgreSQL goes through PgBouncer")
