"""A primary with a streaming standby: failover, a receiver connected to the standby, and a standby that is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.acceptance.support import Sender, Server, Site, completed, deliver, get, until
from tests.debian_postgresql import Node, debian_servers

pytestmark = pytest.mark.postgresql

NAME = "one"
"""The standby's, for `synchronous_standby_names`."""


@dataclass
class Pair:
    """A primary with a database for a receiver, and its standby, which has every commit."""

    installed: Path
    folder: Path
    primary: Node
    standby: Node

    def url(self, *nodes: Node) -> str:
        """The address of the database, on these hosts."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        return f"postgresql://postgres@{hosts}/receiver"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with debian_servers() as (installed, folder):
        primary, standby = Node(installed, folder / "primary"), Node(installed, folder / "standby")
        primary.initialize()
        primary.start()
        primary.execute("CREATE DATABASE receiver ENCODING 'UTF8' TEMPLATE template0")
        standby.copy_of(primary, NAME)
        standby.start()
        primary.configure(f"synchronous_standby_names = '{NAME}'")
        primary.reload()
        streams = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        until("the standby is synchronous", lambda: primary.execute(streams)[0][0])
        yield Pair(installed, folder, primary, standby)


class Deliveries:
    """Deliveries one after the other, in a thread, until they are stopped; the jobs whose delivery was acknowledged."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = Event()
        self.acknowledged: list[str] = []
        self.refused: list[str | None] = []
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Deliveries:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        sender = Sender()
        number = 0
        while not self._stop.wait(0.005):
            number += 1
            answer = sender.send(self._server.public, completed(f"job-{number}"))
            if answer is not None and answer[0] == 202:
                self.acknowledged.append(f"job-{number}")
            elif answer is not None:
                assert answer[0] == 503
                self.refused.append(sender.retry_after)
        sender.close()


def stored(site: Site, address: str) -> set[str]:
    """The jobs of all stored events."""
    done = site.command("events", "list", "--limit", "1000000", "--json", TTS_RECEIVER_STORE__URL=address)
    return {event["job_id"] for event in json.loads(done.stdout)["items"]}


def test_a_standby_that_is_promoted_takes_over_and_has_every_acknowledged_delivery(pair: Pair, site: Site) -> None:
    address = pair.url(pair.primary, pair.standby)
    server = site.configure().start(TTS_RECEIVER_STORE__URL=address)
    assert "! fsync = off" in site.command("check", TTS_RECEIVER_STORE__URL=address).stdout
    assert {line["detail"].partition(" of ")[0] for line in server.lines("store.not_durable")} == {
        "fsync = off", "full_page_writes = off",
    }  # fmt: skip
    with Deliveries(server) as deliveries:
        until("some are acknowledged", lambda: len(deliveries.acknowledged) > 50)
        pair.primary.stop("immediate")
        until("the intake refuses", lambda: deliveries.refused)
        before = len(deliveries.acknowledged)
        assert get(f"{server.private}/readyz")[0] == 503
        done = site.command("check", TTS_RECEIVER_STORE__URL=address)
        assert "it is a standby, or read-only: let store.url name the primary" in done.stderr
        pair.standby.promote()
        until("some more are acknowledged", lambda: len(deliveries.acknowledged) > before + 50)
    assert set(deliveries.refused) == {"10"}
    assert set(deliveries.acknowledged) <= stored(site, pair.url(pair.standby))
    until("it is ready", lambda: get(f"{server.private}/readyz")[0] == 200)
    assert server.stop() == 0


def test_connected_to_a_standby_it_refuses_deliveries_says_why_and_recovers(pair: Pair, site: Site) -> None:
    address = pair.url(pair.primary)
    refused = site.configure().command("serve", TTS_RECEIVER_STORE__URL=pair.url(pair.standby))
    assert refused.returncode == 1
    assert "it is a standby, or read-only: let store.url name the primary" in refused.stderr
    server = site.start(TTS_RECEIVER_STORE__URL=address)
    # The roles are swapped: what has the address of the primary is now a standby.
    pair.primary.stop()
    pair.standby.promote()
    swapped = Node(pair.installed, pair.folder / "swapped")
    swapped.port = pair.primary.port
    swapped.copy_of(pair.standby, NAME)
    pair.standby.configure("synchronous_standby_names = ''")
    pair.standby.reload()
    swapped.start()

    def refusal() -> tuple[int, dict[str, object]] | None:
        answer = deliver(server.public, completed("to a standby"))
        return answer if answer is not None and answer[0] == 503 else None

    until("the intake refuses", refusal)
    until("the log says why", lambda: "it is a standby, or read-only: let store.url name the primary" in server.text())
    assert get(f"{server.private}/readyz")[0] == 503
    swapped.promote()
    until("the intake accepts", lambda: (deliver(server.public, completed("to the primary")) or (0,))[0] == 202)
    assert "to the primary" in stored(site, address)
    assert server.stop() == 0


def test_while_the_synchronous_standby_is_gone_nothing_is_acknowledged(pair: Pair, site: Site) -> None:
    address = pair.url(pair.primary)
    server = site.configure().start(TTS_RECEIVER_STORE__URL=address)
    with Deliveries(server) as deliveries:
        until("some are acknowledged", lambda: len(deliveries.acknowledged) > 20)
        pair.standby.stop("immediate")
        until("the intake refuses", lambda: deliveries.refused)
        held = len(deliveries.acknowledged)
        until("it has refused some, one after the other", lambda: len(deliveries.refused) >= 4)
        assert list(server.lines("store.available")) == []
        assert "waits for a synchronous standby that is gone (pg_stat_replication)" in server.text()
        until("it is not ready", lambda: get(f"{server.private}/readyz")[0] == 503)
        assert len(deliveries.acknowledged) == held
        pair.standby.start()
        until("some more are acknowledged", lambda: len(deliveries.acknowledged) > held + 20)
    assert set(deliveries.acknowledged) <= stored(site, address)
    assert server.stop() == 0
