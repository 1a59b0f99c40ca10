"""How long work waits after a SIGKILL: the receiver is killed again and again under load, and started again.

`make kills` kills it a hundred times, each time five seconds after it was ready. What was acknowledged before a kill is
recovered when every job has ended and every handler is done, which fetch the audio. Prints how long that took after the
next start was ready; a kill that is not recovered at the next one counts as infinite.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.simulator import GeneratedWav
from tests.acceptance.load import Load
from tests.acceptance.support import API_KEY, Provider, Server, Site, sha256_at_the_origin, sha256_of, until
from tests.patience import PATIENCE

POLLED = "polled"
PER_SECOND = 5
"""Deliveries, each with audio that two handlers want."""
SUBMITS_PER_SECOND = 2
AUDIO_BYTES = (2_000, 200_000)
JOB_SECONDS = 0.5
GOAL_SECONDS = 5.0
"""The median may not be longer."""

PLAIN = '''
"""A handler that reads what it gets."""

from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
def read_audio(event: JobCompleted, ctx: Context[None]) -> int:
    return len(ctx.wait(ctx.audio()).path.read_bytes())
'''


@dataclass(frozen=True)
class Plan:
    """How often, how long after it was ready, and how long at most a recovery is waited for before the next."""

    kills: int
    seconds: float
    patience: float


@dataclass
class Report:
    """What came of it. `recovered`: seconds from ready to recovered, for each kill."""

    recovered: list[float] = field(default_factory=list)
    acknowledged: int = 0
    submitted: int = 0
    lost: list[str] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.recovered)

    def __str__(self) -> str:
        late = sum(math.isinf(seconds) for seconds in self.recovered)
        return (
            f"{len(self.recovered)} kills; {self.acknowledged} deliveries and {self.submitted} submits acknowledged, "
            f"{len(self.lost)} lost, {len(self.dead)} dead letters; ready to recovered: median {self.median:.2f} s, "
            f"longest {max(self.recovered):.2f} s, {late} not before the next kill"
        )


class Submits:
    """An application that asks for speech without a pause, each request until it is answered."""

    def __init__(self) -> None:
        self.base = ""
        self.answered: dict[str, str] = {}
        """Text to our id of its job."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="submits")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; a request that has no answer by then is left."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1 / SUBMITS_PER_SECOND):
            text = f"Text {len(self.answered)}."
            while (id := self._ask(text)) is None:
                if self._over.wait(0.05):
                    return
            self.answered[text] = id

    def _ask(self, text: str) -> str | None:
        body = json.dumps({"source": POLLED, "text": text, "voice": "alloy"}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": text}
        parts = urllib.parse.urlsplit(self.base)
        try:
            with closing(
                http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)
            ) as up:
                up.request("POST", "/v1/speech", body, headers)
                answer = up.getresponse()
                said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return str(said["id"]) if answer.status in (200, 202) else None


def configured(site: Site, provider: Provider) -> Site:
    """Deliveries of one source; the jobs of another are submitted and polled. Everything else as it is by default."""
    base = provider.sim.base_urls["aitts"]
    polled = (
        f'[sources.{POLLED}]\nprovider = "aitts"\nbase_url = "{base}"\nallow_private_addresses = true\n'
        f'api_key = "{API_KEY}"\n[sources.{POLLED}.poll]\nfirst_seconds = 0.3\nrequests_per_second = 50\n'
    )
    site.plugin("reading", PLAIN)
    more = f'[plugins]\ndirectory = "plugins"\n{polled}'
    return site.configure(more, base_url=base, handlers="[handlers.save_audio]")


def is_recovered(site: Site, before: float) -> bool:
    """Whether all that was acknowledged before this time (unix seconds) is finished."""
    open_runs = "SELECT 1 FROM runs JOIN events ON id = event_id WHERE runs.state = '{}' AND received_at < :before"
    open_jobs = "SELECT 1 FROM jobs WHERE state IN ('submitting', 'watching') AND created_at < :before"
    queries = [open_runs.format("pending"), open_runs.format("running"), open_jobs]
    return not site.rows(" UNION ALL ".join(queries) + " LIMIT 1", before=before)


