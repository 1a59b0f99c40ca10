"""Killed at any moment, started again: nothing that was acknowledged is lost, nothing is handled to success twice.

The moments are drawn from a seed. More rounds: `TTS_ACCEPTANCE_KILLS=200`; others: `TTS_ACCEPTANCE_SEED=…`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from receiver.simulator import GeneratedWav
from tests.acceptance.load import Load
from tests.acceptance.support import (
    Provider,
    Sender,
    Server,
    Site,
    completed,
    sha256_at_the_origin,
    sha256_of,
    until,
)
from tests.stores import require_sound

KILLS = int(os.environ.get("TTS_ACCEPTANCE_KILLS", "8"))
SEED = int(os.environ.get("TTS_ACCEPTANCE_SEED", "20261121"))
PER_SECOND = 150
"""New deliveries: enough for every kill to hit many, few enough for two slow cores."""
HANDLERS = ("in_a_thread", "on_the_loop")

JOURNAL = '''
"""Two handlers that write down, durably, when they start and when they are done."""

import asyncio
import json
import os
import time
from pathlib import Path

from receiver import Context, JobCompleted, handler

FILE = Path(__file__).parent.parent / "journal"


def note(event: JobCompleted, ctx: Context[None], what: str) -> None:
    line = {
        "event": event.id, "job": event.job_id, "handler": ctx.handler, "attempt": ctx.attempt, "pid": os.getpid(),
        "what": what, "ns": time.monotonic_ns(),
    }
    file = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\\n")
        os.fsync(file)
    finally:
        os.close(file)


@handler(on=JobCompleted, attempts=100)
async def on_the_loop(event: JobCompleted, ctx: Context[None]) -> str:
    note(event, ctx, "start")
    await asyncio.sleep(0.02)
    note(event, ctx, "done")
    return ctx.idempotency_key


@handler(on=JobCompleted, attempts=100)
def in_a_thread(event: JobCompleted, ctx: Context[None]) -> str:
    note(event, ctx, "start")
    time.sleep(0.02)
    note(event, ctx, "done")
    return ctx.idempotency_key
'''


@dataclass(frozen=True)
class Line:
    """A line of the handlers' journal."""

    event: str
    job: str
    handler: str
    attempt: int
    pid: int
    what: str
    ns: int


def journal(site: Site) -> Iterator[Line]:
    for text in (site.folder / "journal").read_text().splitlines():
        yield Line(**json.loads(text))


def check_nothing_is_lost(site: Site, acknowledged: dict[str, str]) -> None:
    """Every acknowledged delivery is in the store, under the event that the answer named, with its runs."""
    stored = {row["job_id"]: row["id"] for row in site.rows("SELECT job_id, id FROM events")}
    assert {job: stored.get(job) for job in acknowledged} == acknowledged
    assert site.rows("SELECT id FROM events WHERE (SELECT count(*) FROM runs WHERE event_id = id) <> 2") == []


def check_no_two_successes(site: Site, killed: dict[int, int]) -> None:
    """One success a run, in the store; in the journal a second end only after a process that could not record its own.

    Args:
        killed: pid to when (monotonic ns) that process was surely gone; a process that ended in order is not there.
    """
    outcomes: dict[tuple[str, str], list[str]] = defaultdict(list)
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for row in site.rows("SELECT event_id, handler, number, outcome FROM attempts ORDER BY event_id, handler, number"):
        outcomes[row["event_id"], row["handler"]].append(row["outcome"])
        numbers[row["event_id"], row["handler"]].add(row["number"])
    for row in site.rows("SELECT event_id, handler, attempt, forgiven FROM runs"):
        ended = numbers[row["event_id"], row["handler"]]
        assert max(ended) == row["attempt"]
        never_began = row["attempt"] - len(ended)
        assert row["forgiven"] >= never_began, "every attempt that began has its end written down, no other counts"
    for key, words in outcomes.items():
        assert words == ["crashed"] * (len(words) - 1) + ["succeeded"], f"{key}: {words}"

    starts: dict[tuple[str, str], list[Line]] = defaultdict(list)
    ends: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in journal(site):
        (starts if line.what == "start" else ends)[line.event, line.handler].append(line)
    assert set(ends) == set(outcomes)
    for key, lines in ends.items():
        *earlier, last = lines
        assert last.pid == starts[key][-1].pid, f"{key}: the attempt that started last is the one that ended last"
        for line in earlier:
            assert line.ns < killed.get(line.pid, 0), f"{key}: it ended twice, first in a process that had not died"
    for key, lines in starts.items():
        assert len(lines) <= len(outcomes[key]), f"{key}: every start is an attempt"
        for line, after in itertools.pairwise(lines):
            assert killed.get(line.pid, after.ns) < after.ns, f"{key}: attempts in {line.pid} and {after.pid} at once"


