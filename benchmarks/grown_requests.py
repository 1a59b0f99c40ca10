"""Requests and commands to a receiver with a large store: their durations, or why they failed."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Server

TIMEOUT_SECONDS = 60.0


def timed_get(server: Server, path: str) -> tuple[float, str]:
    """Milliseconds until the complete response, and its status, or the name of the error."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        status = str(response.status)
    except (OSError, http.client.HTTPException) as error:
        status = type(error).__name__
    finally:
        connection.close()
    return (time.perf_counter() - began) * 1000, status


def request(server: Server, path: str, times: int) -> str:
    """The median of several requests, in milliseconds; with the status of the first that was not 200."""
    results = [timed_get(server, path) for _ in range(times)]
    failed = [status for _, status in results if status != "200"]
    median = f"{statistics.median(ms for ms, _ in results):,.1f}"
    return f"{failed[0]} ({median})" if failed else median


def command(root: Path, server: Server, args: list[str], times: int) -> str:
    """The median of several runs of a command of the checkout at `root`, in seconds; its exit code if one failed."""
    seconds, codes = [], []
    for _ in range(times):
        began = time.perf_counter()
        try:
            codes.append(
                subprocess.run(**command_line(root, server, args), check=False, timeout=TIMEOUT_SECONDS).returncode
            )
        except subprocess.TimeoutExpired:
            return f"> {TIMEOUT_SECONDS:.0f}"
        seconds.append(time.perf_counter() - began)
    failed = [code for code in codes if code]
    median = f"{statistics.median(seconds):.2f}"
    return f"exit {failed[0]} ({median})" if failed else median


def command_line(root: Path, server: Server, args: list[str]) -> dict[str, Any]:
    """The arguments of `subprocess` for a command that works on the server's store."""
    return {
        "args": [sys.executable, "-m", "receiver", *args, "--config", str(server.folder / "receiver.toml")],
        "cwd": root,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
