"""A test run that is killed leaves no server and no folder of one behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.acceptance.support import until
from tests.server_folder import processes_of

RUN = """
import signal
from tests.postgresql_server import running_server

with running_server() as server:
    print(server.socket.parent, flush=True)
    signal.pause()
"""


def test_the_server_of_a_test_run_that_is_killed_ends_and_its_folder_is_removed() -> None:
    repository = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, cwd=repository) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        try:
            assert {process.name() for process in processes_of(folder)} == {"postgres"}
        finally:
            run.kill()
    until("the folder is removed", lambda: not folder.exists())
    assert processes_of(folder) == []
