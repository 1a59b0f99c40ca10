"""Where the intake's time goes: a sampling profile of the event loop and of the writer while deliveries come in."""

from __future__ import annotations

import sys

from rich.console import Console

from benchmarks.processes import load, receiver

REQUESTS = 20_000
CONNECTIONS = 128

# Wraps the command: profiles the main thread, which is the intake's loop, and prints the tree at the end.
WRAPPER = """
import sys, pyinstrument
from receiver.cli import main
profiler = pyinstrument.Profiler(interval=0.001, async_mode="disabled")
profiler.start()
try:
    main()
finally:
    session = profiler.stop()
    with open(sys.argv[-1] + ".profile", "w") as out:
        out.write(profiler.output_text(unicode=True, color=False, show_all=False, timeline=False))
"""


def main() -> bool:
    with receiver("", files={"wrapper.py": WRAPPER}, wrapper="wrapper.py") as server:
        load(server, REQUESTS, CONNECTIONS)
    text = server.kept["receiver.toml.profile"]
    Console().print(f"Profile of the intake's loop, {REQUESTS} deliveries, {CONNECTIONS} connections")
    print("\n".join(line for line in text.splitlines() if line.strip())[:8000])
    return True


if __name__ == "__main__":
    sys.exit(not main())
