"""The command line as a stranger uses it: what it says when all is well, and above all when it is not."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver.store.schema import HEAD
from tests.acceptance.support import (
    API_KEY,
    SECRET,
    SOURCE,
    Provider,
    Server,
    Site,
    clean_environment,
    completed,
    deliver,
    get,
    sha256_at_the_origin,
    signature,
    signed_headers,
    until,
)
from tests.patience import PATIENCE
from tests.stores import WriteLock, execute

PICKY = """
from pathlib import Path

from receiver import Context, JobCompleted, Reject, handler

CURE = Path(__file__).parent.parent / "cured"
CALLS = Path(__file__).parent.parent / "calls"


@handler(on=JobCompleted)
async def picky(event: JobCompleted, ctx: Context[None]) -> str:
    with CALLS.open("a") as file:
        file.write(f"{event.job_id}\\n")
    if not CURE.exists():
        raise Reject("the episode has no title yet")
    return "published"
"""
PLUGINS = '[plugins]\ndirectory = "plugins"'


def sent(server: Server, job: str, t: int | None = None) -> str:
    """Deliver the end of a job; the event's id."""
    body = completed(job)
    answer = deliver(server.public, body, signed_headers(body, t))
    assert answer is not None
    assert answer[0] == 202, answer
    return str(answer[1]["event"])


def problems(text: str) -> dict[str, str]:
    """What `check` printed, by place."""
    lines = [line.removeprefix("✗ ") for line in text.splitlines() if line.startswith("✗ ")]
    return dict(line.split(": ", 1) for line in lines)


# before anything runs


def test_without_arguments_it_shows_what_there_is(site: Site) -> None:
    shown = site.command(config=False)

    assert shown.returncode == 2
    for word in ("init", "check", "serve", "send", "sign", "verify", "events", "runs", "handlers", "sources", "prune"):
        assert f" {word} " in shown.stdout + shown.stderr


def test_the_way_from_nothing_to_a_configuration_that_can_be_used(site: Site) -> None:
    missing = site.command("check")
    assert missing.returncode == 1
    assert "receiver.toml: does not exist; `tts-receiver init` writes one" in missing.stderr

    made = site.command("init", config=False)
    assert made.returncode == 0
    assert "tts-receiver check" in made.stdout, "it says what comes next"
    assert stat.S_IMODE(site.config.stat().st_mode) == 0o600

    fresh = site.command("check", config=False)
    assert fresh.returncode == 1
    assert list(problems(fresh.stderr)) == ["sources.aitts.signing_secrets"]
    assert "is missing" in fresh.stderr

    site.config.write_text("# mine\n" + site.config.read_text())
    again = site.command("init", config=False)
    assert again.returncode == 1
    assert "already exists; --force replaces it" in again.stderr
    assert site.config.read_text().startswith("# mine\n")
    assert site.command("init", "--force", config=False).returncode == 0
    assert not site.config.read_text().startswith("# mine\n")
    assert stat.S_IMODE(site.config.stat().st_mode) == 0o600

    text = site.config.read_text()
    site.config.write_text(text.replace("signing_secrets = []", f'signing_secrets = ["{SECRET}"]'))
    good = site.command("check", config=False)
    assert good.returncode == 0, good.stderr
    assert "The configuration can be used." in good.stdout
    assert "POST /webhooks/aitts" in good.stdout
    assert "no api_key" in good.stdout, "what is likely forgotten is said"