def measure(
    site: Site, provider: Provider, plan: Plan, report_progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Kill it as planned; what came of it, once all that was acknowledged has ended."""
    configured(site, provider)
    rng = random.Random(20261126)
    report = Report()

    def new_job(number: int) -> str:
        audio = GeneratedWav(bytes=2 * rng.randrange(AUDIO_BYTES[0] // 2, AUDIO_BYTES[1] // 2))
        return provider.completed_job(f"Hello {number}.", audio).id

    load, submits = Load(random.Random(1), PER_SECOND, new_job), Submits()
    server = ready(site.launch(), load, submits)
    load.start()
    submits.start()
    try:
        time.sleep(plan.seconds)
        for _ in range(plan.kills):
            server.kill()
            killed = time.time()
            server = ready(site.launch(), load, submits)
            report.recovered.append(recovery(site, killed, plan))
            report_progress(f"kill {len(report.recovered)}: recovered {report.recovered[-1]:.2f} s after it was ready")
        load.no_more()
        submits.stop()
        until("every delivery is acknowledged", lambda: load.everything_acknowledged)
        until("all is finished", lambda: is_recovered(site, time.time()))
    finally:
        load.stop()
        submits.stop()
    assert server.stop() == 0
    check(site, provider, load, submits, report)
    return report


def ready(server: Server, load: Load, submits: Submits) -> Server:
    """Return when it is ready, and the load goes there."""
    server.wait_until_listening()
    load.base, submits.base = server.public, server.private
    return server


def recovery(site: Site, killed: float, plan: Plan) -> float:
    """Seconds until all is recovered that was acknowledged before `killed` (unix seconds). Waits for the next kill."""
    started = time.monotonic()
    seconds = math.inf
    while math.isinf(seconds) and time.monotonic() < started + plan.patience:
        if is_recovered(site, killed):
            seconds = time.monotonic() - started
        time.sleep(0.02)
    time.sleep(max(0.0, started + plan.seconds - time.monotonic()))
    return seconds


def check(site: Site, provider: Provider, load: Load, submits: Submits, report: Report) -> None:
    """What was acknowledged is there, with its audio; there are no dead letters."""
    report.acknowledged, report.submitted = len(load.acknowledged), len(submits.answered)
    report.dead = site.rows("SELECT event_id, handler, attempt, error FROM runs WHERE state = 'dead'")
    stored = {row["id"]: row for row in site.rows("SELECT id, job_id FROM events")}
    files = {row["event_id"]: row for row in site.rows("SELECT event_id, address, sha256 FROM artifacts")}
    jobs = {row["id"]: row for row in site.rows("SELECT id, job_id, state, event_id FROM jobs")}
    acknowledged = dict(load.acknowledged)
    for id in submits.answered.values():
        job = jobs.get(id)
        if job is None or job["state"] != "completed":
            report.lost.append(f"the job {id}: {job}")
        else:
            acknowledged[job["job_id"]] = job["event_id"]
    for job_id, event_id in acknowledged.items():
        whole = sha256_at_the_origin(provider.sim.jobs[job_id])
        file = files.get(event_id)
        if event_id not in stored or stored[event_id]["job_id"] != job_id:
            report.lost.append(f"the event {event_id} of {job_id}")
        elif file is None or file["sha256"] != whole or sha256_of(Path(file["address"])) != whole:
            report.lost.append(f"the audio of {job_id}")
    open_runs = site.rows("SELECT event_id, handler, state FROM runs WHERE state NOT IN ('succeeded', 'dead')")
    report.lost += [f"the run {row}" for row in open_runs]
    report.lost += load.contradictions


def main() -> int:
    """Kill it as the arguments say; 1 if anything was lost, or the median is too long."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seconds", type=float, default=5.0, help="from ready to the next kill")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site, provider = Site(Path(folder) / "site"), Provider(job_seconds=JOB_SECONDS)
        try:
            report = measure(site, provider, Plan(given.kills, given.seconds, given.seconds), print)
        finally:
            site.close()
            provider.close()
    for problem in [*report.lost, *report.dead]:
        print(problem)
    print(report)
    return int(bool(report.lost or report.dead) or report.median >= GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
