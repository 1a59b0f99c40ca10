"""`sources`, `voices` and `webhook` in real processes: against the simulated providers, and against what goes wrong."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.support import (
    API_KEY,
    SECRET,
    SOURCE,
    Provider,
    Site,
    clean_environment,
    completed,
    deliver,
    signed_headers,
    until,
)
from tests.certificate import self_signed

FILE = f'signing_secrets_file = "{SOURCE}.secrets"'
KEYS = {"audixa": "audixa_live_0123456789", "finevoice": "fine_live_0123456789", "miragic": "mira_live_0123456789"}
ELSEWHERE = "https://tts.example.com/webhooks/aitts"
ID_TOKEN = "AITTS_ID_TOKEN"
NOBODY = "http://127.0.0.1:9"


def fresh(site: Site, base_url: str, more: str = FILE, *, private: bool = True) -> Path:
    """A configuration without any signing secret; where its file of secrets is to be."""
    allow = "true" if private else "false"
    site.config.write_text(
        "[server]\nport = 0\nprivate_port = 0\n[logs]\nformat = 'json'\n[handlers.log]\n"
        f'[sources.{SOURCE}]\nprovider = "aitts"\nbase_url = "{base_url}"\nallow_private_addresses = {allow}\n{more}\n'
    )
    return site.folder / f"{SOURCE}.secrets"


def webhook(*command: str, url: str | None = ELSEWHERE) -> list[str]:
    return ["webhook", *command, "--source", SOURCE, *(["--url", url] if url else [])]


def files(site: Site) -> set[str]:
    return {path.name for path in site.folder.iterdir() if path.is_file()}


class Stub:
    """A provider that answers every request as one function says. Not the simulator: these answers are wrong."""

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        self.asked = threading.Event()
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    stub.asked.set()
                    answer(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(10)
        self.server.server_close()


def says(status: int, body: bytes, content_type: str = "application/json") -> Callable[[Any], None]:
    """An answer that is always the same."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def stub() -> Iterator[Callable[[Callable[[Any], None]], Stub]]:
    """Makes providers that answer wrongly."""
    made: list[Stub] = []

    def make(answer: Callable[[Any], None]) -> Stub:
        made.append(Stub(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


# webhook


def test_an_address_that_the_receiver_does_not_listen_at_is_told_and_one_under_its_prefix_is_right(
    site: Site, provider: Provider
) -> None:
    fresh(site, provider.sim.base_url)
    token = {ID_TOKEN: provider.sim.id_token}
    prefix = {"TTS_RECEIVER_SERVER__ROOT_PATH": "/tts"}
    for path, environment, told in (
        ("/tts/webhooks/aitts", token, True),
        ("/tts/webhooks/aitts", token | prefix, False),
        ("/webhooks/aitts", token | prefix, False),
        ("/tts/webhook/aitts", token | prefix, True),
    ):
        done = site.command(*webhook("register", url=f"https://tts.example.com{path}"), **environment)
        assert done.returncode == 0
        assert (f"listens at /webhooks/aitts: have the proxy pass {path} on to that" in done.stdout) == told, path


def test_the_way_from_a_fresh_configuration_to_a_rotated_secret(site: Site, provider: Provider) -> None:
    file = fresh(site, provider.sim.base_url)
    token = {ID_TOKEN: provider.sim.id_token}
    missing = site.command("check")
    assert missing.returncode == 1
    assert f"{file} is not there; `tts-receiver webhook register` writes it" in missing.stderr

    done = site.command(*webhook("register"), **token)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The signing secret is in {file}" in done.stdout
    assert "tts-receiver webhook test" in done.stdout, "it says what comes next"
    assert file.read_text() == f"{SECRET}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert provider.sim.webhook_url == ELSEWHERE
    assert site.command("check").returncode == 0

    server = site.start()
    here = f"{server.public}/webhooks/{SOURCE}"
    moved = site.command(*webhook("register", url=here), **token)
    assert moved.returncode == 0
    assert "No secret was shown" in moved.stdout
    assert (file.read_text(), provider.sim.webhook_url) == (f"{SECRET}\n", here)
    tested = site.command(*webhook("test", "--json", url=None), **token)
    assert tested.returncode == 0, tested.stderr
    assert json.loads(tested.stdout) == {"source": SOURCE, "test_id": provider.sim.deliveries[-1].delivery_id}
    assert provider.sim.deliveries[-1].status == 202
    assert [row["type"] for row in site.rows("SELECT type FROM events")] == ["test"]

    rotated = site.command(*webhook("rotate", "--json", url=here), **token)
    assert rotated.returncode == 0, rotated.stderr
    found = json.loads(rotated.stdout)
    assert (found["new_secret"], found["signing_secrets_file"]) == (True, str(file))
    assert provider.sim.signing_secret != SECRET
    assert file.read_text() == f"{provider.sim.signing_secret}\n{SECRET}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    early = site.command(*webhook("test", url=None), **token)
    assert early.returncode == 1
    assert "it answered 401" in early.stderr, "the provider's own words"
    assert "was it started again after the last rotation?" in early.stderr
    assert server.stop() == 0

    server = site.start()
    provider.sim.webhook_url = f"{server.public}/webhooks/{SOURCE}"
    late = site.command(*webhook("test", url=None), **token)
    assert late.returncode == 0, late.stderr
    body = completed("signed-before-the-rotation")
    assert deliver(server.public, body, signed_headers(body))[0] == 202  # type: ignore[index]
    listed = json.loads(site.command("sources", "list", "--json").stdout)
    assert [key["id"] for key in listed[0]["signing_secrets"]] == found["signing_secrets"]
    assert all(key["last_used_at"] for key in listed[0]["signing_secrets"]), "both hold"
    assert provider.sim.signing_secret not in site.everything_written()
    assert provider.sim.id_token not in site.everything_written()
    assert files(site) == {"receiver.toml", file.name, "serve-0.log", "serve-1.log"}


def test_nothing_is_asked_while_something_is_missing(site: Site, provider: Provider) -> None:
    token = {ID_TOKEN: provider.sim.id_token}
    fresh(site, provider.sim.base_url, "")
    nowhere = site.command(*webhook("register"), **token)
    fresh(site, provider.sim.base_url, f'signing_secrets = ["{SECRET}"]')
    inline = site.command(*webhook("rotate"), **token)
    for refused in (nowhere, inline):
        assert refused.returncode == 1
        assert f'signing_secrets_file = "{SOURCE}.secrets"' in refused.stderr, "the line to add"
        assert str(site.config) in refused.stderr

    fresh(site, provider.sim.base_url, 'signing_secrets_file = "no-such-folder/aitts.secrets"')
    folder = site.command(*webhook("register"), **token)
    assert folder.returncode == 1
    assert "no-such-folder/aitts.secrets cannot be written" in folder.stderr

    fresh(site, provider.sim.base_url)
    (site.folder / "empty").write_text("\n")
    (site.folder / "words").write_text("two words")
    none, gone, empty, words, plain = site.together(
        webhook("register"),
        webhook("register", "--id-token-file", "no-such-file"),
        webhook("register", "--id-token-file", "empty"),
        webhook("register", "--id-token-file", "words"),
        webhook("register", "--id-token-file", "words", url="http://tts.example.com/webhooks/aitts"),
    )
    assert {done.returncode for done in (none, gone, empty, words, plain)} == {1}
    assert "--id-token-file FILE" in none.stderr
    assert "no-such-file cannot be read: No such file or directory" in gone.stderr
    assert "empty holds is not an ID token" in empty.stderr
    assert "words holds is not an ID token" in words.stderr

    fresh(site, provider.sim.base_url.replace("http:", "https:"), private=False)
    private = site.command(*webhook("register", url="https://receiver.internal/webhooks/aitts"), **token)
    assert private.returncode == 1
    assert "receiver.internal cannot be reached from the internet" in private.stderr
    assert provider.sim.requests["aitts.register"] == 0
    assert f"{SOURCE}.secrets" not in files(site)


def test_a_token_that_does_not_hold_changes_nothing(site: Site, provider: Provider) -> None:
    file = fresh(site, provider.sim.base_url)
    refused = site.command(*webhook("register", "--id-token-file", "-"), stdin=b"eyJhbGciOi.expired.token-of-mine\n")
    assert refused.returncode == 1
    assert "answers 401: the ID token is wrong, has expired" in refused.stderr
    assert "token-of-mine" not in refused.stderr
    assert provider.sim.webhook_url is None
    assert files(site) == {"receiver.toml"}

    (site.folder / "token").write_text(f"{provider.sim.id_token}\n")
    done = site.command(*webhook("register", "--id-token-file", "token"))
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"{SECRET}\n"


def test_a_secret_that_was_shown_before_is_said_to_be_gone_and_a_rotation_makes_another(
    site: Site, provider: Provider
) -> None:
    file = fresh(site, provider.sim.base_url)
    provider.sim.account.secret_shown = True
    token = {ID_TOKEN: provider.sim.id_token}
    none = site.command(*webhook("register"), **token)
    assert none.returncode == 1
    assert "shows no signing secret" in none.stderr
    assert "tts-receiver webhook rotate" in none.stderr
    assert files(site) == {"receiver.toml"}
    assert site.command(*webhook("rotate"), **token).returncode == 0
    assert file.read_text() == f"{provider.sim.signing_secret}\n"


def test_without_a_network_the_sentence_says_so_and_the_file_stays(site: Site) -> None:
    file = fresh(site, NOBODY)
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    register, test = site.together(
        webhook("rotate"), webhook("test", url=None), **{ID_TOKEN: "eyJhbGciOi.a-good-one.for-all-we-know"}
    )
    for done in (register, test):
        assert done.returncode == 1
        assert "Cannot connect to http://127.0.0.1:9/" in done.stderr
        assert "is a firewall in between" in done.stderr
        assert "is not known" not in done.stderr, "the provider never heard of it"
    assert file.read_text() == f"{SECRET}\n"


def test_what_became_of_a_change_without_an_answer_is_not_known_and_said(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    file = fresh(site, stub(lambda handler: None).url)
    done = site.command(*webhook("register"), **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert done.returncode == 1
    assert "Whether the provider took it is not known" in done.stderr
    assert not file.exists()


def test_an_answer_that_cannot_be_read_is_kept_whole(site: Site, stub: Callable[[Callable[[Any], None]], Stub]) -> None:
    body = json.dumps({"success": True, "data": {"url": ELSEWHERE, "hmacKey": SECRET}}).encode()
    file = fresh(site, stub(says(200, body)).url)
    done = site.command(*webhook("rotate"), **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert done.returncode == 1
    assert "no signing secret can be found in its answer" in done.stderr
    assert not file.exists()
    [kept] = site.folder.glob("webhook-answer-*")
    assert str(kept) in done.stderr
    assert kept.read_bytes() == body
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_secret_that_cannot_be_written_after_all_is_in_a_second_place(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    folder = site.folder / "secrets"
    folder.mkdir()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        says(200, json.dumps({"success": True, "data": {"url": ELSEWHERE, "secret": SECRET}}).encode())(handler)

    fresh(site, stub(answer).url, 'signing_secrets_file = "secrets/aitts"')
    done = site.command(*webhook("register"), **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert done.returncode == 1
    [kept] = site.folder.glob("signing-secret-*")
    assert str(kept) in done.stderr
    assert kept.read_text() == f"{SECRET}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_ctrl_c_ends_it_quietly_and_leaves_the_file_alone(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    let_go = threading.Event()
    silent = stub(lambda handler: let_go.wait(60))
    file = fresh(site, silent.url)
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", *webhook("rotate"), "--config", str(site.config)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=site.folder,
        env=clean_environment(**{ID_TOKEN: "eyJhbGciOi.a.b"}),
    )  # fmt: skip
    until("it has asked", silent.asked.is_set)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    let_go.set()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().startswith("Broken off. Whether the provider took it is not known")
    assert b"Traceback" not in err
    assert file.read_text() == f"{SECRET}\n"
    assert files(site) == {"receiver.toml", file.name}


# sources


def four(site: Site, provider: Provider, **keys: str) -> None:
    """All four providers as sources, each with its key or the one given."""
    wanted = {SOURCE: API_KEY} | dict(provider.sim.api_keys) | keys
    file = fresh(site, provider.sim.base_urls[SOURCE], f'api_key = "{wanted[SOURCE]}"\nsigning_secrets = ["{SECRET}"]')
    assert not file.exists()
    with site.config.open("a") as out:
        for name in KEYS:
            out.write(
                f'[sources.{name}]\nprovider = "{name}"\nbase_url = "{provider.sim.base_urls[name]}"\n'
                f'allow_private_addresses = true\napi_key = "{wanted[name]}"\n'
            )


def outcomes(site: Site, *names: str, code: int) -> dict[str, dict[str, Any]]:
    """What `sources test` found, by source."""
    done = site.command("sources", "test", "--json", *names)
    assert done.returncode == code, done.stdout + done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_every_provider_is_reached_with_its_key(site: Site, provider: Provider) -> None:
    four(site, provider)
    found = outcomes(site, code=0)
    assert {name: (one["asked"], one["key"]) for name, one in found.items()} == {
        "aitts": ("voices", "works"),
        "audixa": ("voices", "works"),
        "finevoice": ("a job", "works"),
        "miragic": ("a job", "works"),
    }
    assert all(0 < one["round_trip_ms"] < 30_000 for one in found.values())
    limit = found["aitts"]["rate_limit"]
    assert (limit["limit"], limit["remaining"], limit["bucket"]) == (1_000_000, 999_999, "account")
    assert limit["reset_at"].endswith("Z")
    assert found["miragic"]["rate_limit"] is None

    text = site.command("sources", "test", "aitts", "miragic")
    assert text.returncode == 0
    assert "rate limit: 999998 of 1000000 left until 20" in text.stdout
    assert "audixa" not in text.stdout
    unknown = site.command("sources", "test", "adixa")
    assert unknown.returncode == 1
    assert "There is no source 'adixa'; did you mean 'audixa'?" in unknown.stderr


def test_a_key_that_is_refused_fails_and_is_not_shown(site: Site, provider: Provider) -> None:
    wrong = {name: f"{name}_no_longer_valid_1234" for name in (SOURCE, *KEYS)}
    four(site, provider, **wrong)
    found = outcomes(site, code=1)
    for name, one in found.items():
        assert (one["ok"], one["key"], one["reason"]) == (False, "refused", "provider_unauthorized"), name
        assert "api_key" in one["detail"] + one["advice"]
    assert not any(key in site.everything_written() for key in wrong.values())


@pytest.mark.parametrize("key", ["works", "refused"])
def test_a_list_of_voices_that_anybody_gets_does_not_make_a_key_right(site: Site, provider: Provider, key: str) -> None:
    provider.sim.settings = replace(provider.sim.settings, public_endpoints=("voices",))
    wrong = {name: f"{name}_no_longer_valid_1234" for name in (SOURCE, *KEYS)} if key == "refused" else {}
    four(site, provider, **wrong)
    found = outcomes(site, SOURCE, "audixa", code=0 if key == "works" else 1)
    assert {name: (one["asked"], one["key"], one["ok"]) for name, one in found.items()} == dict.fromkeys(
        (SOURCE, "audixa"), ("a job", key, key == "works")
    )


def test_a_key_that_the_provider_never_checks_is_reached_and_not_called_right(site: Site, provider: Provider) -> None:
    provider.sim.settings = replace(
        provider.sim.settings, public_endpoints=("voices", "status"), audixa_poll_seconds=0.1
    )
    four(site, provider, **{SOURCE: "tts_no_longer_valid_1234"})
    found = outcomes(site, SOURCE, "audixa", code=0)
    for one in found.values():
        assert (one["key"], one["reason"]) == ("unknown", None)
        assert "The key was not checked: a wrong one gets the same answers." in one["detail"]
    text = site.command("sources", "test", SOURCE)
    assert "? aitts: aitts at" in text.stdout
    assert "✓" not in text.stdout


def test_a_source_that_only_hears_webhooks_is_reached_without_a_key(site: Site, provider: Provider) -> None:
    fresh(site, provider.sim.base_url, f'signing_secrets = ["{SECRET}"]')
    one = outcomes(site, code=0)[SOURCE]
    assert (one["ok"], one["key"]) == (True, "none")
    assert "no api_key to try" in one["detail"]


def test_a_key_without_the_scope_for_voices_works_if_it_may_ask_for_jobs(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        known = handler.headers["Authorization"] == f"Bearer {API_KEY}"
        status, code = ((403, "FORBIDDEN") if "voices" in handler.path else (404, "NOT_FOUND")) if known else (401, "X")
        says(status, json.dumps({"success": False, "error": {"code": code, "message": "No."}}).encode())(handler)

    fresh(site, stub(answer).url, f'signing_secrets = ["{SECRET}"]\napi_key = "{API_KEY}"')
    one = outcomes(site, code=0)[SOURCE]
    assert (one["asked"], one["key"], one["detail"]) == ("a job", "works", "The key works. It may not list voices.")


def test_a_service_that_is_never_asked_anything_does_not_fail(site: Site) -> None:
    site.config.write_text(
        '[handlers.log]\n[sources.mine]\nprovider = "generic"\n'
        f'signing_secrets = ["{SECRET}"]\n'
        '[sources.mine.generic]\nscheme = "github-like"\nevent = "type"\njob_id = "job"\ncompleted_words = ["done"]\n'
    )
    done = site.command("sources", "test")
    assert done.returncode == 0, done.stderr
    assert "✓ mine: generic\n" in done.stdout
    assert "There is nothing to ask: this source only receives webhooks." in done.stdout
    [row] = json.loads(site.command("sources", "list", "--json").stdout)
    assert (row["polled"], row["base_url"], row["webhook_path"]) == (False, None, "/webhooks/mine")
    refused = site.command("webhook", "test", "--source", "mine", **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert refused.returncode == 1
    assert "takes no webhook address from us" in refused.stderr


def test_what_stands_between_us_and_a_provider_is_named(
    site: Site, tmp_path: Path, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    page = stub(says(200, b"<html>Sign in to the hotel's network</html>", "text/html"))
    missing = stub(says(404, b"<html>Not here</html>", "text/html"))
    another = stub(says(404, b'{"detail":"Not Found"}'))
    tls = stub(says(200, b"{}"))
    tls.server.socket = untrusted(tmp_path).wrap_socket(tls.server.socket, server_side=True)
    urls = {
        "nobody": NOBODY,
        "nameless": f"https://{'a' * 64}.example",
        "private": "https://10.0.0.1",
        "hotel": page.url,
        "missing": missing.url,
        "another": another.url,
        "selfmade": tls.url.replace("http:", "https:"),
    }
    fresh(site, NOBODY, f'signing_secrets = ["{SECRET}"]\napi_key = "{API_KEY}"')
    with site.config.open("a") as out:
        for name, url in urls.items():
            allow = "false" if name == "private" else "true"
            out.write(
                f'[sources.{name}]\nprovider = "miragic"\nbase_url = "{url}"\napi_key = "{API_KEY}"\n'
                f"allow_private_addresses = {allow}\n"
            )
    found = outcomes(site, *urls, code=1)
    assert {name: (one["reason"], one["key"]) for name, one in found.items()} == {
        "nobody": ("connect_failed", "unknown"),
        "nameless": ("dns_failed", "unknown"),
        "private": ("blocked_address", "unknown"),
        "hotel": ("provider_unreadable", "unknown"),
        "missing": ("provider_unreadable", "unknown"),
        "another": ("provider_unreadable", "unknown"),
        "selfmade": ("connect_failed", "unknown"),
    }
    told = {name: f"{one['detail']} {one['advice']}" for name, one in found.items()}
    assert "is a firewall in between" in told["nobody"]
    assert "cannot be resolved" in told["nameless"]
    assert "set allow_private_addresses" in told["private"]
    assert "Is base_url right?" in told["hotel"]
    assert "what is not JSON" in told["missing"]
    assert "with the key and with a wrong one" in told["another"]
    assert "SSL_CERT_FILE" in told["selfmade"]
    assert not any(one["ok"] for one in found.values())


def untrusted(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder / "self-signed.pem", "127.0.0.1"))
    return context


def test_the_list_shows_how_each_source_is_heard_and_why_it_is_paused(site: Site, provider: Provider) -> None:
    four(site, provider)
    before = {row["name"]: row for row in json.loads(site.command("sources", "list", "--json").stdout)}
    assert {name: (row["webhook_path"], row["polled"]) for name, row in before.items()} == {
        "aitts": ("/webhooks/aitts", True),
        "audixa": (None, True),
        "finevoice": (None, True),
        "miragic": (None, True),
    }
    assert {row["pause"] for row in before.values()} == {None}, "there is no store yet"
    assert before["aitts"]["capabilities"]["idempotent_submit"]
    assert not before["miragic"]["capabilities"]["voices"]

    assert site.command("db", "upgrade").returncode == 0
    with closing(sqlite3.connect(site.store)) as store, store:
        pauses = [("audixa", 4e9, "provider_unauthorized"), ("miragic", 1e9, "provider_rate_limited")]
        store.executemany("INSERT INTO source_state (source, pause_until, reason) VALUES (?, ?, ?)", pauses)
    after = {row["name"]: row for row in json.loads(site.command("sources", "list", "--json").stdout)}
    assert after["audixa"]["pause"] == {
        "until": "2096-10-02T07:06:40Z", "reason": "provider_unauthorized", "polls_only": False,
    }  # fmt: skip
    assert after["miragic"]["pause"] is None, "it is over"
    table = site.command("sources", "list")
    assert "until 2096-10-02T07:06:40Z (provider_unauthorized)" in table.stdout
    assert "webhooks, safe submit, voices" in table.stdout


# voices


def test_voices_are_asked_for_or_known_or_said_not_to_be(site: Site, provider: Provider) -> None:
    four(site, provider)
    asked, openai, filtered, refused, known, none, wrong = site.together(
        ["voices", "--source", "aitts"],
        ["voices", "--source", "aitts", "--provider", "openai"],
        ["voices", "--source", "aitts", "--gender", "female", "--language", "en-GB", "--json"],
        ["voices", "--source", "audixa", "--gender", "Male"],
        ["voices", "--source", "miragic", "--json"],
        ["voices", "--source", "finevoice"],
        ["voices", "--source", "miragic", "--language", "en-US"],
    )
    assert asked.returncode == 0, asked.stderr
    assert "de-DE-Neural2-B" in asked.stdout
    assert all(word in asked.stdout for word in ("provider", "google", "tier", "premium", "can", "ssml, multi"))
    assert "Voices of aitts: 1" in openai.stdout
    assert "alloy" in openai.stdout
    [voice] = json.loads(filtered.stdout)
    assert (voice["id"], voice["gender"], voice["model"]) == ("en-GB-Neural2-A", "female", "neural")
    assert voice["details"] == {"provider": "google"}
    assert refused.returncode == 1
    assert "not by language, gender or provider" in refused.stderr
    assert known.returncode == 0
    assert {"alloy", "amuch", "dan", "elan"} < {voice["id"] for voice in json.loads(known.stdout)}
    assert "these are documented" in known.stderr
    assert none.returncode == 1
    assert "finevoice has no list of voices" in none.stderr
    assert wrong.returncode == 1
    assert "omit --language, --gender, --model and --provider" in wrong.stderr


def test_voices_of_a_provider_that_refuses_or_cannot_be_reached(site: Site, provider: Provider) -> None:
    four(site, provider, audixa="audixa_no_longer_valid_1234")
    refused = site.command("voices", "--source", "audixa")
    assert refused.returncode == 1
    assert "Source audixa: audixa answers 401" in refused.stderr
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    fresh(site, f"http://127.0.0.1:{port}", f'signing_secrets = ["{SECRET}"]\napi_key = "{API_KEY}"')
    unreachable = site.command("voices", "--source", SOURCE)
    assert unreachable.returncode == 1
    assert "Cannot connect" in unreachable.stderr
    fresh(site, NOBODY, f'signing_secrets = ["{SECRET}"]')
    keyless = site.command("voices", "--source", SOURCE)
    assert keyless.returncode == 1
    assert "has no api_key" in keyless.stderr