def test_check_says_every_problem_at_once(site: Site) -> None:
    (site.folder / "a-file").write_text("not a folder")
    site.plugin("broken", "import no_such_library\n")
    site.config.write_text(
        f"""
[server]
prot = 8080
private_host = "0.0.0.0"
[store]
url = "sqlite:///a-file/below/receiver.db"
[audio]
url = "a-file/audio"
[plugins]
directory = "plugins"
[handlers.save_audoi]
[handlers.mine]
use = "no_such_module:function"
[sourecs.x]
[sources.first]
provider = "aitts"
[sources.second]
provider = "aits"
signing_secrets = ["{SECRET}"]
"""
    )

    checked = site.command("check")

    assert checked.returncode == 1
    found = problems(checked.stderr)
    assert f"{len(found)} problems." in checked.stderr
    assert "did you mean 'port'?" in found["server.prot"]
    assert "did you mean 'sources'?" in found["sourecs"]
    assert "not a loopback address" in found["server.private_host"]
    assert "is missing" in found["sources.first.signing_secrets"]
    assert "did you mean 'aitts'?" in found["sources.second.provider"]
    assert "did you mean 'save_audio'?" in found["handlers.save_audoi"]
    assert "No module named 'no_such_module'" in found["handlers.mine"]
    assert f"{site.folder}/plugins/broken.py cannot be loaded" in found["plugins.directory"]
    assert "No module named 'no_such_library'" in found["plugins.directory"]
    assert f"{site.folder}/a-file is not a folder" in found["audio.url"]
    assert f"{site.folder}/a-file/below cannot be made" in found["store.url"]
    assert len(found) == 10


@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_is_not_toml_is_said_with_its_line(site: Site, command: str) -> None:
    site.config.write_text('[server]\nport = 1\n[sources.aitts\nprovider = "aitts"\n')

    refused = site.command(command)

    assert refused.returncode == 1
    assert f"{site.config}: is not TOML" in refused.stderr
    assert "line 3" in refused.stderr


def test_the_environment_and_the_secrets_folder_override_the_file(site: Site) -> None:
    site.configure(server="port = 70000\nprivate_port = 0", secret="in-the-file-and-wrong", api_key=None)
    secrets = site.folder / "secrets"
    secrets.mkdir()
    (secrets / "sources__aitts__signing_secrets").write_text(SECRET + "\n")
    (secrets / "sources__aitts__api_key").write_text(API_KEY + "\n")
    where = {"TTS_RECEIVER_SECRETS_DIR": str(secrets)}

    assert list(problems(site.command("check", **where).stderr)) == ["server.port"]
    good = site.command("check", TTS_RECEIVER_SERVER__PORT="0", **where)
    assert good.returncode == 0, good.stderr
    assert "no api_key" not in good.stdout

    server = site.start(TTS_RECEIVER_SERVER__PORT="0", **where)
    sent(server, "signed-with-the-secret-of-the-folder")

    wrong = site.command("check", TTS_RECEIVER_SERVER__PORT="0", TTS_RECEIVER_SERVR__PORT="1", **where)
    assert "did you mean 'TTS_RECEIVER_SERVER__'?" in problems(wrong.stderr)["TTS_RECEIVER_SERVR__PORT"]
    nowhere = site.command("check", TTS_RECEIVER_SERVER__PORT="0", TTS_RECEIVER_SECRETS_DIR="/no/such/folder")
    assert "TTS_RECEIVER_SECRETS_DIR: /no/such/folder is not a folder" in nowhere.stderr


def test_a_port_that_is_taken_is_one_clear_line(site: Site) -> None:
    site.configure()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        both = site.together(["serve", "--port", port], ["serve", "--private-port", port])
        for refused, key in zip(both, ("server.port", "server.private_port"), strict=True):
            assert refused.returncode == 1
            lines = [line for line in refused.stderr.splitlines() if not line.startswith("tts-receiver: ")]
            assert lines == [f"  {key}: cannot listen on 127.0.0.1 port {port}: Address already in use"]
    refused = site.command("serve", "--host", "192.0.2.1")
    assert "  server.host: cannot listen on 192.0.2.1 port 0: " in refused.stderr


def test_the_private_listener_refuses_an_address_that_others_reach(site: Site) -> None:
    site.configure(server='port = 0\nprivate_port = 0\nprivate_host = "0.0.0.0"')

    refused = site.command("serve")

    assert refused.returncode == 1
    assert "server.private_host: 0.0.0.0 is not a loopback address" in refused.stderr


