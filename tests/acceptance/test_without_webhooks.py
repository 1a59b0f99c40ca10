"""An account without webhooks in real processes: an API key, no signing secret, and jobs that are polled."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.support import (
    API_KEY,
    SOURCE,
    Provider,
    Site,
    completed,
    deliver,
    get,
    sha256_at_the_origin,
    sha256_of,
    until,
)
from tests.patience import PATIENCE

VOICE = "alloy"
ELSEWHERE = "https://tts.example.com/webhooks/aitts"
NO_SECRET = f"no signing secret: no webhooks are received, and POST /webhooks/{SOURCE} is answered 404"


def polled(site: Site, base_url: str, source: str = "", *, key: str = f'api_key = "{API_KEY}"') -> Site:
    """A pay-as-you-go account: an address, a key, and nothing else."""
    site.config.write_text(
        "[server]\nport = 0\nprivate_port = 0\n[logs]\nformat = 'json'\n[handlers.save_audio]\n[handlers.log]\n"
        f'[sources.{SOURCE}]\nprovider = "aitts"\nbase_url = "{base_url}"\nallow_private_addresses = true\n'
        f"{key}\n{source}\n"
    )
    return site


def post(base: str, path: str, document: Any) -> tuple[int, Any]:
    """Status and JSON of a POST."""
    parts = urllib.parse.urlsplit(base)
    with closing(
        http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)
    ) as connection:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_job_submitted_over_the_private_api_is_polled_and_its_audio_stored(site: Site, provider: Provider) -> None:
    polled(site, provider.sim.base_url)
    checked = site.command("check")
    assert checked.returncode == 0, checked.stderr
    assert f"source   {SOURCE}: polled" in checked.stdout
    assert NO_SECRET in checked.stdout
    server = site.start()

    speech = {"source": SOURCE, "text": "Hello there.", "voice": VOICE}
    status, answer = post(server.private, "/v1/speech", speech)
    assert status in (201, 202), answer
    [row] = until("the job is watched", lambda: site.rows("SELECT * FROM jobs WHERE state = 'watching'"))
    assert 0 < row["due_at"] - row["submitted_at"] <= 10 or row["polls"] > 0
    [job] = provider.sim.jobs
    provider.finish(job)
    [ended] = until("its end is heard of", lambda: site.rows("SELECT * FROM jobs WHERE state = 'completed'"))
    assert ended["ended_at"] - ended["submitted_at"] < 60
    site.wait_for_state(ended["event_id"], "save_audio", "succeeded")
    [file] = site.final_files()
    assert sha256_of(file) == sha256_at_the_origin(job)
    [event] = site.rows("SELECT * FROM events")
    assert event["origin"] == "poll"

    assert "tts_receiver_events_recovered_total{" not in get(f"{server.private}/metrics")[1]  # no webhook was missed

    # Nothing is accepted at the webhook path, signed or not.
    body = completed("forged")
    assert deliver(server.public, body) == (404, {"error": "not_found"})
    assert deliver(server.public, body, {"Content-Type": "application/json"}) == (404, {"error": "not_found"})
    assert [row["id"] for row in site.rows("SELECT id FROM events")] == [event["id"]]
    assert server.stop() == 0


def test_speech_is_made_without_a_running_server(site: Site, provider: Provider) -> None:
    provider.sim.settings = replace(provider.sim.settings, job_seconds=0.05)
    polled(site, provider.sim.base_url)
    done = site.command("speech", "Hello.", "--voice", VOICE, "-o", "hello.wav")
    assert done.returncode == 0, done.stderr
    [job] = provider.sim.jobs
    assert sha256_of(site.folder / "hello.wav") == sha256_at_the_origin(job)


def test_what_needs_a_signing_secret_says_that_there_is_none(site: Site, provider: Provider) -> None:
    polled(site, provider.sim.base_url)
    sent, signed, verified, tested, registered, rotated, listed = site.together(
        ["send", "--source", SOURCE],
        ["sign", "--source", SOURCE],
        ["verify", "--source", SOURCE, "-H", "X-TTS-Signature: t=1,v1=00"],
        ["webhook", "test", "--source", SOURCE],
        ["webhook", "register", "--source", SOURCE, "--url", ELSEWHERE],
        ["webhook", "rotate", "--source", SOURCE, "--url", ELSEWHERE],
        ["sources", "list", "--json"],
        AITTS_ID_TOKEN=provider.sim.id_token,
    )
    for done in (sent, signed, verified, tested):
        assert done.returncode == 1
        assert f"source {SOURCE} has no signing secret" in done.stderr.lower()
    for done in (registered, rotated):
        assert done.returncode == 1
        assert "has no file for a signing secret" in done.stderr
        assert f'signing_secrets_file = "{SOURCE}.secrets"' in done.stderr
    assert provider.sim.requests["aitts.register"] == provider.sim.requests["aitts.test"] == 0
    [row] = json.loads(listed.stdout)["items"]
    assert (row["webhook_path"], row["polled"], row["signing_secrets"], row["notes"]) == (None, True, [], [NO_SECRET])


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ('path = "/elsewhere"', "path"),
        ('stale = "reject"', "stale"),
        ("tolerance_seconds = 300", "tolerance_seconds"),
        ('signing_secrets_file = "missing"', "signing_secrets_file"),
        ('signing_secrets_file = "empty"\npath = "/elsewhere"', "signing_secrets_file"),
        ('signing_secrets = ""', "signing_secrets"),
    ],
)
def test_what_says_that_webhooks_are_meant_is_an_error_without_a_secret(site: Site, source: str, key: str) -> None:
    (site.folder / "empty").touch(0o600)
    polled(site, "http://127.0.0.1:9", source)
    served, checked = site.together(["serve"], ["check"])
    for done in (served, checked):
        assert done.returncode == 1
        assert f"sources.{SOURCE}.{key}: " in done.stderr
        assert done.stderr.count("sources.") == 1, done.stderr


def test_without_a_key_as_well_there_is_no_way_to_hear_of_a_job(site: Site) -> None:
    polled(site, "http://127.0.0.1:9", key="")
    for done in site.together(["serve"], ["check"]):
        assert done.returncode == 1
        assert f"sources.{SOURCE}.signing_secrets: is missing" in done.stderr
        assert "api_key" in done.stderr
