"""Several processes on one store of either kind: they keep one rate to a source, and obey each other's pauses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.support import Site, get
from tests.acceptance.wrong_provider import Stub, says
from tests.postgresql_server import PostgresqlServer

VOICES = json.dumps({"success": True, "data": {"voices": [{"id": "alloy"}]}}).encode()
PER_SECOND = 5

MakeStub = Callable[[Callable[[Any], None]], Stub]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The lines of a configuration that name an empty store."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = server.create()
    yield f'[store]\nurl = "{server.url(name)}"'
    server.drop(name)


def voices(private: str) -> int:
    return get(f"{private}/v1/voices?source=aitts")[0]


def test_two_replicas_keep_one_rate_to_a_source(site: Site, store: str, stub: MakeStub) -> None:
    arrived: list[float] = []
    lock = threading.Lock()

    def answer(handler: Any) -> None:
        with lock:
            arrived.append(time.monotonic())
        says(200, VOICES)(handler)

    poll = f"poll = {{ requests_per_second = {PER_SECOND} }}"
    site.configure(store, base_url=stub(answer).url, source=poll)
    site.command("db", "upgrade")
    replicas = [site.launch(), site.launch("--only", "worker")]
    privates = [replica.wait_until_listening().private for replica in replicas]
    each = 6
    began = time.monotonic()
    with ThreadPoolExecutor(2 * each) as pool:
        assert set(pool.map(voices, privates * each)) == {200}
    assert len(arrived) == 2 * each
    for n, at in enumerate(sorted(arrived)):
        assert at - began >= n / PER_SECOND, f"{n + 1} requests after {at - began:.2f} s"


def test_a_replica_sends_nothing_to_a_source_that_another_has_paused(site: Site, store: str, stub: MakeStub) -> None:
    requested: list[str] = []

    def answer(handler: Any) -> None:
        requested.append(handler.path)
        handler.send_response(429)
        handler.send_header("Retry-After", "600")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.configure(store, base_url=stub(answer).url)
    site.command("db", "upgrade")
    replicas = [site.launch("--only", "intake"), site.launch("--only", "worker")]
    first, second = (replica.wait_until_listening().private for replica in replicas)
    assert voices(first) == 429
    assert voices(second) == 429
    assert len(requested) == 1
    assert "paused" in site.command("sources", "list").stdout