@pytest.mark.timeout(300 + 8 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_succeeds_twice(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.plugin("journal", JOURNAL)
    site.configure('[plugins]\ndirectory = "plugins"', handlers="")
    rng = random.Random(SEED)
    load = Load(random.Random(SEED + 1), PER_SECOND)
    killed: dict[int, int] = {}
    server = site.start()
    load.base = server.public
    load.start()
    held: set[tuple[str, str, int]] = set()
    try:
        for number in range(KILLS):
            if number % 5 == 4:  # while it starts: before it listens, or just then
                time.sleep(rng.uniform(0.0, 1.0))
            else:
                server.wait_until_listening()
                load.base = server.public
                time.sleep(rng.uniform(0.0, 2.5))
            killed[server.pid] = server.kill()
            check_nothing_is_lost(site, dict(load.acknowledged))
            running = site.rows(
                "SELECT event_id, handler, attempt FROM runs WHERE state = 'running' AND started_at IS NOT NULL"
            )
            held |= {(row["event_id"], row["handler"], row["attempt"]) for row in running}
            server = site.launch()
        server.wait_until_listening()
        load.base = server.public
        load.no_more()
        until("every delivery is acknowledged", lambda: load.everything_acknowledged)
        until(
            "every run has ended",
            lambda: not site.rows("SELECT 1 FROM runs WHERE state IN ('pending', 'running') LIMIT 1"),
            60 + 2 * KILLS,
        )
    finally:
        load.stop()
    assert server.stop() == 0

    runs = site.rows("SELECT handler, state, result, event_id FROM runs")
    outcomes = Counter(row["outcome"] for row in site.rows("SELECT outcome FROM attempts"))
    twice = Counter((line.event, line.handler) for line in journal(site) if line.what == "done")
    with capsys.disabled():
        print(
            f"\n  {KILLS} kills; {len(load.acknowledged)} deliveries acknowledged, {load.sent} sent, {load.unanswered} "
            f"without an answer, {load.duplicates} duplicates;\n  {len(runs)} runs, {len(held)} attempts held by a "
            f"process that was killed, {outcomes['crashed']} crashed, {sum(count > 1 for count in twice.values())} "
            "runs were done twice: once where it could not be recorded"
        )
    assert load.contradictions == []
    assert set(load.statuses) == {202}
    check_nothing_is_lost(site, load.acknowledged)
    assert len(site.rows("SELECT 1 FROM events")) == len(load.acknowledged)
    assert {row["state"] for row in runs} == {"succeeded"}
    assert Counter(row["handler"] for row in runs) == dict.fromkeys(HANDLERS, len(load.acknowledged))
    assert all(row["result"] == f"{row['event_id']}:{row['handler']}" for row in runs)
    check_no_two_successes(site, killed)
    assert len(held) > KILLS, "the kills hit handlers at work"
    crashed = site.rows("SELECT event_id, handler, number FROM attempts WHERE outcome = 'crashed'")
    assert {(row["event_id"], row["handler"], row["number"]) for row in crashed} == held
    require_sound(site.store)


@pytest.mark.parametrize("round", range(3))
def test_a_first_start_that_is_killed_does_not_spoil_the_store(site: Site, round: int) -> None:
    site.configure()
    first = site.launch()
    until("the store is being made", site.store.exists)
    time.sleep(random.Random(SEED + 3 + round).uniform(0.0, 0.1))
    first.kill()

    server = site.start()

    with closing(Sender()) as sender:
        answer = sender.send(server.public, completed("the-first-job"))
    assert answer is not None
    assert answer[0] == 202
    site.wait_for_state(answer[1]["event"], "log", "succeeded")


AUDIO_KILLS = max(4, KILLS // 3)
BIG = 36 * 1024 * 1024
SMALL = 300_000


def check_final_files(site: Site, origins: dict[str, str]) -> None:
    """Whatever has a final name is whole, and nothing else lies about."""
    for file in site.final_files():
        assert file.parent == site.audio / "aitts"
        assert file.suffix == ".wav"
        assert sha256_of(file) == origins[file.stem], f"{file.name} is not whole"


def wait_for_bytes(site: Site, server: Server, at_least: int) -> None:
    """Return when unfinished files have so many bytes, or nothing is left to fetch."""

    def there() -> bool:
        spool = site.audio / ".spool"
        sizes = [path.stat().st_size for path in spool.glob("*.part")] if spool.is_dir() else []
        return sum(sizes) >= at_least or not site.rows("SELECT 1 FROM runs WHERE state <> 'succeeded' LIMIT 1")

    assert server.process.poll() is None
    until(f"{at_least} bytes in the spool", there)


@pytest.mark.timeout(300 + 8 * KILLS)
def test_no_part_of_a_file_is_ever_under_a_final_name(
    site: Site, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(SEED + 2)
    site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]\nattempts = 100")
    jobs = [provider.completed_job("Big.", GeneratedWav(bytes=BIG))]
    jobs += [provider.completed_job("Small.", GeneratedWav(bytes=SMALL + 2 * number)) for number in range(2)]
    origins = {job.id: sha256_at_the_origin(job) for job in jobs}
    for job in jobs:
        provider.sim.force("slow_audio", 10_000, value=1.2, job_id=job.id)

    server = site.start()
    with closing(Sender()) as sender:
        for job in jobs:
            answer = sender.send(server.public, completed(job.id))
            assert answer is not None
            assert answer[0] == 202
    parts = 0
    for number in range(AUDIO_KILLS):
        # some as soon as bytes come, some after the first megabytes were made durable, some near the end
        wait_for_bytes(site, server, (1, 18, 30)[number % 3] * 1024 * 1024)
        time.sleep(rng.uniform(0.0, 0.3))
        server.kill()
        check_final_files(site, origins)
        parts += len(list((site.audio / ".spool").glob("*.part")))
        server = site.start()
    until("every file is saved", lambda: not site.rows("SELECT 1 FROM runs WHERE state <> 'succeeded' LIMIT 1"))
    assert server.stop() == 0

    check_final_files(site, origins)
    assert {file.stem for file in site.final_files()} == set(origins)
    artifacts = site.rows("SELECT job_id, address, bytes, sha256 FROM artifacts JOIN events ON id = event_id")
    assert {row["job_id"]: row["sha256"] for row in artifacts} == origins
    assert {row["address"] for row in artifacts} == {str(file) for file in site.final_files()}
    assert list((site.audio / ".spool").iterdir()) == [], "nothing unfinished is left"
    outcomes = Counter(row["outcome"] for row in site.rows("SELECT outcome FROM attempts"))
    with capsys.disabled():
        print(f"\n  {AUDIO_KILLS} kills during fetches, {parts} unfinished files found, attempts: {dict(outcomes)}")
    assert parts > 0, "the kills hit fetches on their way"
    assert outcomes["crashed"] > 0
    assert outcomes["succeeded"] == len(jobs)
