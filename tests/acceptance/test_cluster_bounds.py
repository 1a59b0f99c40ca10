"""`across = "cluster"`: two workers, one bound, and a kill in between."""

from __future__ import annotations

from tests.acceptance.support import Site, completed, deliver, until

BOUND = 2
JOBS = 6

PLUGIN = f"""
import asyncio, os
from pathlib import Path
from receiver import Context, JobCompleted, handler

HERE = Path(__file__).parent.parent

def note(word):
    line = os.open(HERE / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{{word}} {{os.getpid()}}\\n".encode())
    os.close(line)

@handler(on=JobCompleted, concurrency={BOUND}, across="cluster")
async def narrow(event: JobCompleted, ctx: Context[None]) -> None:
    note("begin")
    while not (HERE / "open").exists():
        await asyncio.sleep(0.01)
    note("end")
"""


def test_two_workers_share_one_bound_and_a_killed_one_leaves_its_places(site: Site) -> None:
    site.plugin("narrow", PLUGIN).configure('[plugins]\ndirectory = "plugins"', handlers="[handlers.narrow]")
    intake = site.start("--only", "intake")
    for n in range(JOBS):
        answer = deliver(intake.public, completed(f"job_{n}"))
        assert answer is not None
        assert answer[0] == 202

    def notes() -> list[tuple[str, int]]:
        file = site.folder / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    first = site.start("--only", "worker")
    until("the first worker has filled the bound", lambda: len(notes()) == BOUND)
    second = site.start("--only", "worker")
    assert notes() == [("begin", first.pid)] * BOUND
    first.kill()
    until("the second worker has taken the places", lambda: len(notes()) >= 2 * BOUND)
    (site.folder / "open").write_text("")
    done = "SELECT 1 FROM runs WHERE state = 'succeeded'"
    until("every run has succeeded", lambda: len(site.rows(done)) == JOBS)

    running, peak = 0, 0
    for word, pid in notes():
        if pid == second.pid:
            running += 1 if word == "begin" else -1
            peak = max(peak, running)
    assert (running, peak) == (0, BOUND)
    assert "maximum in all processes together: narrow 2" in site.command("check").stdout
    assert "2 in all processes" in site.command("handlers", "list").stdout
