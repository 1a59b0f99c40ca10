"""Drives an endpoint with wrk: as fast as it answers, over kept-alive connections, each request another delivery.

wrk is a C program, so that the client takes little of the machine that is measured. Its requests are written to a file
beforehand, each signed and about a job of its own; a small script hands them out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import delivery
from benchmarks.processes import SECRET, Server

MAX_PER_SECOND = 12_000
"""For how many answers a second there are requests. More of them would repeat the first ones."""

_SCRIPT = """
local file

function init(args)
  file = assert(io.open(args[1], "rb"))
end

function request()
  local size = file:read(8)
  if not size then
    file:seek("set")
    size = file:read(8)
  end
  return file:read(tonumber(size))
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"answers": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"""


@dataclass(frozen=True)
class Result:
    """What wrk measured; latencies in milliseconds, `cost` in microseconds of the server's processor time an answer."""

    answers: int
    per_second: float
    cost: float
    p50_ms: float
    p99_ms: float


def drive(server: Server, seconds: int, connections: int) -> Result:
    """Send deliveries to a server for so long. One more a connection may be under way at the end.

    An answer of 400 or above, a connection that is lost and a time-out end the program.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("This is measured with wrk: install Debian's package `wrk`, or have it on the PATH.")
    with tempfile.TemporaryDirectory(prefix="tts-receiver-wrk-") as name:
        script, requests = Path(name) / "requests.lua", Path(name) / "requests"
        script.write_text(_SCRIPT)
        _write_requests(requests, server.port, seconds * MAX_PER_SECOND)
        url = f"http://127.0.0.1:{server.port}/webhooks/aitts"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url, "--", str(requests)]
        before = server.cpu_seconds()
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 60)
        used = server.cpu_seconds() - before
    if done.returncode:
        raise SystemExit(f"wrk failed: {done.stderr or done.stdout}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["errors"]:
        raise SystemExit(f"Not every delivery was accepted: {done.stdout}")
    return Result(
        answers=found["answers"],
        per_second=found["answers"] / found["microseconds"] * 1e6,
        cost=used / found["answers"] * 1e6,
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
    )


def _write_requests(file: Path, port: int, count: int) -> None:
    """Each with its length before it, in eight digits."""
    now = int(time.time())
    with file.open("wb") as out:
        for _ in range(count):
            request = delivery(str(uuid.uuid4()), SECRET, now, f"127.0.0.1:{port}", "/webhooks/aitts")
            out.write(b"%08d%b" % (len(request), request))
