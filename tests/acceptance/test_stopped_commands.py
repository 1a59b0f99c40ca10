"""`events replay` of many is stopped by Ctrl-C and killed: what was printed is what was done, and it goes on there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.migrate import migrate
from tests.acceptance.support import Site, clean_environment, until
from tests.patience import PATIENCE
from tests.stores import open_store, require_sound

EVENTS = 10_000


@pytest.fixture
def filled(site: Site) -> Site:
    """A store of events without runs."""
    site.configure().store.parent.mkdir()
    database = open_store(site.store)
    migrate(database)
    for first in range(0, EVENTS, 1000):
        made = [
            Delivery(
                event_id=f"evt_{number:032x}", source="aitts", type="job.failed", key=f"{number}", job_id=f"{number}",
                origin="poll", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=1.0,
                handlers=(),
            )
            for number in range(first, first + 1000)
        ]  # fmt: skip
        database.transact(inbox.accept, made)
    database.close()
    return site


def due(site: Site) -> list[str]:
    return [row["event_id"] for row in site.rows("SELECT event_id FROM runs ORDER BY event_id")]


def recorded(site: Site) -> list[tuple[str, int]]:
    """What the audit log has, in order: state, how many."""
    rows = site.rows("SELECT state, changed FROM audit_entries ORDER BY id")
    return [(row["state"], row["changed"]) for row in rows]


def begun(site: Site, *more: str) -> subprocess.Popen[str]:
    """A replay that has done something."""
    before = len(due(site))
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "events", "replay", "--source", "aitts", "--yes", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=site.folder,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
    )
    until("something is due", lambda: len(due(site)) > before)
    return process


def test_a_replay_that_is_stopped_or_killed_has_done_what_it_printed(filled: Site) -> None:
    stopped = begun(filled)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=PATIENCE)
    assert stopped.returncode == 130, (out, err)
    after_stop = due(filled)
    assert re.findall(r"^(evt_\w+): log$", out, re.MULTILINE) == after_stop
    assert 0 < len(after_stop) < EVENTS
    assert err == (
        f"Stopped. Events replayed: {len(after_stop):,}, runs due: {len(after_stop):,}. "
        f"To continue, repeat it with --after {after_stop[-1]}.\n"
    )

    assert recorded(filled) == [("stopped", len(after_stop))]
    killed = begun(filled, "--after", after_stop[-1])
    killed.kill()
    out, _ = killed.communicate(timeout=PATIENCE)
    after_kill = due(filled)
    printed = re.findall(r"^(evt_\w+): log$", out, re.MULTILINE)
    assert printed == after_kill[len(after_stop) :][: len(printed)], "nothing is printed before it is committed"
    assert len(after_kill) < EVENTS
    require_sound(filled.store)
    assert recorded(filled)[1:] == [("unfinished", len(after_kill) - len(after_stop))]

    done = filled.command("events", "replay", "--source", "aitts", "--after", after_kill[-1], "--yes")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(f"Runs due: {EVENTS - len(after_kill):,};")
    assert len(due(filled)) == EVENTS
    assert recorded(filled)[2:] == [("completed", EVENTS - len(after_kill))]
