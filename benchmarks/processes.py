"""Start and stop the measured servers and the load client, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

SECRET = "benchmark-secret-0123456789abcdef"
ROOT = Path(__file__).parent.parent
KEPT = (".jsonl", ".profile")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port, private_port: of its listeners; the bare endpoint has no private one: 0.
        pid: of its process.
        folder: that it runs in.
        kept: text files from the folder by name, once the server has stopped.
    """

    port: int
    private_port: int
    pid: int
    folder: Path
    kept: dict[str, str] = field(default_factory=dict)

    def query(self, statement: str) -> list[Any]:
        """The rows of a query of the receiver's store."""
        url = tomllib.loads((self.folder / "receiver.toml").read_text()).get("store", {}).get("url", "")
        if url.startswith("postgresql"):
            with psycopg.connect(url) as connection:
                return connection.execute(statement.encode()).fetchall()
        file = url.removeprefix("sqlite:///") or f"{self.folder}/data/receiver.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
            return store.execute(statement).fetchall()

    def rss(self) -> int:
        """Resident memory now, in bytes."""
        return int((Path("/proc") / str(self.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Processor time so far, of all threads, user and system, in seconds."""
        fields = (Path("/proc") / str(self.pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss(self) -> int:
        """The highest resident memory so far, in bytes."""
        status = (Path("/proc") / str(self.pid) / "status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@dataclass
class HeldServer:
    """A server in a process of its own that holds its responses back until it gets the signal to start.

    Attributes:
        stats: its counts, once it has ended.
    """

    port: int
    process: subprocess.Popen[str]
    stats: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Let it respond."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextmanager
def held_server(module: str, options: Mapping[str, Any]) -> Iterator[HeldServer]:
    """Run a module that reads its options from standard input, prints its port, and at its end its counts."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-m", module], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(options) + "\n")
    process.stdin.flush()
    server = HeldServer(int(process.stdout.readline()), process)
    try:
        yield server
    finally:
        process.stdin.close()
        server.stats.update(json.loads(process.stdout.read()))
        process.wait(20)


@contextmanager
def bare() -> Iterator[Server]:
    """Run the bare endpoint."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield Server(int(process.stdout.readline()), 0, process.pid, ROOT)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def receiver(
    config: str,
    files: Mapping[str, str] | None = None,
    wrapper: str | None = None,
    root: Path = ROOT,
    options: Sequence[str] = (),
    disk: Path | None = None,
) -> Iterator[Server]:
    """Run `tts-receiver serve` in a folder of its own, with a source `aitts` unless `config` (TOML) has sources.

    Args:
        files: further text files for the folder, by relative path.
        wrapper: the name of one of them, a Python script that is run instead of `python -m receiver`.
        root: the checkout to run.
        options: further options of `serve`.
        disk: a folder on the disk to use, instead of the one for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="tts-receiver-bench-", dir=disk) as name:
        folder = Path(name)
        file = folder / "receiver.toml"
        source = (
            "" if "[sources" in config else f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n'
        )
        file.write_text(f"{textwrap.dedent(config)}\n[server]\nport = 0\nprivate_port = 0\n{source}")
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        log = folder / "log"
        command = [str(folder / wrapper)] if wrapper else ["-m", "receiver"]
        with log.open("w") as out:
            serve = [sys.executable, *command, "serve", "--config", str(file), *options]
            process = subprocess.Popen(serve, stderr=out, cwd=root)
        server = None
        try:
            line = _wait_for_line(log, "listening", process)
            port = int(line.get("public", ":0").rpartition(":")[2])  # a worker has none
            private = int(line["private"].rpartition(":")[2])
            server = Server(port, private, process.pid, folder)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            if server is not None:
                server.kept.update({item.name: item.read_text() for item in folder.iterdir() if item.suffix in KEPT})


def _wait_for_line(log: Path, message: str, process: subprocess.Popen[Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith("{") and json.loads(line).get("message") == message:
                return dict(json.loads(line))
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"The server did not start:\n{log.read_text()}")


def load(server: Server, requests: int, connections: int, rate: float | None = None) -> dict[str, Any]:
    """Send deliveries from a process of its own; return what it measured."""
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "path": "/webhooks/aitts",
        "secret": SECRET,
        "requests": requests,
        "connections": connections,
        "rate": rate,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(options) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
        cwd=ROOT,
    )
    return dict(json.loads(done.stdout))
