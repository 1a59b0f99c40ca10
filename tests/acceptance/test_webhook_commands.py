"""`webhook` in real processes: against the simulated provider, and against what goes wrong."""

from __future__ import annotations

import http.server
import json
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from tests.acceptance.support import (
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
from tests.acceptance.wrong_provider import ID_TOKEN, NOBODY, Stub, fresh, says
from tests.patience import PATIENCE

ELSEWHERE = "https://tts.example.com/webhooks/aitts"


def webhook(*command: str, url: str | None = ELSEWHERE) -> list[str]:
    return ["webhook", *command, "--source", SOURCE, *(["--url", url] if url else [])]


def files(site: Site) -> set[str]:
    return {path.name for path in site.folder.iterdir() if path.is_file()}


def test_an_address_that_the_receiver_does_not_listen_at_is_told_and_one_under_its_prefix_is_right(
    site: Site, provider: Provider
) -> None:
    fresh(site, provider.sim.base_url)
    token = {ID_TOKEN: provider.sim.id_token}
    prefix = {"TTS_RECEIVER_SERVER__ROOT_PATH": "/tts"}
    for path, environment, variables in (
        ("/tts/webhooks/aitts", token, True),
        ("/tts/webhooks/aitts", token | prefix, False),
        ("/webhooks/aitts", token | prefix, False),
        ("/tts/webhook/aitts", token | prefix, True),
    ):
        done = site.command(*webhook("register", url=f"https://tts.example.com{path}"), **environment)
        assert done.returncode == 0
        assert (
            f"listens at /webhooks/aitts: configure the proxy to forward {path} to it" in done.stdout
        ) == variables, path


def test_the_way_from_a_fresh_configuration_to_a_rotated_secret(site: Site, provider: Provider) -> None:
    file = fresh(site, provider.sim.base_url)
    token = {ID_TOKEN: provider.sim.id_token}
    missing = site.command("check")
    assert missing.returncode == 1
    assert f"{file} does not exist; `tts-receiver webhook register` writes it" in missing.stderr

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
    assert "The provider showed no secret" in moved.stdout
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
    assert "was restarted after the last rotation" in early.stderr
    assert server.stop() == 0

    server = site.start()
    provider.sim.webhook_url = f"{server.public}/webhooks/{SOURCE}"
    late = site.command(*webhook("test", url=None), **token)
    assert late.returncode == 0, late.stderr
    body = completed("signed-before-the-rotation")
    assert deliver(server.public, body, signed_headers(body))[0] == 202  # type: ignore[index]
    listed = json.loads(site.command("sources", "list", "--json").stdout)["items"]
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
    assert "empty has no ID token" in empty.stderr
    assert "words has no ID token" in words.stderr

    fresh(site, provider.sim.base_url.replace("http:", "https:"), private=False)
    private = site.command(*webhook("register", url="https://receiver.internal/webhooks/aitts"), **token)
    assert private.returncode == 1
    assert "receiver.internal is not reachable from the internet" in private.stderr
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
        assert "a firewall may block it" in done.stderr
        assert "is not known" not in done.stderr, "the provider never heard of it"
    assert file.read_text() == f"{SECRET}\n"


def test_what_became_of_a_change_without_an_answer_is_not_known_and_said(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    file = fresh(site, stub(lambda handler: None).url)
    done = site.command(*webhook("register"), **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert done.returncode == 1
    assert "It is unknown whether the provider accepted the request" in done.stderr
    assert not file.exists()


def test_an_answer_that_cannot_be_read_is_kept_whole(site: Site, stub: Callable[[Callable[[Any], None]], Stub]) -> None:
    body = json.dumps({"success": True, "data": {"url": ELSEWHERE, "hmacKey": SECRET}}).encode()
    file = fresh(site, stub(says(200, body)).url)
    done = site.command(*webhook("rotate"), **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert done.returncode == 1
    assert "its response has no signing secret" in done.stderr
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
    silent = stub(lambda handler: let_go.wait(PATIENCE))
    file = fresh(site, silent.url)
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", *webhook("rotate"), "--config", str(site.config)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=site.folder,
        env=clean_environment(**{ID_TOKEN: "eyJhbGciOi.a.b"}),
    )  # fmt: skip
    until("it has asked", silent.requested.is_set)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    let_go.set()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().startswith("Interrupted. It is unknown whether the provider accepted the request")
    assert b"Traceback" not in err
    assert file.read_text() == f"{SECRET}\n"
    assert files(site) == {"receiver.toml", file.name}