def test_a_source_with_neither_a_secret_nor_a_key_does_not_start(site: Site) -> None:
    site.configure(api_key=None)
    site.config.write_text(site.config.read_text().replace(f'["{SECRET}"]', "[]"))

    refused = site.command("serve")

    assert refused.returncode == 1
    assert "sources.aitts.signing_secrets: is missing" in refused.stderr


def test_commands_about_events_say_when_there_is_no_store_yet(site: Site) -> None:
    site.configure()

    result = site.command("events", "list")

    assert result.returncode == 1
    assert f"There is no store at {site.store} yet" in result.stderr


def test_the_store_is_made_once_and_its_upgrade_can_be_repeated(site: Site) -> None:
    site.configure()

    first, second = site.command("db", "upgrade"), site.command("db", "upgrade")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == f"{site.store}: empty -> {HEAD}\n"
    assert second.stdout == f"{site.store}: already at {HEAD}\n"


def test_a_store_of_a_newer_release_is_left_alone(site: Site) -> None:
    site.configure()
    site.command("db", "upgrade")
    execute(site.store, "UPDATE alembic_version SET version_num = '9999'")
    execute(site.store, "UPDATE schema_compatibility SET compatible_from = '9999'")

    for refused in site.together(["serve"], ["events", "list"], ["check"], ["db", "upgrade"]):
        assert refused.returncode == 1, refused
        assert "9999" in refused.stderr, refused
        assert len(refused.stderr.splitlines()) <= 2, refused.stderr


# signatures by hand


def test_sign_makes_what_verify_and_the_receiver_accept(site: Site) -> None:
    site.configure()
    server = site.start()
    body = completed("signed-by-hand")
    signed = site.command("sign", "--source", SOURCE, stdin=body)
    assert signed.returncode == 0
    name, _, value = signed.stdout.strip().partition(": ")

    answer = deliver(server.public, body, {"Content-Type": "application/json", name: value})
    verified = site.command("verify", "--source", SOURCE, "-H", signed.stdout.strip(), stdin=body)

    assert answer is not None
    assert answer[0] == 202
    assert verified.returncode == 0
    assert "✓ The signature is valid: made with key-" in verified.stdout


def test_verify_says_why(site: Site) -> None:
    site.configure()
    now, body = int(time.time()), completed("verified")
    good = f"X-TTS-Signature: {signature(body, now)}"
    cases: list[tuple[str, bytes, int, list[str]]] = [
        (f"X-TTS-Signature: {signature(body, now, 'another')}", body, 1, ["(mismatch)", "another secret"]),
        (good, body + b"\n", 1, ["(mismatch)", "without its last line break"]),
        (good, b"", 1, ["(mismatch)", "over 0 bytes of body"]),
        ("X-TTS-Signature: garbage", body, 1, ["(malformed_header)"]),
        ("X-Something: else", body, 1, ["(missing_header)", "x-tts-signature"]),
        (
            f"X-TTS-Signature: {signature(body, now - 7200)}",
            body,
            3,
            ["✓ The signature is valid", "too old", "quarantine"],
        ),
        ("no colon", body, 2, ["is not 'Name: value'"]),
    ]

    def verify(case: tuple[str, bytes, int, list[str]]) -> subprocess.CompletedProcess[str]:
        return site.command("verify", "--source", SOURCE, "--header", case[0], stdin=case[1])

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(verify, cases))

    for answer, (header, _, code, said) in zip(answers, cases, strict=True):
        assert answer.returncode == code, header
        for words in said:
            assert words in answer.stdout + answer.stderr, header


def test_a_source_that_is_not_there_is_named_with_the_nearest(site: Site) -> None:
    site.configure()

    answered = site.command("send", "--source", "aits")

    assert answered.returncode == 1
    assert answered.stderr == "tts-receiver: There is no source 'aits'; did you mean 'aitts'?\n"


