"""Small audio files fetched per second, and the cost of each, compared with plain httpx in the same run.

The provider and its storage are a process of their own (`benchmarks.storage`). A real `tts-receiver serve` accepts
deliveries while the provider holds its responses back. Then the provider starts to respond, and the benchmark measures
the time, and the receiver's processor time, until the last run has succeeded: each file is fetched, verified and stored
durably, and its run's result is written. The reference fetches the same files with `httpx.AsyncClient`, without guard,
checks or durability. `python -m benchmarks.pairs fetch OTHER` compares with another checkout.

`--soak SECONDS` sends 100 deliveries per second instead, and shows whether fetching keeps up.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, SECRET, HeldServer, Server, held_server, load, receiver

FILES = 600
BYTES = 48_000
CONCURRENCY = 16
"""Of the reference: the same as `dispatch.concurrency`."""
SOAK_RATE = 100
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Figures:
    """The result of one measurement."""

    files: int
    seconds: float
    cpu_seconds: float
    stats: dict[str, Any]

    @property
    def per_second(self) -> float:
        """Files per second."""
        return self.files / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time per file, in milliseconds."""
        return self.cpu_seconds / self.files * 1e3

    def __str__(self) -> str:
        provider, connections = self.stats["cpu"] / self.files * 1e3, self.stats["connections"]
        return f"{self.per_second:.0f}/s {self.cpu_ms:.2f} ms ({connections} connections, provider {provider:.2f} ms)"


def provider(seconds: float) -> AbstractContextManager[HeldServer]:
    """Run the provider, which takes `seconds` for each response."""
    return held_server("benchmarks.storage", {"bytes": BYTES, "seconds": seconds})


def config(port: int) -> str:
    """A receiver that stores the audio of each completed job."""
    return f"""
        [handlers.save_audio]
        [sources.aitts]
        provider = "aitts"
        signing_secrets = ["{SECRET}"]
        api_key = "benchmark-key-0123456789"
        base_url = "http://127.0.0.1:{port}"
        allow_private_addresses = true
    """


def count_succeeded(server: Server) -> int:
    """The number of runs that have succeeded and have an artifact."""
    with closing(sqlite3.connect(f"file:{server.folder}/data/receiver.db?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM runs JOIN artifacts USING (event_id) WHERE state = 'succeeded'"
        return int(connection.execute(query).fetchone()[0])


def wait_for(server: Server, files: int) -> None:
    """Wait until this number of runs has succeeded."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (done := count_succeeded(server)) < files:
        if time.monotonic() > deadline:
            raise SystemExit(f"Only {done} of {files} files were stored in {TIMEOUT_SECONDS:.0f} s.")
        time.sleep(0.02)


def measure(root: Path) -> tuple[float, float]:
    """Files per second with the checkout at `root`, and microseconds of processor time for each."""
    figures = run_receiver(root)
    return figures.per_second, figures.cpu_ms * 1e3


def run_receiver(root: Path, files: int = FILES, seconds: float = 0.0) -> Figures:
    """Fetch the files with the checkout at `root`; the provider takes `seconds` for each response."""
    with provider(seconds) as storage, receiver(config(storage.port), root=root) as server:
        result = load(server, files, 32)
        if result["statuses"] != {"202": files}:
            raise SystemExit(f"Not every delivery was accepted: {result['statuses']}")
        before, started = server.cpu_seconds(), time.perf_counter()
        storage.start()
        wait_for(server, files)
        elapsed, used = time.perf_counter() - started, server.cpu_seconds() - before
    return Figures(files, elapsed, used, storage.stats)


REFERENCE = """
import asyncio, json, sys, time
from pathlib import Path
import httpx

async def main(port, files, folder, concurrency):
    left = iter(files)
    async with httpx.AsyncClient(follow_redirects=True) as client:
        async def fetch():
            for job in left:
                async with client.stream("GET", f"http://127.0.0.1:{port}/api/v1/tts/{job}/audio") as response:
                    response.raise_for_status()
                    with (Path(folder) / job).open("wb") as file:
                        async for piece in response.aiter_raw():
                            file.write(piece)
        started, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(fetch() for _ in range(concurrency)))
        print(json.dumps([time.perf_counter() - started, time.process_time() - used]))

import uvloop
uvloop.run(main(*json.loads(sys.stdin.readline())))
"""


def run_httpx(files: int = FILES, seconds: float = 0.0) -> Figures:
    """Fetch the same files with plain httpx."""
    jobs = [str(uuid.uuid4()) for _ in range(files)]
    with provider(seconds) as storage, tempfile.TemporaryDirectory(prefix="tts-receiver-bench-") as folder:
        storage.start()
        options = json.dumps([storage.port, jobs, folder, CONCURRENCY])
        done = subprocess.run(
            [sys.executable, "-c", REFERENCE], input=options + "\n", capture_output=True, text=True, check=True
        )
        elapsed, used = json.loads(done.stdout)
    return Figures(files, elapsed, used, storage.stats)


def soak(root: Path, seconds: int, rate: int = SOAK_RATE) -> str:
    """Send deliveries at a steady rate, each with a file; a sentence on how far fetching is behind, and its load."""
    with provider(0.0) as storage:
        storage.start()
        with receiver(config(storage.port), root=root) as server:
            before, started = server.cpu_seconds(), time.perf_counter()
            result = load(server, seconds * rate, 16, rate)
            sending, used, done = time.perf_counter() - started, server.cpu_seconds() - before, count_succeeded(server)
            wait_for(server, seconds * rate)
            caught_up = time.perf_counter() - started - sending
    return (
        f"{rate} deliveries/s for {seconds} s: {seconds * rate - done} files behind at the end, caught up "
        f"{caught_up:.1f} s later; {used / sending:.0%} of a core, the provider {storage.stats['cpu'] / sending:.0%}; "
        f"responses p99 {result['p99_ms']:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetch", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seconds", type=float, default=0.0, help="the provider's time for a response")
    parser.add_argument("--soak", type=int, help="seconds of deliveries at a steady rate, instead of the rounds")
    args = parser.parse_args()
    if args.soak:
        print(soak(args.root.resolve(), args.soak))
        return
    ratios = []
    for number in range(args.rounds):
        ours = run_receiver(args.root.resolve(), args.files, args.seconds)
        plain = run_httpx(args.files, args.seconds)
        ratios.append(ours.cpu_ms / plain.cpu_ms)
        print(f"{number + 1}: receiver {ours}; httpx {plain}", flush=True)
    print(f"processor time per file compared with httpx: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
