"""Audio that is passed on while it is made, over real processes: the job is never lost, whatever becomes of the stream.

The provider's jobs end when a test ends them, so that a stream is read while its job is running.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.simulator import Job
from tests.acceptance.support import (
    SOURCE,
    Provider,
    Server,
    Site,
    clean_environment,
    sha256_at_the_origin,
    until,
)
from tests.patience import PATIENCE

HANDLERS = "[handlers.save_audio]"
POLL = "[sources.aitts.poll]\nfirst_seconds = 0.1\nmin_seconds = 0.1\nmax_seconds = 0.5\nrequests_per_second = 50"
BODY = {"source": SOURCE, "text": "Hello.", "voice": "alloy", "stream": True}


@pytest.fixture
def limited() -> Iterator[Provider]:
    """Its rate limit has a short window."""
    made = Provider(rate_window=1.0)
    yield made
    made.close()


def configured(site: Site, provider: Provider, source: str = POLL) -> Site:
    return site.configure(base_url=provider.sim.base_url, handlers=HANDLERS, source=source)


@pytest.fixture
def slow() -> Iterator[Provider]:
    """Its streams take a while."""
    made = Provider(stream_seconds=2.0)
    yield made
    made.close()


@contextmanager
def requested(
    server: Server, body: dict[str, Any] = BODY, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The response to `POST /v1/speech`, of which the head has been read."""
    parts = urllib.parse.urlsplit(server.private)
    with closing(http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)) as up:
        up.request("POST", "/v1/speech", json.dumps(body).encode(), headers or {})
        with up.getresponse() as response:
            yield response