# with a running receiver


def test_a_day_with_the_receiver(site: Site, provider: Provider) -> None:
    job = provider.completed_job("The first one.")
    site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]\n[handlers.log]")
    nobody = site.command("send", "--source", SOURCE, "--url", "http://127.0.0.1:9/webhooks/aitts")
    assert nobody.returncode == 1
    assert "Is the receiver running there?" in nobody.stderr

    server = site.start()
    url = f"{server.public}/webhooks/{SOURCE}"
    end = ["send", "--source", SOURCE, "--event", "job.completed", "--job", job.id, "--url", url]
    first = site.command(*end)
    second = site.command(*end)
    failed = site.command("send", "--source", SOURCE, "--event", "job.failed", "--job", "a-bad-one", "--url", url)
    for said, word in ((first, "accepted"), (second, "duplicate"), (failed, "accepted")):
        assert said.returncode == 0, said.stderr
        assert said.stdout.startswith(f'202 {{"status":"{word}"')
    event = json.loads(first.stdout.removeprefix("202 "))["event"]
    site.wait_for_state(event, "save_audio", "succeeded")
    site.wait_for_state(event, "log", "succeeded")

    table, by_job, whole, people, run_list, handler_list, source_list = site.together(
        ["events", "list", "--source", SOURCE],
        ["events", "list", "--job", job.id, "--json"],
        ["events", "show", event, "--json"],
        ["events", "show", event[:24]],
        ["runs", "list", "--handler", "save_audio", "--json"],
        ["handlers", "list", "--json"],
        ["sources", "list"],
    )
    assert "Events: 2" in table.stderr
    assert job.id in table.stdout
    assert "job.failed" in table.stdout
    (listed,) = json.loads(by_job.stdout)["items"]
    assert (listed["id"], listed["state"]) == (event, "done")
    assert listed["duplicates"] == 1

    shown = json.loads(whole.stdout)
    assert shown["signature"] == "valid"
    assert json.loads(shown["body"])["data"]["job_id"] == job.id
    assert {run["handler"]: run["state"] for run in shown["runs"]} == {"log": "succeeded", "save_audio": "succeeded"}
    assert shown["artifacts"][0]["sha256"] == sha256_at_the_origin(job)
    assert shown["artifacts"][0]["address"] in people.stdout
    assert "valid" in people.stdout.split()

    runs = json.loads(run_list.stdout)["items"]
    assert [(run["event_id"], run["state"], run["attempts"]) for run in runs] == [(event, "succeeded", 1)]
    handlers = json.loads(handler_list.stdout)["items"]
    assert [handler["name"] for handler in handlers] == ["save_audio", "log"]
    assert "/webhooks/aitts" in source_list.stdout
    assert "last used 20" in source_list.stdout

    for name in ("cmdline", "comm"):
        line = Path(f"/proc/{server.pid}/{name}").read_bytes()
        assert SECRET.encode() not in line
        assert API_KEY.encode() not in line


def test_replay_counts_first_and_asks_and_runs_again(site: Site) -> None:
    site.plugin("picky", PICKY)
    (site.folder / "cured").touch()
    site.configure(PLUGINS, handlers="")
    server = site.start()
    events = [sent(server, f"job-{number}") for number in range(3)]
    for event in events:
        site.wait_for_state(event, "picky", "succeeded")

    refused, everything, unknown = site.together(
        ["events", "replay", "--type", "job.completed"],
        ["events", "replay"],
        ["events", "replay", events[0], "--handler", "pickey"],
    )
    assert refused.returncode == 2
    assert "Matching events: 3." in refused.stdout
    assert "pass --yes" in refused.stderr
    assert everything.returncode == 2
    assert "--since 365d" in everything.stderr
    assert unknown.returncode == 1
    assert "No handler 'pickey' is active; did you mean 'picky'?" in unknown.stderr
    assert [row["attempt"] for row in site.rows("SELECT attempt FROM runs")] == [1, 1, 1]

    by_id = site.command("events", "replay", events[0])
    assert by_id.returncode == 0, by_id.stderr
    assert f"{events[0]}: picky" in by_id.stdout
    until("the first ran again", lambda: site.run_of(events[0], "picky")["attempt"] == 2)
    by_filter = site.command("events", "replay", "--since", "1h", "--yes")
    assert by_filter.returncode == 0, by_filter.stderr
    assert "Matching events: 3." in by_filter.stdout
    until(
        "all ran again",
        lambda: (
            (site.folder / "calls").read_text().split().count("job-2") == 2
            and all(site.run_of(event, "picky")["state"] == "succeeded" for event in events)
        ),
    )
    assert [site.run_of(event, "picky")["attempt"] for event in events] == [3, 2, 2]
    assert len(site.rows("SELECT 1 FROM events")) == 3


