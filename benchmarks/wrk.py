"""Send deliveries with wrk, as fast as the endpoint responds, over persistent connections.

wrk is a C program, so the client takes little of the measured machine. The requests are written to a file beforehand,
each signed and for a job of its own; a small script reads them.
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

MAX_PER_SECOND = 20_000
"""Requests in the file per second of the run. A faster server gets the first ones again."""

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
    '{"responses": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"""


@dataclass(frozen=True)
class Result:
    """What wrk measured. `cost` is the server's processor time per response, in microseconds."""

    responses: int
    per_second: float
    cost: float
    p50_ms: float
    p99_ms: float


def drive(server: Server, seconds: int, connections: int) -> Result:
    """Send deliveries to a server for some seconds. One more per connection may be in progress at the end.

    Ends the program after a response of 400 or above, a lost connection or a timeout.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("This benchmark needs wrk: install Debian's package `wrk`.")
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
        responses=found["responses"],
        per_second=found["responses"] / found["microseconds"] * 1e6,
        cost=used / found["responses"] * 1e6,
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
    )


def _write_requests(file: Path, port: int, count: int) -> None:
    """Write the requests, each after its length in eight digits."""
    now = int(time.time())
    with file.open("wb") as out:
        for _ in range(count):
            request = delivery(str(uuid.uuid4()), SECRET, now, f"127.0.0.1:{port}", "/webhooks/aitts")
            out.write(b"%08d%b" % (len(request), request))
