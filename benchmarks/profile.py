"""Sampling profiles of the intake's event loop and the store's writer under load."""

from __future__ import annotations

import sys

from rich.console import Console

from benchmarks.processes import receiver
from benchmarks.wrk import drive

SECONDS = 5
CONNECTIONS = 64

# Wraps the command. It profiles the main thread, which runs the intake's loop, and the writer's thread, both from the
# start of the store's writer, and writes both profiles to files.
WRAPPER = """
import sys, pyinstrument
from receiver.cli import main
from receiver.store.writer import Writer

def profiler():
    return pyinstrument.Profiler(interval=0.001, async_mode="disabled")

def write(profile, name):
    profile.stop()
    with open(f"{sys.argv[-1]}.{name}.profile", "w") as out:
        out.write(profile.output_text(unicode=True, color=False, show_all=False, timeline=False))

loop = profiler()
start, run = Writer.start, Writer._write_until_closed

def profiled_start(self):
    loop.start()
    start(self)

def profiled_run(self):
    profile = profiler()
    profile.start()
    run(self)
    write(profile, "writer")

Writer.start, Writer._write_until_closed = profiled_start, profiled_run
try:
    main()
finally:
    write(loop, "loop")
"""


def main() -> bool:
    with receiver("", files={"wrapper.py": WRAPPER}, wrapper="wrapper.py") as server:
        result = drive(server, SECONDS, CONNECTIONS)
    console = Console()
    for thread in ("loop", "writer"):
        text = server.kept[f"receiver.toml.{thread}.profile"]
        console.print(f"Profile of the intake's {thread}, {result.responses} deliveries, {CONNECTIONS} connections")
        print("\n".join(line for line in text.splitlines() if line.strip())[:8000])
    return True


if __name__ == "__main__":
    sys.exit(not main())
