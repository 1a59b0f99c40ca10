"""SIGKILL while jobs are submitted and polled, at random moments: none is lost, and none is paid for twice unseen.

aitts has idempotency keys: a submit whose answer was lost is made again with the same key, and is one job. miragic has
none: it is left `unknown`, for a person to look. Jobs are asked for as an application does, over the private API, with
a key of the application's own, again and again until there is an answer.

A few kills by default; more with TTS_ACCEPTANCE_KILLS, other moments with TTS_ACCEPTANCE_SEED.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from receiver.simulator import Simulator
from tests.acceptance.support import API_KEY, Provider, Site, until
from tests.patience import PATIENCE

KILLS = int(os.environ.get("TTS_ACCEPTANCE_KILLS", "6"))
SEED = int(os.environ.get("TTS_ACCEPTANCE_SEED", "20261121"))
AT_A_TIME = 5
"""New jobs at each source between two kills."""
ANSWER_SECONDS = 0.4
"""How long the provider takes to answer a submit; the job is made before."""
VOICES = {"aitts": "alloy", "miragic": "alloy"}
PACE = "requests_per_second = 50\nmin_seconds = 0.2\nmax_seconds = 0.5"
HANDLERS = "[handlers.log]\nattempts = 100"
LOST = "submit_lost"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Its jobs end by themselves, and it is slow to answer a submit. No webhook is sent: there is nowhere to."""
    it = Provider(job_seconds=0.3, api_keys={"miragic": API_KEY})
    it.sim.force("slow_submit", 1_000_000, value=ANSWER_SECONDS)
    yield it
    it.close()


@dataclass
class Application:
    """Asks for speech, each piece once as far as it can tell; a request without an answer is made again."""

    base: str = ""
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """By text."""

    def __post_init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()

    def ask(self, source: str, text: str) -> None:
        """Begin; returns at once."""
        thread = threading.Thread(target=self._ask, args=(source, text), name=text)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Return once everything has an answer."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"no answer about {thread.name}"

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, source: str, text: str) -> None:
        body = json.dumps({"source": source, "text": text, "voice": VOICES[source]}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"key of {text}"}
        while not self._over.is_set():
            parts = urllib.parse.urlsplit(self.base)
            try:
                with closing(
                    http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)
                ) as up:
                    up.request("POST", "/v1/speech", body, headers)
                    answer = up.getresponse()
                    self.answers[text] = answer.status, json.loads(answer.read())
                    return
            except (OSError, http.client.HTTPException, ValueError):
                self._over.wait(0.05)


def configured(site: Site, provider: Provider) -> Site:
    sim = provider.sim
    miragic = (
        f'[sources.miragic]\nprovider = "miragic"\nbase_url = "{sim.base_urls["miragic"]}"\n'
        f'allow_private_addresses = true\napi_key = "{API_KEY}"\n[sources.miragic.poll]\n{PACE}'
    )
    source = f"[sources.aitts.poll]\nfirst_seconds = 0.2\n{PACE}"
    return site.configure(miragic, base_url=sim.base_urls["aitts"], source=source, handlers=HANDLERS)


def submitted_jobs(site: Site) -> dict[str, dict[str, Any]]:
    """The jobs' rows by their texts."""
    return {row["request"]["text"]: row for row in site.rows("SELECT * FROM jobs")}


def on_its_way(site: Site, source: str) -> dict[str, dict[str, Any]]:
    """Those whose request was begun and whose answer is not written down."""
    rows = submitted_jobs(site).items()
    return {text: row for text, row in rows if row["source"] == source and _begun(row)}


def _begun(row: dict[str, Any]) -> bool:
    return row["state"] == "submitting" and row["submits"] > 0


def made(sim: Simulator, source: str) -> Counter[str]:
    """How many jobs the provider has for each text."""
    return Counter(job.submission.text for job in sim.jobs.of(source))


def settled(site: Site) -> bool:
    open_jobs = "SELECT 1 FROM jobs WHERE state IN ('submitting', 'watching')"
    open_runs = "SELECT 1 FROM runs WHERE state <> 'succeeded'"
    return not site.rows(f"{open_jobs} UNION ALL {open_runs} LIMIT 1")


