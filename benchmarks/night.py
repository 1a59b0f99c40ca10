"""The three tasks of a night on call, each one command, on a store with a long history and planted trouble.

`python -m benchmarks.night` fills a store of 1,000,000 events in SQLite, then one in PostgreSQL, plants trouble, runs
the commands in terminals of 80 columns, and prints what each took beside `tts-receiver --version`, which only starts.
Exit 1 if a command takes more than a second longer than that, prints a longer line, or does not do its task.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from benchmarks.night_store import DEAD, Night, night
from benchmarks.postgresql import database, durable_server
from tests.acceptance.support import clean_environment, sha256_at_the_origin

EVENTS = 1_000_000
COLUMNS = 80
GOAL_SECONDS = 1.0
STARTS = 5

STATUS = ["status"]
AUDIO = ["audio", "get", "--metadata", "customer=acme", "-o", "acme.wav"]
REPLAY = ["runs", "replay", "--reason", "no_such_voice", "--wait", "--yes"]


@dataclass(frozen=True)
class Done:
    """A command that ran in a terminal.

    Attributes:
        cpu_seconds: processor time, user and system, which does not depend on what else the machine does.
    """

    words: Sequence[str]
    seconds: float
    cpu_seconds: float
    code: int
    text: str

    @property
    def wide(self) -> list[str]:
        """The lines that do not fit the terminal."""
        return [line for line in self.text.splitlines() if cell_len(line) > COLUMNS]


def run(site: Path, words: Sequence[str]) -> Done:
    """Run `tts-receiver` with these words in a terminal of 80 columns."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = clean_environment(TERM="dumb", TTS_RECEIVER_CONFIG="receiver.toml")
    del environment["COLUMNS"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "tts-receiver", *words],
        stdin=terminal, stdout=terminal, stderr=terminal, cwd=site, env=environment,
    )  # fmt: skip
    os.close(terminal)
    printed = b""
    try:
        while data := _read(controller):
            printed += data
        _, status, used = os.wait4(process.pid, 0)
    finally:
        os.close(controller)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    seconds, cpu_seconds = time.perf_counter() - began, used.ru_utime + used.ru_stime
    return Done(words, seconds, cpu_seconds, code, printed.decode().replace("\r\n", "\n"))


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 65_536)
    except OSError:  # nobody has the terminal any more
        return b""


def tasks(found: Night) -> list[Done]:
    """The tasks, and what `status` says at the end.

    Raises:
        AssertionError: one was not done.
    """
    site, dead = found.site.folder, DEAD["no_such_voice"]
    done = [run(site, STATUS)]
    assert done[-1].code == 1, done[-1].text
    assert f"{dead:,} narrate rejected no_such_voice" in done[-1].text, done[-1].text
    for problem in ("studio", "archive"):
        assert re.search(f"^✗.*{problem}", done[-1].text, re.MULTILINE), done[-1].text
    done.append(run(site, AUDIO))
    assert done[-1].code == 0, done[-1].text
    assert sha256_at_the_origin(found.audio) in done[-1].text, done[-1].text
    found.mend()
    done.append(run(site, REPLAY))
    assert done[-1].code == 0, done[-1].text
    assert f"Runs: {dead:,} succeeded." in done[-1].text, done[-1].text
    done.append(run(site, STATUS))
    assert "no_such_voice" not in done[-1].text, done[-1].text
    return done


def start_seconds(site: Path) -> float:
    """The median of what a command takes that only starts."""
    return statistics.median(run(site, ["--version"]).seconds for _ in range(STARTS))


def measure(table: Table, kind: str, url: str, events: int) -> bool:
    """Add a store's rows to the table; whether the goals are reached."""
    with tempfile.TemporaryDirectory(prefix="tts-receiver-night-") as name, night(Path(name), url, events) as found:
        print(f"{kind}: {events:,} events stored in {found.fill_seconds:.0f} s", flush=True)
        started = start_seconds(found.site.folder)
        done = tasks(found)
    reached = True
    for one in done:
        print(f"\n$ tts-receiver {' '.join(one.words)}\n{one.text}", flush=True)
        over = one.seconds - started
        table.add_row(
            kind, " ".join(one.words), f"{one.seconds:.2f} s", f"{started:.2f} s", f"{over:.2f} s",
            f"{one.cpu_seconds:.2f} s", str(len(one.wide)),
        )  # fmt: skip
        reached = reached and over < GOAL_SECONDS and not one.wide
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.night", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"), help="one kind of store")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    table = Table(title=f"On call, with {args.events:,} events stored")
    for column in ("store", "command", "took", "--version", "longer by", "processor", "lines > 80"):
        table.add_column(column, justify="left" if column in ("store", "command") else "right")
    reached = True
    if args.only != "PostgreSQL":
        with tempfile.TemporaryDirectory(prefix="tts-receiver-night-store-") as name:
            reached = measure(table, "SQLite", f"sqlite:///{name}/receiver.db", args.events)
    if args.only != "SQLite":
        with durable_server() as server, database(server) as url:
            reached = measure(table, "PostgreSQL", url, args.events) and reached
    Console(width=130).print(table)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
