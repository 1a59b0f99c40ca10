"""The disk of a SQLite store hangs: strace holds the sync of a real receiver until the test ends it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.acceptance.support import Sender, Server, Site, completed
from tests.patience import PATIENCE
from tests.power_cuts.recording import reason_not_to_record


@contextmanager
def hanging_syncs(server: Server) -> Iterator[None]:
    """No sync of the process ends until the end."""
    strace = shutil.which("strace")
    assert strace is not None
    held = f"inject=fsync,fdatasync:delay_enter={int(PATIENCE)}s"
    command = [strace, "-f", "-p", str(server.pid), "-e", "trace=fsync,fdatasync", "-e", held]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


def test_a_delivery_gets_503_and_is_recognised_when_it_comes_again_though_it_was_committed_late(site: Site) -> None:
    if reason := reason_not_to_record():
        pytest.skip(reason)
    server = site.configure().start()
    with closing(Sender()) as sender:
        with hanging_syncs(server):
            answered = sender.send(server.public, completed("job_1"))
            assert answered == (503, {"error": "unavailable"})
            assert int(sender.retry_after or 0) > 0
            assert server.wait_for("delivery.not_stored")["outcome"] == "store_stalled"
        server.wait_for("delivery.stored_late")
        server.wait_for("run.succeeded")
        again = sender.send(server.public, completed("job_1"))
        assert again is not None
        assert (again[0], again[1]["status"]) == (202, "duplicate")
    assert server.stop() == 0
    assert len(site.rows("SELECT * FROM events")) == 1
