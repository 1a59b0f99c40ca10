"""What every test has: asyncio, and a number of examples.

Hypothesis tries few, always the same ones; or many new ones by `HYPOTHESIS_PROFILE=thorough`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.pgbouncer import Pooler
    from tests.postgresql_server import PostgresqlServer

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