def test_a_dead_letter_is_found_explained_and_replayed(site: Site) -> None:
    site.plugin("picky", PICKY)
    site.configure(PLUGINS, handlers="")
    server = site.start()
    event = sent(server, "untitled")
    site.wait_for_state(event, "picky", "dead")

    dead = site.command("runs", "list", "--state", "dead")
    assert "the episode has no title yet" in dead.stdout
    assert "untitled" in dead.stdout
    assert server.wait_for("run.dead")["error"] == "the episode has no title yet"

    (site.folder / "cured").touch()
    replayed = site.command("runs", "replay", "--state", "dead", "--yes")
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.splitlines()[0] == "Matching runs: 1."
    assert site.wait_for_state(event, "picky", "succeeded")["result"] == "published"
    assert site.command("runs", "list", "--state", "dead").stderr.startswith("Runs: 0")


def test_what_is_stale_is_kept_until_it_is_released(site: Site) -> None:
    site.configure(handlers="[handlers.log]")
    server = site.start()
    event = sent(server, "late", int(time.time()) - 3600)
    (row,) = json.loads(site.command("events", "list", "--state", "quarantined", "--json").stdout)["items"]
    assert row["id"] == event
    assert site.rows("SELECT * FROM runs") == []
    early = site.command("events", "replay", event)
    assert early.returncode == 1
    assert "events release" in early.stderr, "it says which command it is"

    released = site.command("events", "release", event)

    assert released.returncode == 0, released.stderr
    site.wait_for_state(event, "log", "succeeded")
    again = site.command("events", "release", event)
    assert again.returncode == 1
    assert "is not in quarantine" in again.stderr


def test_a_wrong_api_key_ends_as_a_sentence_that_names_it(site: Site, provider: Provider) -> None:
    job = provider.completed_job()
    site.configure(base_url=provider.sim.base_url, api_key="tts_of_somebody_else", handlers="[handlers.save_audio]")
    server = site.start()
    event = sent(server, job.id)
    run = site.wait_for_state(event, "save_audio", "dead")

    (listed,) = json.loads(site.command("runs", "list", "--state", "dead", "--json").stdout)["items"]

    assert "answers 401 UNAUTHORIZED: the API key is missing, wrong or revoked." in listed["error"]
    assert "api_key" in listed["error"]
    assert "answers 401 UNAUTHORIZED: the API key" in site.command("events", "show", event).stdout
    assert run["attempt"] == 1, "asking again with the same key would not help"
    assert "tts_of_somebody_else" not in site.everything_written()


def test_an_unreachable_provider_leaves_the_run_pending_and_says_so(site: Site) -> None:
    site.configure(base_url="http://127.0.0.1:9", handlers="[handlers.save_audio]")
    server = site.start()
    event = sent(server, "unreachable")
    server.wait_for("run.failed")
    run = site.wait_for_state(event, "save_audio", "pending")

    listed = site.command("runs", "list", "--state", "pending").stdout

    assert run["error"].startswith("Cannot connect to http://127.0.0.1:9/")
    assert "Cannot connect to" in listed
    assert run["due_at"] > run["started_at"]
    cancelled = site.command("runs", "cancel", event)
    assert cancelled.returncode == 0
    assert "Runs cancelled: 1." in cancelled.stdout
    assert site.run_of(event, "save_audio")["state"] == "cancelled"
    nothing = site.command("runs", "cancel", event)
    assert (nothing.returncode, nothing.stdout.splitlines()[0]) == (0, "Matching runs: 0.")


