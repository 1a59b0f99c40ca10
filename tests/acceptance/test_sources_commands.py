"""`sources` and `voices` in real processes: against the simulated providers, and against what goes wrong."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.store.schema import source_state
from tests.acceptance.support import (
    API_KEY,
    SECRET,
    SOURCE,
    Provider,
    Site,
)
from tests.acceptance.wrong_provider import ID_TOKEN, NOBODY, Stub, fresh, says
from tests.certificate import self_signed
from tests.stores import insert_rows

KEYS = {"audixa": "audixa_live_0123456789", "finevoice": "fine_live_0123456789", "miragic": "mira_live_0123456789"}


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
    return {one["name"]: one for one in json.loads(done.stdout)["items"]}


def test_every_provider_is_reached_with_its_key(site: Site, provider: Provider) -> None:
    four(site, provider)
    found = outcomes(site, code=0)
    assert {name: (one["requested"], one["key"]) for name, one in found.items()} == {
        "aitts": ("voices", "works"),
        "audixa": ("voices", "works"),
        "finevoice": ("a job", "works"),
        "miragic": ("a job", "works"),
    }
    assert all(0 < one["round_trip_seconds"] < 30 for one in found.values())
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
    assert {name: (one["requested"], one["key"], one["ok"]) for name, one in found.items()} == dict.fromkeys(
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
        assert "The key was not checked: a wrong key gets the same responses." in one["detail"]
    text = site.command("sources", "test", SOURCE)
    assert "? aitts: aitts at" in text.stdout
    assert "✓" not in text.stdout


def test_a_source_that_only_hears_webhooks_is_reached_without_a_key(site: Site, provider: Provider) -> None:
    fresh(site, provider.sim.base_url, f'signing_secrets = ["{SECRET}"]')
    one = outcomes(site, code=0)[SOURCE]
    assert (one["ok"], one["key"]) == (True, "none")
    assert "no api_key to test" in one["detail"]


def test_a_key_without_the_scope_for_voices_works_if_it_may_ask_for_jobs(
    site: Site, stub: Callable[[Callable[[Any], None]], Stub]
) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        known = handler.headers["Authorization"] == f"Bearer {API_KEY}"
        status, code = ((403, "FORBIDDEN") if "voices" in handler.path else (404, "NOT_FOUND")) if known else (401, "X")
        says(status, json.dumps({"success": False, "error": {"code": code, "message": "No."}}).encode())(handler)

    fresh(site, stub(answer).url, f'signing_secrets = ["{SECRET}"]\napi_key = "{API_KEY}"')
    one = outcomes(site, code=0)[SOURCE]
    assert (one["requested"], one["key"], one["detail"]) == (
        "a job",
        "works",
        "The key works. It has no permission to list voices.",
    )


def test_a_service_that_is_never_asked_anything_does_not_fail(site: Site) -> None:
    site.config.write_text(
        '[handlers.log]\n[sources.mine]\nprovider = "generic"\n'
        f'signing_secrets = ["{SECRET}"]\n'
        '[sources.mine.signature]\npreset = "github"\n'
        '[sources.mine.generic]\nevent = "type"\njob_id = "job"\ncompleted_words = ["done"]\n'
    )
    done = site.command("sources", "test")
    assert done.returncode == 0, done.stderr
    assert "✓ mine: generic\n" in done.stdout
    assert "There is nothing to test: this source only receives webhooks." in done.stdout
    [row] = json.loads(site.command("sources", "list", "--json").stdout)["items"]
    assert (row["polled"], row["base_url"], row["webhook_path"]) == (False, None, "/webhooks/mine")
    refused = site.command("webhook", "test", "--source", "mine", **{ID_TOKEN: "eyJhbGciOi.a.b"})
    assert refused.returncode == 1
    assert "has no API for webhook addresses" in refused.stderr


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
    messages = {name: f"{one['detail']} {one['advice']}" for name, one in found.items()}
    assert "a firewall may block it" in messages["nobody"]
    assert "cannot be resolved" in messages["nameless"]
    assert "set allow_private_addresses" in messages["private"]
    assert "Is base_url right?" in messages["hotel"]
    assert "a body that is not JSON" in messages["missing"]
    assert "the same response to a wrong key" in messages["another"]
    assert "SSL_CERT_FILE" in messages["selfmade"]
    assert not any(one["ok"] for one in found.values())


def untrusted(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder / "self-signed.pem", "127.0.0.1"))
    return context


def test_the_list_shows_how_each_source_is_heard_and_why_it_is_paused(site: Site, provider: Provider) -> None:
    four(site, provider)
    before = {row["name"]: row for row in json.loads(site.command("sources", "list", "--json").stdout)["items"]}
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
    long = {"source": "audixa", "pause_until": 4e9, "reason": "provider_unauthorized"}
    over = {"source": "miragic", "pause_until": 1e9, "reason": "provider_rate_limited"}
    insert_rows(site.store, source_state, long, over)
    after = {row["name"]: row for row in json.loads(site.command("sources", "list", "--json").stdout)["items"]}
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
    result, openai, filtered, refused, known, none, wrong = site.together(
        ["voices", "--source", "aitts"],
        ["voices", "--source", "aitts", "--provider", "openai"],
        ["voices", "--source", "aitts", "--gender", "female", "--language", "en-GB", "--json"],
        ["voices", "--source", "audixa", "--gender", "Male"],
        ["voices", "--source", "miragic", "--json"],
        ["voices", "--source", "finevoice"],
        ["voices", "--source", "miragic", "--language", "en-US"],
    )
    assert result.returncode == 0, result.stderr
    assert "de-DE-Neural2-B" in result.stdout
    assert all(word in result.stdout for word in ("provider", "google", "tier", "premium", "can", "ssml, multi"))
    assert "Voices of aitts: 1" in openai.stderr
    assert "alloy" in openai.stdout
    [voice] = json.loads(filtered.stdout)["items"]
    assert (voice["id"], voice["gender"], voice["model"]) == ("en-GB-Neural2-A", "female", "neural")
    assert voice["details"] == {"provider": "google"}
    assert refused.returncode == 1
    assert "not by language, gender or provider" in refused.stderr
    assert known.returncode == 0
    assert {"alloy", "amuch", "dan", "elan"} < {voice["id"] for voice in json.loads(known.stdout)["items"]}
    assert "these are documented" in known.stderr
    assert none.returncode == 1
    assert "finevoice has no list of voices" in none.stderr
    assert wrong.returncode == 1
    assert "miragic has no list of voices; known voices: alloy, " in wrong.stderr


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
