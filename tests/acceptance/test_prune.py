"""`prune` is killed, stopped by Ctrl-C and run to the end: nothing is lost, and each time it goes on where it was."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.migrate import migrate
from tests.acceptance.support import Site, clean_environment, until
from tests.patience import PATIENCE
from tests.stores import open_store, require_sound

OLD_EVENTS = 5000


def fill(site: Site) -> None:
    """Old events that are over, and a few that are open."""
    site.store.parent.mkdir()
    database = open_store(site.store)
    migrate(database)
    for first in range(0, OLD_EVENTS, 500):
        made = [
            Delivery(
                event_id=f"evt_{number:032x}", source="aitts", type="job.failed", key=f"{number}", job_id=f"{number}",
                origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=1.0,
                handlers=("log",) if number < 5 else (),
            )
            for number in range(first, first + 500)
        ]  # fmt: skip
        database.transact(inbox.accept, made)
    database.close()


def left(site: Site) -> int:
    return int(site.rows("SELECT count(*) AS n FROM events")[0]["n"])


def started(site: Site) -> subprocess.Popen[str]:
    """A `prune` that has deleted something."""
    before = left(site)
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "prune", "--yes", "--config", str(site.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=site.folder,
        env=clean_environment(),
    )
    until("something is deleted", lambda: left(site) < before)
    return process


def test_a_prune_that_is_killed_or_stopped_loses_nothing_and_goes_on(site: Site) -> None:
    site.configure()
    fill(site)

    killed = started(site)
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    require_sound(site.store)
    after_kill = left(site)
    assert 5 < after_kill < OLD_EVENTS

    stopped = started(site)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=PATIENCE)
    assert stopped.returncode == 130, (out, err)
    assert "Traceback" not in err
    said = re.search(r"^Stopped\. Events deleted: ([\d,]+)\. The next `prune` continues\.$", err, re.MULTILINE)
    assert said, err
    after_stop = left(site)
    assert int(said[1].replace(",", "")) == after_kill - after_stop > 0
    assert after_stop > 5

    done = site.command("prune", "--yes")
    assert done.returncode == 0
    assert f"Events deleted: {after_stop - 5:,}." in done.stdout
    assert [row["state"] for row in site.rows("SELECT state FROM runs")] == ["pending"] * 5
