"""What a client passes on to the provider, in real processes: parameters that only the service knows, and its key."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import urllib.parse
import uuid
from contextlib import closing, suppress
from typing import Any

import pytest

from tests.acceptance.support import SECRET, Provider, Server, Site, until
from tests.acceptance.test_speech import SOURCE, VOICES, configured, jobs_of, speech_process, the_job, words
from tests.patience import PATIENCE

OPTIONS = {"style": "calm", "seed": 7, "tuning": {"breaks": [1, 2]}, "ssml": True}
AS_TEXTS = {"style": "calm", "seed": "7", "tuning": '{"breaks": [1, 2]}', "ssml": "true"}
VENDOR_KEY = "sk_live_51Hqk7Zz"


def arrived(provider: Provider, text: str) -> Any:
    """The undocumented parameters that the provider got with this text."""
    return the_job(provider, text).submission.parameters


def post(server: Server, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
    parts = urllib.parse.urlsplit(server.private)
    with closing(http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=PATIENCE)) as up:
        up.request("POST", "/v1/speech", json.dumps(body), {"Idempotency-Key": key})
        answer = up.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("source", ["aitts", "miragic"])
def test_options_of_the_command_the_batch_and_the_api_reach_the_provider(
    site: Site, provider: Provider, source: str
) -> None:
    configured(site, provider)
    wanted = AS_TEXTS if source == "miragic" else OPTIONS
    typed = ["style=calm", "seed=7", 'tuning={"breaks": [1, 2]}', "ssml=true"]
    options = [word for option in typed for word in ("--option", option)]
    one = site.command(*words(source, "By the command.", *options), "--json")
    assert one.returncode == 0, one.stderr
    assert arrived(provider, "By the command.") == wanted
    job = json.loads(one.stdout)
    assert job["request"]["options"] == OPTIONS
    shown = site.command("jobs", "show", job["id"])
    assert '"style":"calm"' in "".join(shown.stdout.split()), shown.stdout

    (site.folder / "lines.jsonl").write_text(
        '{"text": "Of the batch.", "options": {"seed": 8}}\n{"text": "As all are."}\n'
    )
    many = site.command(*words(source, "--file", "lines.jsonl", *options))
    assert many.returncode == 0, many.stderr
    assert arrived(provider, "Of the batch.") == wanted | {"seed": type(wanted["seed"])(8)}
    assert arrived(provider, "As all are.") == wanted
    (site.folder / "table.csv").write_text('text,options\nOf the table.,"{""seed"": 9}"\n')
    table = site.command(*words(source, "--file", "table.csv"))
    assert table.returncode == 0, table.stderr
    assert arrived(provider, "Of the table.") == {"seed": type(wanted["seed"])(9)}

    server = site.start()
    status, answer = post(
        server, {"source": source, "text": "By the API.", "voice": VOICES[source], "options": OPTIONS}, "mine"
    )
    assert (status, answer["request"]["options"]) == (202, OPTIONS)
    assert arrived(provider, "By the API.") == wanted
    assert server.stop() == 0


def test_a_batch_with_other_options_is_another_batch(site: Site, provider: Provider) -> None:
    configured(site, provider)
    (site.folder / "lines.txt").write_text("One.\nTwo.\n")
    batch = words(SOURCE, "--file", "lines.txt")
    assert site.command(*batch, "--option", "seed=7").returncode == 0
    assert site.command(*batch, "--option", "seed=7").returncode == 0
    other = site.command(*batch, "--option", "seed=8")
    assert other.returncode == 1
    assert "Lines 1, 2 are different from what was submitted" in other.stderr
    assert len(provider.sim.jobs) == 2


def test_what_cannot_be_an_option_is_refused_before_anything_is_stored_or_sent(site: Site, provider: Provider) -> None:
    configured(site, provider)
    own, wire, broken, name = site.together(
        [*words(SOURCE, "Hello."), "--option", "voice=emma"],
        [*words("finevoice", "Hello."), "--option", "useAsync=false"],
        [*words("miragic", "Hello."), "--option", "tuning={breaks: 1}"],
        [*words("miragic", "Hello."), "--option", 'a"b=1'],
    )
    assert "'voice' cannot be an option: it is a field of its own" in own.stderr
    assert "'useAsync' cannot be an option: the receiver fills it in" in wire.stderr
    assert "the value of tuning is not JSON" in broken.stderr
    assert "cannot be the name of an option" in name.stderr
    assert not site.store.exists()
    assert not provider.sim.requests


def test_a_secret_among_the_options_arrives_and_is_written_nowhere_else(site: Site, provider: Provider) -> None:
    configured(site, provider)
    given = {"source": SOURCE, "text": "Hello.", "voice": "nobody", "options": {"vendor_api_key": VENDOR_KEY}}
    server = site.start()
    refused = post(server, given, "one")
    accepted = post(server, given | {"voice": "alloy"}, "two")
    assert (refused[0], accepted[0]) == (422, 202)
    for job in (refused[1]["job"], accepted[1]):
        assert job["request"]["options"] == {"vendor_api_key": "[redacted]"}
        site.command("jobs", "show", job["id"])
    site.command("jobs", "list", "--json")
    site.command("changes", "list", "--json")
    assert server.stop() == 0
    assert arrived(provider, "Hello.") == {"vendor_api_key": VENDOR_KEY}
    assert VENDOR_KEY not in site.everything_written()
    assert SECRET not in site.everything_written()


@pytest.mark.parametrize("key", [str(uuid.UUID(int=42, version=4)), "order-42"])
def test_after_a_kill_between_the_submit_and_its_answer_the_same_key_goes_out_again(
    site: Site, provider: Provider, key: str
) -> None:
    configured(site, provider)
    sim = provider.sim
    sim.force("slow_submit", at="aitts.submit", value=PATIENCE)
    body = {"source": SOURCE, "text": "Once.", "voice": "alloy", "options": OPTIONS}
    server = site.start()

    def ask() -> None:
        with suppress(OSError, http.client.HTTPException):
            post(server, body, key)

    asking = threading.Thread(target=ask)
    asking.start()
    until("the provider has the job, and has not answered", lambda: len(sim.jobs) == 1)
    [row] = jobs_of(site)
    assert (row["state"], row["client_key"]) == ("submitting", key)
    server.kill()
    asking.join(PATIENCE)

    server = site.start()
    until("the provider has answered", lambda: jobs_of(site)[0]["state"] == "watching")
    status, again = post(server, body, key)
    assert (status, again["id"]) == (200, row["id"])
    assert post(server, body | {"options": {}}, key)[0] == 422
    assert server.stop() == 0
    assert sim.idempotency_keys == [row["submit_key"]] * 2
    assert (row["submit_key"] == key) == (key != "order-42")
    assert arrived(provider, "Once.") == OPTIONS
    assert len(sim.jobs) == len(jobs_of(site)) == 1


def test_a_command_that_was_killed_is_continued_by_the_same_one_with_its_key(site: Site, provider: Provider) -> None:
    configured(site, provider)
    sim = provider.sim
    sim.force("slow_submit", at="aitts.submit", value=PATIENCE)
    command = words(SOURCE, "Once.", "--idempotency-key", "order-42", "-o", "once.wav")
    with speech_process(site, *command) as first:
        until("the provider has the job, and has not answered", lambda: len(sim.jobs) == 1)
        first.end(signal.SIGKILL)
    again = site.command(*command)
    assert again.returncode == 0, again.stderr
    assert (site.folder / "once.wav").exists()
    [row] = jobs_of(site)
    assert sim.idempotency_keys == [row["submit_key"]] * 2
    assert len(sim.jobs) == 1
    other = site.command(*words(SOURCE, "Twice.", "--idempotency-key", "order-42"))
    assert other.returncode == 1
    assert f"This idempotency key belongs to another request, that of job {row['id']}" in other.stderr
