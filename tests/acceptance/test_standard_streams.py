"""Standard streams that are closed, full or read by nobody: a command does its work and ends with its own exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import Server, Site, clean_environment, completed, deliver, get, is_open, until
from tests.patience import PATIENCE


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def run_by_shell(site: Site, how: str, *words: str) -> subprocess.Popen[bytes]:
    """Start a command with its streams redirected."""
    command = [sys.executable, "-m", "receiver", *words, "--config", str(site.config)]
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {how}', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=site.folder,
        env=clean_environment(),
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_server_whose_streams_are_closed_serves_and_gives_their_numbers_to_nothing_else(site: Site) -> None:
    port, private = free_port(), free_port()
    site.configure(server=f"port = {port}\nprivate_port = {private}")
    process = run_by_shell(site, "<&- >&- 2>&-", "serve")
    server = Server(process, site.folder / "none")
    site.servers.append(server)
    with process:
        assert process.stdout is not None
        until("the listener", lambda: is_open(f"http://127.0.0.1:{port}") or process.poll() is not None)
        assert process.poll() is None, "it ended"
        answer = deliver(f"http://127.0.0.1:{port}", completed("job-1"))
        assert answer is not None
        assert answer[0] == 202
        assert get(f"http://127.0.0.1:{private}/readyz")[0] == 200
        descriptors = Path(f"/proc/{process.pid}/fd")
        if descriptors.exists():
            assert {os.readlink(descriptors / str(number)) for number in range(3)} == {"/dev/null"}
        assert server.stop() == 0


BROKEN = {"closed": "2>&-", "full": "2>/dev/full", "reader gone": ""}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("how", BROKEN.values(), ids=BROKEN.keys())
def test_an_error_that_cannot_be_told_keeps_its_exit_code(site: Site, how: str) -> None:
    site.configure()
    wrong_use, problem = run_by_shell(site, how, "jobs", "shwo"), run_by_shell(site, how, "jobs", "show", "\x1b[31m")
    for process in (wrong_use, problem):
        if not how:
            assert process.stderr is not None
            process.stderr.close()
            process.stderr = None
    out = [process.communicate(timeout=PATIENCE) for process in (wrong_use, problem)]
    assert (wrong_use.returncode, problem.returncode) == (2, 1)
    assert out == [(b"", b"" if how else None)] * 2


def test_an_error_shows_no_control_character(site: Site) -> None:
    site.configure()
    site.command("db", "upgrade")
    answer = site.command("jobs", "show", "\x1b[31mred\u202e")
    assert answer.returncode == 1
    assert "\\x1b[31mred\\u202e" in answer.stderr
    assert answer.stderr.rstrip("\n").isprintable()
