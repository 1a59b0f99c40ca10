"""Standard error that cannot be written: deliveries, runs and the end of the process go on as if it could."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import (
    Server,
    Site,
    clean_environment,
    completed,
    deliver,
    get,
    signed_headers,
    until,
)

HANDLERS = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def noisy(event: JobCompleted, ctx: Context[None]) -> None:
    for number in range(12_000 if event.job_id == "noise" else 1):
        ctx.log.info("noise", number=number, text="x" * 400)


@handler(on=JobCompleted, attempts=1)
async def failing(event: JobCompleted, ctx: Context[None]) -> None:
    raise RuntimeError("always")
"""
LIMIT = 64 * 1024 * 1024
"""No file of the process may grow beyond this, as on a disk that is full."""


class StandardError:
    """What the process has for standard error, until it breaks."""

    cause: str
    given: int

    def read(self) -> bytes:
        """What was written since."""
        return os.read(self.given, 1 << 20)

    def break_off(self) -> None:
        """From now on nothing can be written."""

    def mend(self) -> Callable[[], bytes] | None:
        """From now on it can be written again: how to read it. None if it never can."""
        return None


class FullDisk(StandardError):
    cause = "no_space"

    def __init__(self, file: Path) -> None:
        self._file, self._at = file, 0
        self.given = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def read(self) -> bytes:
        data = self._file.read_bytes()[self._at :]
        self._at += len(data)
        return data

    def break_off(self) -> None:
        os.truncate(self._file, LIMIT)

    def mend(self) -> Callable[[], bytes] | None:
        os.truncate(self._file, 0)
        self._at = 0
        return self.read


class Pipe(StandardError):
    def __init__(self, file: Path) -> None:
        self._reader, self.given = os.pipe()

    def read(self) -> bytes:
        return os.read(self._reader, 1 << 20)


class ReaderGone(Pipe):
    cause = "reader_gone"

    def break_off(self) -> None:
        os.close(self._reader)


class ReaderStalled(Pipe):
    cause = "too_slow"

    def mend(self) -> Callable[[], bytes] | None:
        return self.read


class TerminalLost(Pipe):
    cause = "io_error"

    def __init__(self, file: Path) -> None:
        self._reader, self.given = pty.openpty()

    def break_off(self) -> None:
        os.close(self._reader)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path).plugin("handlers", HANDLERS)
    site.configure('[plugins]\ndirectory = "plugins"', handlers="")
    yield site
    site.close()


def start(site: Site, stderr: StandardError) -> Server:
    serve = [sys.executable, "-m", "receiver", "serve", "--config", str(site.config)]
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -f {LIMIT // 512} && exec "$@"', "sh", *serve],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr.given,
        cwd=site.folder,
        env=clean_environment(),
    )
    os.close(stderr.given)
    server = Server(process, site.folder / "none")
    site.servers.append(server)
    line = wait_for_line(stderr.read, "listening")
    server.public, server.private = line["public"], line["private"]
    return server


def wait_for_line(read: Callable[[], bytes], message: str) -> dict[str, str]:
    rest = b""

    def find() -> dict[str, str] | None:
        nonlocal rest
        *whole, rest = (rest + read()).split(b"\n")  # the last line may still be on its way
        lines = [json.loads(line) for line in map(bytes.strip, whole) if line.startswith(b"{") and line.endswith(b"}")]
        return next((line for line in lines if line["message"] == message), None)

    found = until(f"the line {message}", find)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", [FullDisk, ReaderGone, ReaderStalled, TerminalLost], ids=lambda kind: kind.__name__)
def test_work_goes_on_when_the_log_cannot_be_written(kind: Callable[[Path], StandardError], site: Site) -> None:
    stderr = kind(site.folder / "log")
    server = start(site, stderr)
    stderr.break_off()

    answer = deliver(server.public, completed("noise"))  # more lines than may wait
    assert answer is not None
    assert answer[0] == 202
    site.wait_for_state(answer[1]["event"], "noisy", "succeeded")
    site.wait_for_state(answer[1]["event"], "failing", "dead")
    for number in range(3):
        body = completed(f"job-{number}")
        assert deliver(server.public, body, signed_headers(body, secret="another-secret")) == (
            401,
            {"error": "unauthorized"},
        )
        stale = deliver(server.public, body, signed_headers(body, int(time.time()) - 3600))
        assert stale is not None
        assert (stale[0], stale[1]["status"]) == (202, "quarantined")
        answer = deliver(server.public, completed(f"good-{number}"))
        assert answer is not None
        assert (answer[0], answer[1]["status"]) == (202, "accepted")
        site.wait_for_state(answer[1]["event"], "failing", "dead")
        site.wait_for_state(answer[1]["event"], "noisy", "succeeded")
    assert f'tts_receiver_log_lines_dropped_total{{cause="{stderr.cause}"}}' in get(f"{server.private}/metrics")[1]
    if (read := stderr.mend()) is not None:
        dropped = wait_for_line(read, "log.dropped")
        assert int(dropped["count"]) > 0
        assert stderr.cause in dropped["causes"]
    assert server.stop() == 0