def test_prune_forgets_what_is_finished_and_old_and_nothing_else(site: Site) -> None:
    site.plugin("picky", PICKY)
    site.configure(PLUGINS, handlers="[handlers.log]")
    server = site.start()
    old, new, dead = sent(server, "old"), sent(server, "new"), sent(server, "dead")
    for event in (old, new, dead):
        site.wait_for_state(event, "picky", "dead")
        site.wait_for_state(event, "log", "succeeded")
    assert server.stop() == 0
    then = time.time() - 40 * 86_400
    aged = {event: f"evt_{int(then * 1000):012x}{event[16:]}" for event in (old, dead)}
    for event, id in aged.items():  # an id begins with its time
        execute(
            site.store, "UPDATE events SET id = :id, received_at = :at WHERE id = :event", id=id, at=then, event=event
        )
        for table in ("runs", "attempts"):
            execute(site.store, f"UPDATE {table} SET event_id = :id WHERE event_id = :event", id=id, event=event)
    execute(site.store, "UPDATE runs SET finished_at = :at WHERE event_id = :id", at=then, id=aged[old])

    result = site.command("prune")
    assert result.returncode == 2
    assert result.stdout == "Finished events older than 30 days: 1.\n"
    assert len(site.rows("SELECT 1 FROM events")) == 3
    done = site.command("prune", "--yes")
    assert done.returncode == 0
    assert "Events deleted: 1." in done.stdout
    assert {row["id"] for row in site.rows("SELECT id FROM events")} == {new, aged[dead]}
    assert site.rows("SELECT 1 FROM runs WHERE event_id = :id", id=aged[old]) == []
    assert site.command("prune", "--days", "1").returncode == 2
    assert "clock" not in result.stderr + done.stderr

    execute(site.store, "DELETE FROM events WHERE id = :id", id=new)
    execute(site.store, "UPDATE runs SET finished_at = :at", at=then)
    warned = site.command("prune")
    assert warned.returncode == 2
    assert "If the clock is wrong, this deletes events that are not old." in warned.stderr
    assert len(site.rows("SELECT 1 FROM events")) == 1


METRICS = {
    "tts_receiver_deliveries": "counter",
    "tts_receiver_intake_seconds": "histogram",
    "tts_receiver_events": "counter",
    "tts_receiver_runs": "counter",
    "tts_receiver_handler_seconds": "histogram",
    "tts_receiver_start_seconds": "histogram",
    "tts_receiver_handler_blocked": "counter",
    "tts_receiver_abandoned_threads": "gauge",
    "tts_receiver_runs_open": "gauge",
    "tts_receiver_oldest_due_seconds": "gauge",
    "tts_receiver_intake_waiting": "gauge",
    "tts_receiver_audio_bytes": "counter",
    "tts_receiver_audio_seconds": "histogram",
}