def read_exactly(response: http.client.HTTPResponse, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += response.read1(count - len(found))
    return found


def only_job(provider: Provider) -> Job:
    [job] = provider.sim.jobs
    return job


def audio_of(job: Job) -> bytes:
    return b"".join(job.audio.chunks(0, job.audio.size))


def fetched(site: Site, job: Job) -> None:
    """Wait until the job's durable audio is stored."""
    until("the audio is stored", lambda: site.rows("SELECT 1 FROM artifacts") and site.final_files())
    assert [row["sha256"] for row in site.rows("SELECT sha256 FROM artifacts")] == [sha256_at_the_origin(job)]
    states = site.rows("SELECT state, job_id, streamed FROM jobs")
    assert states == [{"state": "completed", "job_id": job.id, "streamed": 1}]


def no_secret_is_left(site: Site, provider: Provider) -> None:
    """The address of the stream is neither in the log nor in the store, and the key went to the API alone."""
    assert provider.sim.leaks == []
    tokens = provider.sim.stream_tokens
    assert tokens
    files = [path for path in (site.folder / "data").rglob("*") if path.is_file()]
    for token in tokens:
        assert token not in site.everything_written()
        assert not any(token.encode() in path.read_bytes() for path in files)


def test_the_audio_is_received_while_it_is_made_and_fetched_when_the_event_comes(
    site: Site, provider: Provider
) -> None:
    receiver = configured(site, provider, "").start()
    provider.sim.webhook_url = f"{receiver.public}/webhooks/{SOURCE}"

    with requested(receiver) as response:
        job = only_job(provider)
        assert (response.status, response.getheader("Content-Type")) == (200, "audio/wav")
        assert response.read() == audio_of(job)
        own_id = response.getheader("Job-Id")
        assert response.getheader("Location") == f"/v1/jobs/{own_id}"
    assert [row["state"] for row in site.rows("SELECT state FROM jobs WHERE id = :id", id=own_id)] == ["watching"]

    provider.finish(job)
    fetched(site, job)
    assert [row["origin"] for row in site.rows("SELECT origin FROM events")] == ["webhook"]
    assert receiver.stop() == 0
    no_secret_is_left(site, provider)


def test_a_client_that_leaves_closes_the_stream_and_loses_no_job(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("stalled_stream", value=10_000)

    with requested(receiver) as response:
        job = only_job(provider)
        assert read_exactly(response, 10_000) == audio_of(job)[:10_000]
        assert provider.sim.requests["live_disconnected"] == 0
    until("the stream is closed", lambda: provider.sim.requests["live_disconnected"] == 1)
    assert not receiver.wait_for("audio_stream.ended")["complete"]

    provider.finish(job)
    fetched(site, job)
    assert receiver.stop() == 0
    no_secret_is_left(site, provider)


def test_a_receiver_that_is_killed_in_the_middle_of_a_stream_still_has_the_job(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("stalled_stream", value=10_000)

    with requested(receiver) as response:
        job = only_job(provider)
        read_exactly(response, 10_000)
        receiver.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()

    provider.finish(job)
    again = site.start()
    fetched(site, job)
    assert again.stop() == 0
    assert len(provider.sim.jobs) == 1
    no_secret_is_left(site, provider)


@pytest.mark.parametrize(("origin", "with_key"), [("api", 1), ("storage", 0)])
def test_the_key_is_sent_to_the_services_own_origin_only(site: Site, origin: str, with_key: int) -> None:
    provider = Provider(stream_origin=origin)
    try:
        receiver = configured(site, provider).start()
        with requested(receiver) as response:
            assert response.read() == audio_of(only_job(provider))
        assert receiver.stop() == 0
        assert (provider.sim.requests["live"], provider.sim.requests["live_with_key"]) == (1, with_key)
        no_secret_is_left(site, provider)
    finally:
        provider.close()


def test_a_receiver_that_is_stopped_lets_a_stream_end(site: Site, slow: Provider) -> None:
    receiver = configured(site, slow).start()

    with requested(receiver) as response:
        job = only_job(slow)
        first = read_exactly(response, 100)
        receiver.send_signal(signal.SIGTERM)
        receiver.wait_for("receiver.stopping")
        assert first + response.read() == audio_of(job)
    assert receiver.wait() == 0
    assert receiver.wait_for("audio_stream.ended")["complete"]


def test_a_second_signal_ends_the_streams(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("stalled_stream", value=10_000)

    with requested(receiver) as response:
        read_exactly(response, 10_000)
        receiver.send_signal(signal.SIGTERM)
        receiver.wait_for("receiver.stopping")
        assert receiver.stop() == 0
    receiver.wait_for("receiver.stop_forced")


def test_a_stream_that_breaks_does_not_complete_the_response_and_does_not_end_the_job(
    site: Site, provider: Provider
) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("cut_stream", value=10_000)

    with requested(receiver) as response:
        job = only_job(provider)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    assert receiver.wait_for("audio_stream.failed")["bytes"] == 10_000

    provider.finish(job)
    fetched(site, job)
    assert receiver.stop() == 0
    assert "Traceback" not in site.everything_written()
    no_secret_is_left(site, provider)


@pytest.mark.parametrize("fault", ["refused_stream", "expired_stream", "html_stream", "no_stream_url"])
def test_without_a_stream_the_response_is_the_job_and_its_audio_is_fetched(
    site: Site, provider: Provider, fault: str
) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force(fault)

    with requested(receiver) as response:
        job = only_job(provider)
        answer = json.loads(response.read())
        assert (response.status, response.getheader("Content-Type")) == (202, "application/json")
        assert (answer["state"], answer["job_id"], answer["streamed"]) == ("watching", job.id, True)
    receiver.wait_for("audio_stream.failed")

    provider.finish(job)
    fetched(site, job)
    assert receiver.stop() == 0
    no_secret_is_left(site, provider)


def test_a_submit_without_an_answer_is_unknown_and_not_repeated(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("lost_answer", at="aitts.stream")

    with requested(receiver) as response:
        problem = json.loads(response.read())
        assert (response.status, problem["job"]["state"]) == (502, "unknown")
        assert problem["job"]["id"] == site.rows("SELECT id FROM jobs")[0]["id"]
    assert receiver.stop() == 0
    assert (len(provider.sim.jobs), provider.sim.requests["submit"], provider.sim.requests["stream"]) == (1, 0, 1)


def test_a_receiver_that_is_killed_while_it_submits_leaves_the_job_unknown(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    provider.sim.force("slow_submit", at="aitts.stream", value=2 * PATIENCE)
    parts = urllib.parse.urlsplit(receiver.private)
    with closing(http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)) as up:
        up.request("POST", "/v1/speech", json.dumps(BODY).encode())
        until("the provider has the job", lambda: len(provider.sim.jobs) == 1)
        receiver.kill()

    again = site.start()
    until("unknown", lambda: [row["state"] for row in site.rows("SELECT state FROM jobs")] == ["unknown"])
    assert [row["error_code"] for row in site.rows("SELECT error_code FROM jobs")] == ["submit_lost"]
    assert again.stop() == 0
    assert (len(provider.sim.jobs), provider.sim.requests["submit"], provider.sim.requests["stream"]) == (1, 0, 1)


def test_a_source_that_must_wait_submits_the_job_without_a_stream(site: Site, limited: Provider) -> None:
    provider = limited
    receiver = configured(site, provider).start()
    provider.sim.force("error_429", at="aitts.stream", value=1)

    with requested(receiver) as response:
        answer = json.loads(response.read())
        assert (response.status, answer["state"], answer["error_code"]) == (
            202, "submitting", "provider_rate_limited",
        )  # fmt: skip

    until("it is submitted", lambda: len(provider.sim.jobs) == 1)
    provider.finish(only_job(provider))
    until("it is completed", lambda: site.rows("SELECT 1 FROM jobs WHERE state = 'completed'"))
    assert json.loads(site.command("jobs", "show", answer["id"], "--json").stdout)["streamed"] is False
    assert receiver.stop() == 0
    assert (provider.sim.requests["submit"], provider.sim.requests["stream"]) == (1, 1)


def test_what_cannot_be_streamed_is_refused_before_anything_is_stored_or_sent(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider, f"max_stream_characters = 10\n{POLL}").start()

    for more in ({"format": "mp3", "bitrate_kbps": 64}, {"speed": 1.5}, {"metadata": {"a": 1}}, {"text": "x" * 11}):
        with requested(receiver, BODY | more) as response:
            assert (response.status, json.loads(response.read())["reason"]) == (422, "provider_invalid"), more
    assert receiver.stop() == 0
    assert site.rows("SELECT * FROM jobs") == []
    assert provider.sim.requests["stream"] == 0


def test_the_same_idempotency_key_is_the_same_job_and_no_second_stream(site: Site, provider: Provider) -> None:
    receiver = configured(site, provider).start()
    headers = {"Idempotency-Key": "mine"}

    with requested(receiver, headers=headers) as response:
        own_id = response.getheader("Job-Id")
        assert response.read() == audio_of(only_job(provider))
    with requested(receiver, headers=headers) as response:
        assert (response.status, json.loads(response.read())["id"]) == (200, own_id)
    assert receiver.stop() == 0
    assert provider.sim.requests["stream"] == 1


# the command


@pytest.fixture
def playing() -> Iterator[Provider]:
    """Its jobs end by themselves."""
    made = Provider(job_seconds=0.5)
    yield made
    made.close()


def speech(site: Site, *more: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "speech", "Hello.", "--voice", "alloy", "--stream", *more],
        capture_output=True,
        timeout=PATIENCE,
        cwd=site.folder,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
        check=False,
    )
    site.printed.append(done.stderr.decode())
    return done


def test_the_command_writes_the_audio_while_it_is_made_and_stores_it_afterwards(site: Site, playing: Provider) -> None:
    configured(site, playing)

    done = speech(site, "-o", "-")

    job = only_job(playing)
    assert (done.returncode, done.stdout) == (0, audio_of(job)), done.stderr
    fetched(site, job)
    no_secret_is_left(site, playing)


def test_a_broken_stream_is_an_error_of_the_command_that_names_the_stored_audio(site: Site, playing: Provider) -> None:
    configured(site, playing)
    playing.sim.force("cut_stream", value=10_000)

    done = speech(site)

    job = only_job(playing)
    assert (done.returncode, done.stdout) == (1, audio_of(job)[:10_000])
    fetched(site, job)
    assert str(site.final_files()[0]) in done.stderr.decode()
    no_secret_is_left(site, playing)


def test_without_a_stream_the_command_writes_the_audio_once_the_job_has_ended(site: Site, playing: Provider) -> None:
    configured(site, playing)
    playing.sim.force("expired_stream")

    done = speech(site)

    job = only_job(playing)
    assert (done.returncode, done.stdout) == (0, audio_of(job)), done.stderr
    fetched(site, job)


def test_a_player_that_ends_closes_the_stream_and_the_next_command_has_the_audio(
    site: Site, playing: Provider, tmp_path: Path
) -> None:
    configured(site, playing)
    playing.sim.force("stalled_stream", value=10_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "speech", "Hello.", "--voice", "alloy", "--stream"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=site.folder,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert os.read(process.stdout.fileno(), 100)
    process.kill()
    process.communicate(timeout=PATIENCE)
    until("the stream is closed", lambda: playing.sim.requests["live_disconnected"] == 1)

    job = only_job(playing)
    own_id = site.rows("SELECT id FROM jobs")[0]["id"]
    done = site.command("speech", "--job", own_id, "-o", str(tmp_path / "hello.wav"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.wav").read_bytes() == audio_of(job)
    no_secret_is_left(site, playing)
