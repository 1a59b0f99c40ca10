"""The time to the first byte of audio that is streamed, through the receiver and by the same two requests directly.

The provider is the simulated one in a process of its own, which begins at once. So all there is to see is what the
receiver adds: three commits, and the way through it. Both ways are measured in turn, on kept connections.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks.processes import ROOT, receiver
from receiver.simulator import Simulator

REQUESTS = 300
WARM_UP = 20
TEXT = {"text": "How long until the first byte?", "voice_id": "alloy"}
Sample = tuple[float, float]
"""Seconds to the first byte, and to the last one."""


@contextmanager
def provider() -> Iterator[dict[str, str]]:
    """Run the simulated provider; its base URL and API key."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.streaming", "--provider"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)


async def serve_provider() -> None:
    """Print where the provider listens; run until standard input ends."""
    async with Simulator(rate_limit=1_000_000_000, stream_seconds=0.0) as sim:
        print(json.dumps({"base_url": sim.base_url, "api_key": sim.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=60)


def read_audio(response: http.client.HTTPResponse, started: float) -> Sample:
    if response.status != 200 or not response.read1():
        raise SystemExit(f"No stream: {response.status} {response.read()!r}")
    first = time.perf_counter() - started
    response.read()
    return first, time.perf_counter() - started


def direct(found: dict[str, str]) -> Callable[[], Sample]:
    """The two requests that a client of the service makes."""
    api, live = connection(found["base_url"]), None
    headers = {"Authorization": f"Bearer {found['api_key']}", "Content-Type": "application/json"}

    def run() -> Sample:
        nonlocal live
        started = time.perf_counter()
        api.request("POST", "/api/v1/tts/stream", json.dumps(TEXT), headers)
        url = json.loads(api.getresponse().read())["data"]["stream_url"]
        live = live or connection(url)
        live.request("GET", urlsplit(url).path)
        return read_audio(live.getresponse(), started)

    return run


def through(port: int) -> Callable[[], Sample]:
    """The one request to the receiver."""
    api = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"source": "aitts", "text": TEXT["text"], "voice": TEXT["voice_id"], "stream": True})

    def run() -> Sample:
        started = time.perf_counter()
        api.request("POST", "/v1/speech", body)
        return read_audio(api.getresponse(), started)

    return run


def main(requests: int = REQUESTS) -> None:
    with provider() as found:
        config = (
            f'[sources.aitts]\nprovider = "aitts"\nbase_url = "{found["base_url"]}"\napi_key = "{found["api_key"]}"\n'
            "allow_private_addresses = true\n[sources.aitts.poll]\nrequests_per_second = 1000\nfirst_seconds = 3600\n"
        )
        with receiver(config) as server:
            ways = {"direct": direct(found), "receiver": through(server.private_port)}
            samples: dict[str, list[Sample]] = {name: [] for name in ways}
            for number in range(WARM_UP + requests):
                for name in ways if number % 2 == 0 else reversed(ways):
                    sample = ways[name]()
                    if number >= WARM_UP:
                        samples[name].append(sample)
    table = Table(title=f"Time to the first byte of a stream, ms; {requests} of each in turn")
    for column in ("", "p50", "p99", "all bytes (p50)"):
        table.add_column(column, justify="left" if not column else "right")
    medians = {}
    for name, measured in samples.items():
        firsts = sorted(first * 1000 for first, _ in measured)
        medians[name] = statistics.median(firsts)
        whole = statistics.median(last * 1000 for _, last in measured)
        table.add_row(name, f"{medians[name]:.1f}", f"{firsts[int(len(firsts) * 0.99)]:.1f}", f"{whole:.1f}")
    Console().print(table)
    added = medians["receiver"] - medians["direct"]
    ratios = [one[0] / other[0] for one, other in zip(samples["receiver"], samples["direct"], strict=True)]
    print(f"added {added:.1f} ms; ratio to direct: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", action="store_true", help="run the provider only")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    args = parser.parse_args()
    if args.provider:
        asyncio.run(serve_provider())
    else:
        main(args.requests)
