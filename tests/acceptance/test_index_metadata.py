"""`db index-metadata` beside real receivers: refused while one does not know the keys, killed, continued."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.store import inbox
from receiver.store.migrate import migrate
from tests.acceptance.support import Site, clean_environment, completed, deliver, until
from tests.patience import PATIENCE
from tests.stores import open_store

EVENTS = 6_000
SEARCH = '[search]\nmetadata = ["customer"]'


@pytest.fixture
def filled(site: Site) -> Site:
    """A store of many events with metadata, of which nothing is indexed."""
    site.configure().store.parent.mkdir()
    start = time.time() - 2 * EVENTS
    database = open_store(site.store)
    migrate(database)
    for first in range(0, EVENTS, 1000):
        made = [
            Delivery(
                event_id=event_id(start + number, number), source="aitts", type="job.completed", key=f"{number}",
                job_id=f"{number}", origin="poll",
                payload=json.dumps({"metadata": {"customer": f"customer-{number % 100}"}}), body=b"{}", headers="[]",
                key_id=None, skew=0.0, received_at=start + number, handlers=(),
            )
            for number in range(first, first + 1000)
        ]  # fmt: skip
        database.transact(inbox.accept, made)
    database.close()
    return site


def indexed(site: Site) -> int:
    return int(site.rows("SELECT count(*) AS n FROM event_metadata")[0]["n"])


def customers(site: Site, customer: str) -> list[str]:
    done = site.command("events", "list", "--metadata", f"customer={customer}", "--limit", "1000", "--json")
    assert done.returncode == 0, done.stderr
    return [row["job_id"] for row in json.loads(done.stdout)["items"]]


def test_what_is_stored_is_indexed_beside_a_receiver_and_after_a_kill(filled: Site) -> None:
    site = filled
    old = site.start()
    site.configure(SEARCH)
    refused = site.command("db", "index-metadata")
    assert refused.returncode == 1
    assert "were started without 'customer' in search.metadata" in refused.stderr
    old.stop()

    server = site.start()
    assert server.wait_for("search.not_indexed")["keys"] == ["customer"]
    refused = site.command("events", "list", "--metadata", "customer=customer-7")
    assert refused.returncode == 1
    assert "is not indexed yet: `tts-receiver db index-metadata` does that." in refused.stderr
    deliver(server.public, completed("new", metadata={"customer": "customer-7"}))

    for number in (signal.SIGKILL, signal.SIGTERM):
        before = indexed(site)
        process = subprocess.Popen(
            [sys.executable, "-m", "receiver", "db", "index-metadata"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=site.folder,
            env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
        )
        until("something is indexed", lambda before=before: indexed(site) > before + 50)  # type: ignore[misc]
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
        assert before < indexed(site) < EVENTS
    assert process.returncode == 128 + signal.SIGTERM
    assert "The same command continues with the rest." in err

    assert site.command("events", "list", "--metadata", "customer=customer-7").returncode == 1
    left = EVENTS + 1 - indexed(site)
    done = site.command("db", "index-metadata")
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.removeprefix("Indexed by customer: ").partition(" ")[0].replace(",", ""))
    assert left <= count < EVENTS, "it continued"
    found = ["new", *(f"{number}" for number in reversed(range(7, EVENTS, 100)))]
    assert customers(site, "customer-7") == found
    assert "All that is stored is indexed by customer." in site.command("db", "index-metadata").stdout
    server.stop()
