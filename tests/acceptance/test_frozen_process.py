"""A process that was frozen for longer than its leases: another has its run by then, its own result is discarded."""

from __future__ import annotations

import signal

from tests.acceptance.support import Site, completed, deliver, until

HANDLER = """
import time
from pathlib import Path

from receiver import Context, JobCompleted, handler

HERE = Path(__file__).parent.parent


@handler(on=JobCompleted)
def work(event: JobCompleted, ctx: Context[None]) -> str:
    if (HERE / "begun").exists():
        return "second"
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return "first"
"""


def test_the_result_of_a_process_that_was_frozen_is_logged_as_lost_and_not_as_a_success(site: Site) -> None:
    site.plugin("work", HANDLER).configure(
        '[plugins]\ndirectory = "plugins"', handlers="", dispatch="lease_seconds = 2"
    )
    frozen = site.start()
    assert deliver(frozen.public, completed("job-1")) is not None
    until("it is at work", (site.folder / "begun").exists)
    frozen.send_signal(signal.SIGSTOP)
    other = site.start()
    other.wait_for("run.succeeded")
    (site.folder / "go").touch()
    frozen.send_signal(signal.SIGCONT)

    lost = frozen.wait_for("run.lease_lost")
    assert (lost["handler"], lost["job"]) == ("work", "job-1")
    assert frozen.stop() == 0
    assert not list(frozen.lines("run.succeeded"))
    assert not list(frozen.lines("run.released"))
    assert site.rows("SELECT state, result, crashes FROM runs") == [
        {"state": "succeeded", "result": "second", "crashes": 0}
    ]
    assert [row["outcome"] for row in site.rows("SELECT outcome FROM attempts ORDER BY number")] == [
        "crashed",
        "succeeded",
    ]
    assert other.stop() == 0