@pytest.mark.timeout(300 + 8 * KILLS)
def test_no_job_is_lost_and_none_is_submitted_twice(
    site: Site, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, application, sim = random.Random(SEED), Application(), provider.sim
    configured(site, provider)
    server = site.start()
    application.base = server.private
    lost: set[str] = set()
    again: set[str] = set()
    accepted: dict[str, str] = {}
    try:
        for number in range(KILLS):
            for source in VOICES:
                for piece in range(AT_A_TIME):
                    ends = "[fail]" if piece == 0 else "well"
                    text = f"{source} {number}.{piece} {ends}"
                    accepted[text] = source
                    application.ask(source, text)
            wait_for_a_moment(site, rng, number)
            server.kill()
            lost |= set(on_its_way(site, "miragic"))
            again |= set(on_its_way(site, "aitts"))
            server = site.start()
            application.base = server.private
        application.wait()
        until("every job is settled", lambda: settled(site))
    finally:
        application.stop()
    check(site, sim, application, accepted, lost)
    check_they_are_shown(site, lost)
    with capsys.disabled():
        print(
            f"\n  {KILLS} kills; {len(accepted)} jobs; {len(again)} submits at aitts were cut off, and made again;"
            f" {len(lost)} at miragic are unknown: it has {sum(made(sim, 'miragic')[text] for text in lost)} of them"
        )
    assert again, "the kills hit submits at aitts"
    assert lost, "the kills hit submits at miragic"
    assert server.stop() == 0


def wait_for_a_moment(site: Site, rng: random.Random, number: int) -> None:
    """Some time after submits have begun at both; now and then any moment."""
    if number % 3 != 2:
        until("submits are on their way", lambda: all(on_its_way(site, source) for source in VOICES))
    time.sleep(rng.uniform(0.0, ANSWER_SECONDS * 1.5))


def check(site: Site, sim: Simulator, application: Application, accepted: dict[str, str], lost: set[str]) -> None:
    """What was asked for is there once, has ended, and was made once at the most."""
    rows = submitted_jobs(site)
    assert {text: row["source"] for text, row in rows.items()} == accepted
    assert len(site.rows("SELECT id FROM jobs")) == len(accepted)
    recorded = site.rows("SELECT detail, changed FROM audit_entries WHERE operation = 'speak'")
    assert {entry["detail"] for entry in recorded} == {row["id"] for row in rows.values()}
    assert [entry["changed"] for entry in recorded] == [1] * len(rows), "each job is recorded once, with its store"
    assert {text: said.get("id", said.get("job", {}).get("id")) for text, (_, said) in application.answers.items()} == {
        text: row["id"] for text, row in rows.items()
    }
    for text, row in rows.items():
        if text in lost:
            assert (row["state"], row["error_code"], row["job_id"]) == ("unknown", LOST, None), text
            continue
        assert row["state"] == ("failed" if "[fail]" in text else "completed"), f"{text}: {row['error']}"
        assert sim.jobs[row["job_id"]].submission.text == text
    assert made(sim, "aitts") == {text: 1 for text, source in accepted.items() if source == "aitts"}
    at_miragic = made(sim, "miragic")
    assert max(at_miragic.values()) == 1
    assert {text for text, source in accepted.items() if source == "miragic"} - set(at_miragic) <= lost
    events = site.rows("SELECT job_id, type FROM events")
    ended = {row["job_id"]: f"job.{row['state']}" for row in rows.values() if row["job_id"] is not None}
    assert {event["job_id"]: event["type"] for event in events} == ended
    assert len(events) == len(ended)


def check_they_are_shown(site: Site, lost: set[str]) -> None:
    """A person is told which, and what to do."""
    done = site.command("jobs", "list", "--state", "unknown", "--json", "--limit", "1000")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["items"]
    assert {row["id"] for row in shown} == {submitted_jobs(site)[text]["id"] for text in lost}
    for row in shown:
        assert "Check there" in row["error"]
        assert f"jobs watch --source miragic --for {row['id']}" in row["error"]
        assert f"jobs cancel {row['id']}" in row["error"]
