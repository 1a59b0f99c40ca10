"""Which code may read the store by `Database.read`, whose threads runs and jobs wait for.

All else reads by `read_list`: it waits for a thread of another kind, and is ended when it takes too long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import receiver

pytestmark = pytest.mark.sqlite

ROOT = Path(receiver.__file__).parent
RUNS_WAIT_FOR = {
    "engine/audio.py",  # whether a run's audio is there already
    "engine/crashes.py",  # which leases have ended
    "engine/jobs/service.py",  # a job that was written down: its submitter must hear what became of it
    "engine/jobs/streaming.py",  # as the service: the response waits for it
    "engine/jobs/loop.py",  # when the next poll is due, whether the source is paused
    "engine/membership.py",  # whether this release may still store anything
    "engine/server_clock.py",  # whether anything may be claimed
    "engine/throttle.py",  # whether the source is paused, before a request is sent
    "speech/client.py",  # a process of its own, which lists nothing
}
SYNCHRONOUS = ("cli/", "store/")
"""Commands, and what is called in a thread of the store's: `query` reads in the thread that calls it."""


def calls(method: str) -> Iterator[str]:
    """The modules that call this method of a database."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                of = node.func.value
                name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
                if name.lstrip("_") == "database":
                    yield path.relative_to(ROOT).as_posix()


def test_only_what_runs_and_jobs_wait_for_is_read_by_their_threads() -> None:
    assert set(calls("read")) == RUNS_WAIT_FOR


def test_nothing_reads_the_store_on_the_loop() -> None:
    for method in ("query", "query_list", "transact"):
        assert [module for module in calls(method) if not module.startswith(SYNCHRONOUS)] == []
