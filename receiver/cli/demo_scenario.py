"""The scenario of `demo`: jobs of four simulated providers end to end on loopback.

A separate module, so that the simulator is imported only by this command.

The providers run in this process, and the receiver as `serve` in a process of its own. The jobs are submitted through
the receiver's private API, as by an application on the same machine. The report is read from the receiver's store and
the files on disk, and compared with what the providers sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from receiver.assembly.resources import open_database
from receiver.cli.demo_application import DemoApplication
from receiver.cli.demo_report import print_hints, print_report, progress_table
from receiver.cli.demo_stream import StreamedAudio, receive_stream
from receiver.cli.output import cell, console
from receiver.errors import ReceiverError
from receiver.settings import load
from receiver.simulator import VOICES as VOICE_ROWS
from receiver.simulator import Job, Simulator
from receiver.store import views
from receiver.store.database import Database
from receiver.store.event_pages import Filter

TIMEOUT_SECONDS = 60.0
LOST = "The webhook of this job is lost."
STREAMED = "This one is heard while it is made."
POLLED = ("audixa", "finevoice", "miragic")
# source, text, format
JOBS: tuple[tuple[str, str, str | None], ...] = (
    ("aitts", "Good morning. This is the first.", "wav"),
    ("aitts", "The second comes as MP3.", "mp3"),
    ("aitts", "The third as Opus in an Ogg file.", "ogg_opus"),
    ("aitts", "The fourth is a wave file again, another one.", "wav"),
    ("aitts", "[fail] The fifth cannot be spoken.", "wav"),
    ("aitts", LOST, "mp3"),
    *((provider, f"{provider} sends nothing and is polled.", None) for provider in POLLED),
    *((provider, f"[fail] {provider} cannot speak this.", None) for provider in POLLED),
)
VOICES = {"aitts": VOICE_ROWS[0].voice_id, "audixa": "am_ethan", "finevoice": "james", "miragic": "alloy"}
STREAM_SECONDS = 0.5
"""How long the provider takes to send a stream: less than any of its jobs takes."""
WEBHOOK_SECONDS = 4.0
"""The wait for the lost webhook; a real source waits for minutes."""
MAX_EVENTS = 1000
"""More events than the demo has."""


class DemoError(ReceiverError):
    """The demo did not end as expected."""

    reason = "demo"


@dataclass(slots=True)
class Scenario:
    """The running demo, and what has happened so far.

    Attributes:
        texts: of the submitted jobs, by the provider's job id.
        streamed: the job whose audio was received while it was made.
    """

    sim: Simulator
    application: DemoApplication
    database: Database
    texts: dict[str, str] = field(default_factory=dict)
    streamed: StreamedAudio | None = None

    def events(self) -> list[dict[str, Any]]:
        """All events in the store with their runs and artifacts, the oldest first."""
        ids = self.database.query(views.event_ids, Filter(), MAX_EVENTS)
        found = [self.database.query(views.get_event, id_) for id_ in ids]
        return [event for event in found if event is not None]

    def finished(self) -> bool:
        """Whether each job has ended, and its event was received and handled."""
        events = self.events()
        return (
            {event["job_id"] for event in events} == set(self.texts)
            and all(run["state"] in ("succeeded", "dead") for event in events for run in event["runs"])
            and {"duplicate", "forged"} <= {delivery.kind for delivery in self.sim.deliveries}
            and sum(event["duplicates"] for event in events) == len(self._accepted_copies())
        )

    def _accepted_copies(self) -> list[Any]:
        return [d for d in self.sim.deliveries if d.accepted and d.kind == "duplicate"]

    def problems(self) -> list[str]:
        """A sentence for each thing that did not end as expected."""
        problems = []
        by_job = {event["job_id"]: event for event in self.events()}
        for job in self.sim.jobs:
            event = by_job.get(job.id)
            expected = "job.failed" if "[fail]" in self.texts[job.id] else "job.completed"
            if event is None or event["type"] != expected:
                problems.append(f"{job.id}: {expected} is missing in the store")
                continue
            problems += [
                f"{job.id}: {run['handler']} is {run['state']}" for run in event["runs"] if run["state"] != "succeeded"
            ]
            if expected == "job.completed":
                problems += _audio_problems(job, event)
            if self.texts[job.id] == STREAMED:
                problems += _stream_problems(job, self.streamed)
        if self.sim.leaks:
            problems.append("the API key reached the storage host")
        problems += self._origin_problems(by_job)
        forged = [delivery.status for delivery in self.sim.deliveries if delivery.kind == "forged"]
        if forged != [401]:
            problems.append(f"the forged delivery was answered {forged}, not 401")
        copies = sum(event["duplicates"] for event in by_job.values())
        if copies < 1:
            problems.append("no duplicate was counted")
        return [*problems, *self.application.problems(by_job.values())]

    def _origin_problems(self, by_job: dict[str, dict[str, Any]]) -> Iterator[str]:
        for job_id, event in by_job.items():
            polled = self.texts[job_id] == LOST or event["source"] in POLLED
            if event["origin"] != ("poll" if polled else "webhook"):
                yield f"{job_id}: its end was received by {event['origin']}"


def _audio_problems(job: Job, event: dict[str, Any]) -> Iterator[str]:
    if not event["artifacts"]:
        yield f"{job.id}: no audio was stored"
        return
    artifact = event["artifacts"][0]
    on_disk = hashlib.sha256(Path(artifact["address"]).read_bytes()).hexdigest()
    at_origin = hashlib.sha256(b"".join(job.audio.chunks(0, job.audio.size))).hexdigest()
    if not on_disk == artifact["sha256"] == at_origin:
        yield f"{job.id}: the file on disk is not what the provider has"


def _stream_problems(job: Job, streamed: StreamedAudio | None) -> Iterator[str]:
    if streamed is None or streamed.sha256 != hashlib.sha256(b"".join(job.audio.chunks(0, job.audio.size))).hexdigest():
        yield f"{job.id}: what was streamed is not what the provider has"


async def run(root: Path, seed: int, stay: bool) -> list[str]:
    """Run the demo in the folder `root`; return its problems."""
    out = console()
    if (task := asyncio.current_task()) is not None:  # the receiver must not outlive a SIGTERM, either
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with (
        Simulator(seed=seed, job_seconds=1.0, stream_seconds=STREAM_SECONDS) as sim,
        DemoApplication() as application,
    ):
        config = _configure(root, sim, application)
        async with _receiver(config, root / "receiver.log") as (address, private):
            sim.webhook_url = f"{address}/webhooks/aitts"
            out.print(
                f"Providers [bold]{cell(', '.join(sim.base_urls.values()))}[/], their storage at {sim.storage_url}",
                soft_wrap=True,
            )
            out.print(
                f"Receiver  [bold]{address}[/], its API at {private}/docs, configured by {cell(config)}",
                soft_wrap=True,
            )
            database = open_database(load(config))
            try:
                scenario = Scenario(sim, application, database)
                await _run_jobs(scenario, private, out)
                await application.fetch_audio()
                problems = scenario.problems()
                print_report(scenario, root, out)
            finally:
                database.close()
            if stay and not problems:
                print_hints(sim, address, private, config, out)
                await asyncio.Event().wait()
    return problems


def _configure(root: Path, sim: Simulator, application: DemoApplication) -> Path:
    config = root / "receiver.toml"
    config.touch(mode=0o600)
    config.write_text(
        "[server]\nport = 0\nprivate_port = 0\n\n[handlers.save_audio]\n[handlers.log]\n\n"
        f"{application.table}\n" + "\n".join(_source(name, sim) for name in sim.base_urls)
    )
    return config


def _source(provider: str, sim: Simulator) -> str:
    webhooks = provider not in POLLED
    secret = f'signing_secrets = ["{sim.signing_secret}"]\n' if webhooks else ""
    first = f"first_seconds = {WEBHOOK_SECONDS}\n" if webhooks else ""
    return (
        f'[sources.{provider}]\nprovider = "{provider}"\nbase_url = "{sim.base_urls[provider]}"\n'
        f'api_key = "{sim.api_keys[provider]}"\n{secret}'
        "allow_private_addresses = true  # the simulated providers are on loopback\n"
        f"[sources.{provider}.poll]\nrequests_per_second = 20\n{first}"
    )


@asynccontextmanager
async def _receiver(config: Path, log: Path) -> AsyncIterator[tuple[str, str]]:
    """Run the receiver as a process of its own; its public and private address."""
    with log.open("w") as out:
        # -P: do not import modules from the working directory.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "receiver", "serve", "--config", str(config)], stderr=out, stdout=out
        )
    with _terminating(process):
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (addresses := _listening(log)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"The receiver did not start; {log} says:\n{log.read_text()}")
            await asyncio.sleep(0.05)
        yield addresses


@contextmanager
def _terminating(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def _listening(log: Path) -> tuple[str, str] | None:
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if record.get("message") == "listening":
                return str(record["public"]), str(record["private"])
    return None


async def _run_jobs(scenario: Scenario, private: str, out: Console) -> None:
    """Submit the jobs, and show the progress until all are handled."""
    sim = scenario.sim
    # Before the first job: on a slow machine jobs end while others are still being submitted.
    sim.force("duplicate", times=2)
    sim.force("forged")
    async with httpx.AsyncClient(base_url=private, timeout=TIMEOUT_SECONDS, trust_env=False) as api:
        for source, text, format_ in JOBS:
            job_id = await _submit(api, source, text, format_)
            scenario.texts[job_id] = text
            if text == LOST:
                sim.force("lost_webhook", job_id=job_id)
        await _stream(scenario, api)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with Live(console=out, refresh_per_second=10, transient=True) as live:
        while not await asyncio.to_thread(scenario.finished):
            if time.monotonic() > deadline:
                out.print(f"[red]Not finished after {TIMEOUT_SECONDS:.0f} s.[/]")
                return
            if out.is_terminal:
                live.update(await asyncio.to_thread(progress_table, scenario))
            await asyncio.sleep(0.1)


async def _submit(api: httpx.AsyncClient, source: str, text: str, format_: str | None) -> str:
    """Submit as an application on this machine does; return the provider's job id."""
    body = {"source": source, "text": text, "voice": VOICES[source]}
    if format_ is not None:
        body["format"] = format_
    response = await api.post("/v1/speech", json=body)
    if response.status_code != httpx.codes.ACCEPTED:
        raise DemoError(f"The receiver answered a submit with {response.status_code}: {response.text}")
    return await _provider_id(api, source, response.json())


async def _stream(scenario: Scenario, api: httpx.AsyncClient) -> None:
    """Submit a job and receive its audio while it is made."""
    try:
        streamed = await receive_stream(api, {"source": "aitts", "text": STREAMED, "voice": VOICES["aitts"]})
    except (ValueError, httpx.HTTPError) as error:
        raise DemoError(f"The receiver did not stream the audio of a job: {error}") from None
    job = (await api.get(f"/v1/jobs/{streamed.own_id}")).json()
    scenario.streamed = replace(streamed, state=job["state"])
    scenario.texts[await _provider_id(api, "aitts", job)] = STREAMED


async def _provider_id(api: httpx.AsyncClient, source: str, job: dict[str, Any]) -> str:
    """The provider's id of a job, once it has answered."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while job["job_id"] is None:
        if job["state"] != "submitting" or time.monotonic() > deadline:
            raise DemoError(f"The job {job['id']} of {source} has no id of the provider; it is {job['state']}.")
        await asyncio.sleep(0.1)
        response = await api.get(f"/v1/jobs/{job['id']}")
        if not response.is_success:
            raise DemoError(f"The receiver answered {response.status_code} about job {job['id']}: {response.text}")
        job = response.json()
    return str(job["job_id"])