def test_the_private_side_has_the_metrics_and_the_public_side_has_not(site: Site, provider: Provider) -> None:
    job = provider.completed_job()
    site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]")
    server = site.start()
    site.wait_for_state(sent(server, job.id), "save_audio", "succeeded")
    sent(server, job.id)

    def metrics() -> dict[str, Any]:
        status, text = get(f"{server.private}/metrics")
        assert status == 200
        return {family.name: family for family in text_string_to_metric_families(text)}

    # A run is counted after its commit, and a label appears with the first count.
    families = until("the run to be counted", lambda: (now := metrics())["tts_receiver_runs"].samples and now)
    assert {name: families[name].type for name in METRICS} == METRICS

    def counted(name: str, **labels: str) -> float:
        (value,) = [
            sample.value
            for sample in families[name].samples
            if sample.name == f"{name}_total" and sample.labels == labels
        ]
        return value

    assert counted("tts_receiver_deliveries", source=SOURCE, outcome="accepted") == 1
    assert counted("tts_receiver_deliveries", source=SOURCE, outcome="duplicate") == 1
    assert counted("tts_receiver_events", source=SOURCE, type="job.completed", origin="webhook") == 1
    assert counted("tts_receiver_runs", handler="save_audio", outcome="succeeded") == 1
    assert counted("tts_receiver_audio_bytes", source=SOURCE) == job.audio.size
    for path in ("/metrics", "/", "/webhooks/nobody"):
        assert get(server.public + path) == (404, '{"error":"not_found"}'), path
    assert get(f"{server.public}/webhooks/{SOURCE}") == (405, '{"error":"method_not_allowed"}')
    assert get(f"{server.public}/readyz") == (200, '{"ready":true,"missing":{}}')
    assert get(f"{server.private}/livez") == (200, '{"alive":true}')


def test_a_store_that_is_locked_is_named_and_nothing_is_acknowledged_until_it_is_back(site: Site) -> None:
    site.configure()
    server = site.start()
    answers: list[Any] = []
    with WriteLock(site.store):
        sending = threading.Thread(target=lambda: answers.append(deliver(server.public, completed("refused"))))
        sending.start()
        until("it is not ready", lambda: get(f"{server.private}/readyz")[0] == 503)
        status, text = get(f"{server.private}/readyz")
        assert not answers, "it is known before a delivery has waited for the store in vain"
        sending.join()
        assert get(f"{server.private}/livez")[0] == 200

    assert status == 503
    assert "database is locked" in json.loads(text)["missing"]["store"]
    assert answers == [(503, {"error": "unavailable"})]
    until("it is ready again", lambda: get(f"{server.private}/readyz")[0] == 200)
    assert [row["job_id"] for row in site.rows("SELECT job_id FROM events")] == []
    site.wait_for_state(sent(server, "refused"), "log", "succeeded")


def test_a_store_that_is_taken_away_is_named_and_nothing_more_is_acknowledged(site: Site) -> None:
    """SQLite would go on writing into a file that the next start would not find."""
    site.configure()
    server = site.start()
    kept = sent(server, "before")
    site.wait_for_state(kept, "log", "succeeded")
    away = site.folder / "away"
    site.store.parent.rename(away)

    until("it is not ready", lambda: get(f"{server.private}/readyz")[0] == 503)
    named = json.loads(get(f"{server.private}/readyz")[1])["missing"]["store"]
    refused = deliver(server.public, completed("refused"))
    away.rename(site.store.parent)

    assert named == f"The store {site.store} was moved, removed or replaced. Put it back, or restart the receiver."
    assert refused == (503, {"error": "unavailable"})
    until("it is ready again", lambda: get(f"{server.private}/readyz")[0] == 200)
    sent(server, "refused")
    assert server.stop() == 0
    assert [row["job_id"] for row in site.rows("SELECT job_id FROM events ORDER BY id")] == ["before", "refused"]


def test_ctrl_c_while_it_starts_ends_it_without_a_traceback(site: Site) -> None:
    site.configure()
    server = site.launch()
    until("the store is being made", site.store.exists)

    assert server.stop(signal.SIGINT) == 0

    assert "Traceback" not in server.text()


@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "table"])
def test_output_that_nobody_reads_is_no_error_report(site: Site, form: list[str]) -> None:
    """`tts-receiver handlers list | true`."""
    site.configure()
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "receiver", "handlers", "list", *form, "--config", str(site.config)],
            stdout=out,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            timeout=PATIENCE,
            check=False,
        )

    assert done.stderr == b""
    assert done.returncode in (0, 1)
