"""What becomes of a forwarded event, whatever the application does: receiver and application are real processes."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

from receiver.model.signature import SCHEMES
from tests.acceptance import application
from tests.acceptance.support import Provider, Server, Site, completed, deliver, sha256_at_the_origin, until
from tests.certificate import self_signed
from tests.integration.s3_support import serving_bucket
from tests.patience import PATIENCE

NEW, OLD = "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE=", "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE="
NEWEST = "whsec_bmV3ZXN0LXNlY3JldC0yNC1ieXRlcw=="
OURS = "a-secret-of-our-own-scheme"
TOKEN = "Bearer-of-the-application"
AFTER_BEARER, QUERY = "topsecrettoken5678", "urlquerysecret99"
SECRETS = (NEW, OLD, OURS, TOKEN, AFTER_BEARER, QUERY)


@dataclass
class Received:
    """A request that the application received."""

    headers: dict[str, str]
    body: bytes


class Application:
    """The application's process."""

    def __init__(self, folder: Path, *files: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._files = files
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, again at the same port."""
        self.process = subprocess.Popen(
            [sys.executable, application.__file__, str(self.port), str(self.folder), *map(str, self._files)],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def received(self, name: str) -> list[Received]:
        """The requests to a path so far."""
        records = [json.loads(file.read_text()) for file in sorted(self.folder.glob(f"{name}-*.json"))]
        return [Received(record["headers"], base64.b64decode(record["body"])) for record in records]

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start_application(tmp_path: Path) -> Iterator[Callable[..., Application]]:
    started: list[Application] = []

    def start(*files: Path) -> Application:
        started.append(Application(tmp_path / f"application-{len(started)}", *files))
        return started[-1]

    yield start
    for each in started:
        each.close()


def table(name: str, url: str, more: str = "", *, secrets: Sequence[str] = (NEW, OLD), leave: bool = True) -> str:
    """A handler's table."""
    allowed = json.dumps(leave)
    return (
        f'[handlers.{name}]\nuse = "forward"\nurl = "{url}"\nsecrets = {json.dumps(secrets)}\n'
        f"allow_private_addresses = {allowed}\n{more}\n"
    )


def failed(job: str) -> bytes:
    """The body of a `job.failed`."""
    error = {"code": "VOICE_NOT_FOUND", "message": "No such voice."}
    return json.dumps({"event": "job.failed", "data": {"job_id": job, "status": "failed", "error": error}}).encode()


def event_of(server: Server, body: bytes) -> str:
    """Deliver; the event's id."""
    answer = deliver(server.public, body)
    assert answer is not None
    assert answer[0] == 202, answer
    return str(answer[1]["event"])


def cloud_event(received: Received) -> Any:
    """What the official SDK reads."""
    return from_http_event(HTTPMessage(headers=received.headers, body=received.body))


def test_each_answer_of_the_application_has_its_outcome(
    site: Site, start_application: Callable[..., Application]
) -> None:
    app, mortal = start_application(), start_application()
    base = f"http://127.0.0.1:{app.port}"
    names = ["accepts", "moves", "garbage", "compressed", "unwanted", "busy", "maintenance"]
    tables = [table(name, f"{base}/{name}/{name}") for name in names]
    tables += [
        table("slow", f"{base}/slow/slow", "request_seconds = 0.5"),
        table("drips", f"{base}/drips/drips", "request_seconds = 2"),
        table("fails", f"{base}/fails/fails", f'headers = {{Authorization = "{TOKEN}"}}'),
        table(
            "unauthorized",
            f"{base}/unauthorized/unauthorized?token={QUERY}",
            f'headers = {{Authorization = "Bearer {AFTER_BEARER}"}}',
        ),
        table("invalid", f"{base}/invalid/invalid", "reject_statuses = [422]"),
        table("private", f"{base}/accepts/private", leave=False),
        table("nobody", "http://127.0.0.1:9/"),
        table("dies", f"http://127.0.0.1:{mortal.port}/dies/dies"),
        table("ours", f"{base}/accepts/ours", 'scheme = "tts"\nformat = "cloudevents-binary"', secrets=[OURS]),
    ]
    site.configure(handlers="\n".join(tables))
    server = site.start()
    event = event_of(server, failed("job-1"))

    assert mortal.process.wait(PATIENCE) == -9
    mortal.close()
    mortal.start()

    def ended(name: str) -> dict[str, Any]:
        """The run once its first attempt has ended."""
        until(f"an attempt of {name}", lambda: site.run_of(event, name)["error"] or is_over(name))
        return site.run_of(event, name)

    def is_over(name: str) -> bool:
        return site.run_of(event, name)["state"] in ("succeeded", "dead")

    here = f"127.0.0.1:{app.port}"
    accepted = ended("accepts")
    assert (accepted["state"], accepted["attempt"]) == ("succeeded", 1)
    assert ended("drips")["state"] == "succeeded"  # the status was there

    final = {
        "unwanted": f'{here} answered 410: it does not accept this event: "no such order".',
        "invalid": f"{here} answered 422: it does not accept this event.",
    }
    for name, error in final.items():
        assert (ended(name)["state"], ended(name)["error"]) == ("dead", error)
        assert len(app.received(name)) == 1

    for name, status in {"busy": 429, "maintenance": 503}.items():
        run = ended(name)
        assert run["error"] == f"{here} answered {status} and asks to wait {application.WAIT_SECONDS} s."
        assert (run["state"], run["attempt"]) == ("pending", 1)
        assert run["wait_seconds"] == application.WAIT_SECONDS

    retried = {
        "slow": f"{here} did not answer within 0.5 s.",
        "moves": f"{here} answered 307, a redirect to localhost. Redirects are not followed: set url to the final "
        "address.",
        "compressed": f"{here} answered 500.",
        "unauthorized": f'{here} answered 401: "bad token [redacted] for you; path '
        '/unauthorized/unauthorized?[redacted]".',
        "private": "127.0.0.1 is not public; set allow_private_addresses = true in "
        "[handlers.private] if it is in your own network.",
    }
    for name, error in retried.items():
        assert ended(name)["error"] == error
        assert ended(name)["state"] in ("pending", "running")
    assert ended("garbage")["error"].startswith(f"{here} gave no usable answer: RemoteProtocolError: ")
    assert ended("nobody")["error"].startswith("127.0.0.1:9 gave no usable answer: ConnectError: ")
    echoed = ended("fails")["error"]
    assert echoed.startswith(f'{here} answered 500: "[31mno room at https://app.example/orders?[redacted]')

    # Killed in the middle of a request: the same message again, by which the application recognizes it.
    site.wait_for_state(event, "dies", "succeeded")
    first, second = mortal.received("dies")
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"{event}:dies"
    assert first.body == second.body

    assert app.received("private") == app.received("moved") == []
    [request] = app.received("accepts")
    [ours] = app.received("ours")
    lines = [(name.lower().encode(), value.encode()) for name, value in ours.headers.items()]
    scheme, now = SCHEMES["tts"], float(ours.headers["X-TTS-Signature"].partition(",")[0].removeprefix("t="))
    scheme.verify(lines, ours.body, [scheme.parse_secret("key", OURS)], now)
    for secret in (NEW, OLD):
        Webhook(secret).verify(request.body, request.headers)
    for each in (request, ours):
        assert cloud_event(each).get_id() == event
        assert cloud_event(each).get_data()["error"]["code"] == "VOICE_NOT_FOUND"
    assert cloud_event(request).get_data() == cloud_event(ours).get_data()

    assert server.stop() == 0
    written = site.everything_written() + "".join(str(run["error"]) for run in site.rows("SELECT error FROM runs"))
    for secret in (*SECRETS, "from-the-application", "of-the-redirect"):
        assert secret not in written


def test_each_target_gets_the_audio_in_its_way(
    site: Site, provider: Provider, start_application: Callable[..., Application]
) -> None:
    app = start_application()
    more = {
        "link": "",
        "inline": 'audio = "inline"\nformat = "cloudevents-binary"',
        "large": 'audio = "inline"\nmax_inline_bytes = 100',
        "original": 'format = "provider"',
    }
    base = f"http://127.0.0.1:{app.port}/accepts"
    site.configure(
        base_url=provider.sim.base_url,
        handlers="\n".join(table(name, f"{base}/{name}", of) for name, of in more.items()),
    )
    secrets = site.folder / "secrets"
    secrets.mkdir()
    (secrets / "handlers__link__secrets").write_text(f"# the newest first\n{NEWEST}\n{NEW}\n")
    server = site.start(TTS_RECEIVER_SECRETS_DIR=str(secrets))
    job = provider.completed_job("Good morning.")
    body = completed(job.id, audio_url="https://storage.example/temporary.wav?X-Signature=of-the-provider")
    event = event_of(server, body)
    for name in more:
        site.wait_for_state(event, name, "succeeded")

    received = {name: app.received(name)[0] for name in more}
    sha256 = sha256_at_the_origin(job)
    for each in received.values():
        Webhook(NEW).verify(each.body, each.headers)
    Webhook(NEWEST).verify(received["link"].body, received["link"].headers)
    assert received.pop("original").body == body
    files = {}
    for name, each in received.items():
        assert b"storage.example" not in each.body
        [files[name]] = cloud_event(each).get_data()["audio"]
        assert files[name]["sha256"] == sha256
    for name in ("link", "large"):
        assert files[name]["link"] == f"{server.private}/v1/events/{event}/audio?n=0"
        assert hashlib.sha256(httpx.get(files[name]["link"], trust_env=False).content).hexdigest() == sha256
    assert hashlib.sha256(base64.b64decode(files["inline"]["data_base64"])).hexdigest() == sha256
    assert "data_base64" not in files["large"]


def test_an_application_that_requires_a_client_certificate_gets_events_of_its_own_authority(
    site: Site, start_application: Callable[..., Application]
) -> None:
    served = self_signed(site.folder / "application.pem", "127.0.0.1")
    client = self_signed(site.folder / "client.pem", "receiver")
    app = start_application(served, client)
    base = f"https://127.0.0.1:{app.port}/accepts"
    trusts = f'ca = "{served.name}"'
    tls = {"mutual": f'certificate = "client.pem"\nkey = "client.pem"\n{trusts}', "anonymous": trusts}
    tables = [table("mutual", f"{base}/mutual"), table("anonymous", f"{base}/anonymous")]
    tables += [f"[handlers.{name}.tls]\n{keys}" for name, keys in tls.items()]
    site.configure(handlers="\n".join([*tables, table("doubts", f"{base}/doubts")]))
    server = site.start()
    event = event_of(server, failed("job-1"))
    site.wait_for_state(event, "mutual", "succeeded")
    errors = [until("it fails", lambda of=name: site.run_of(event, of)["error"]) for name in ("anonymous", "doubts")]
    here = f"127.0.0.1:{app.port}"
    assert all(error.startswith(f"{here} gave no usable answer: ") for error in errors)
    assert "CERTIFICATE_VERIFY_FAILED" in errors[1]
    [received] = app.received("mutual")
    Webhook(NEW).verify(received.body, received.headers)
    assert app.received("anonymous") == app.received("doubts") == []


def test_an_application_fetches_the_audio_from_the_object_storage(
    site: Site, provider: Provider, start_application: Callable[..., Application]
) -> None:
    app = start_application()
    url = f"http://127.0.0.1:{app.port}/accepts/signed"
    site.configure(
        '[audio]\nurl = "s3://speech/tts"',
        base_url=provider.sim.base_url,
        handlers=table("signed", url, 'audio = "signed-url"\nsigned_url_seconds = 600'),
    )
    with serving_bucket() as bucket:
        server = site.start(**bucket.environment)
        job = provider.completed_job("Good morning.")
        event = event_of(server, completed(job.id))
        site.wait_for_state(event, "signed", "succeeded")
        [received] = app.received("signed")
        [file] = cloud_event(received).get_data()["audio"]
        assert "link" not in file
        assert dt.datetime.fromisoformat(file["url_expires_at"]) > dt.datetime.now(dt.UTC)
        fetched = httpx.get(file["url"], trust_env=False).raise_for_status()
    assert hashlib.sha256(fetched.content).hexdigest() == file["sha256"] == sha256_at_the_origin(job)
    signature = httpx.URL(file["url"]).params["X-Amz-Signature"]
    assert signature not in site.everything_written()
