"""Requests and commands against a receiver whose store has grown: how long they take, or why they failed."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Server

PATIENCE_SECONDS = 60.0


def answered(server: Server, path: str) -> tuple[float, str]:
    """Milliseconds until the whole answer was there, and its status, or the name of what went wrong."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=PATIENCE_SECONDS)
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
    """The median of several requests, in milliseconds; with its status if one was not answered 200."""
    found = [answered(server, path) for _ in range(times)]
    failed = [status for _, status in found if status != "200"]
    middle = f"{statistics.median(took for took, _ in found):,.1f}"
    return f"{failed[0]} ({middle})" if failed else middle


def command(root: Path, server: Server, words: list[str], times: int) -> str:
    """The median of several runs of a command of the checkout at `root`, in seconds; its exit code if one failed."""
    took, codes = [], []
    for _ in range(times):
        began = time.perf_counter()
        try:
            codes.append(
                subprocess.run(**command_line(root, server, words), check=False, timeout=PATIENCE_SECONDS).returncode
            )
        except subprocess.TimeoutExpired:
            return f"> {PATIENCE_SECONDS:.0f}"
        took.append(time.perf_counter() - began)
    failed = [code for code in codes if code]
    middle = f"{statistics.median(took):.2f}"
    return f"exit {failed[0]} ({middle})" if failed else middle


def command_line(root: Path, server: Server, words: list[str]) -> dict[str, Any]:
    """The arguments of `subprocess` for a command that works on the server's store."""
    return {
        "args": [sys.executable, "-m", "receiver", *words, "--config", str(server.folder / "receiver.toml")],
        "cwd": root,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
