"""Settings about proxies: which are trusted, and the prefix under which they serve the receiver."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from receiver.settings import load
from tests.unit.settings.support import GOOD, Write, problems


def server(*lines: str) -> str:
    return "[server]\n" + "\n".join(lines) + "\n" + GOOD


def test_nobody_is_trusted_and_nothing_is_prefixed_if_nothing_is_said(write: Write) -> None:
    settings = load(write(GOOD)).server
    assert settings.trusted_proxies == ()
    assert settings.root_path == ""


def test_proxies_are_addresses_and_networks(write: Write) -> None:
    file = write(server('trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32"]'))
    wanted = ("127.0.0.1/32", "10.0.0.0/8", "::1/128", "2001:db8::/32")
    assert load(file).server.trusted_proxies == tuple(map(ip_network, wanted))


def test_proxies_in_the_environment_are_json(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SERVER__TRUSTED_PROXIES", '["192.0.2.0/24"]')
    assert load(write(GOOD)).server.trusted_proxies == (ip_network("192.0.2.0/24"),)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ('["10.0.0.1/8"]', "did you mean '10.0.0.0/8'?"),
        ('["2001:db8::1/32"]', "did you mean '2001:db8::/32'?"),
        ('["proxy.internal"]', "such as 127.0.0.1 or 10.0.0.0/8"),
        ('["127.0.0.1:80"]', "such as 127.0.0.1"),
        ('["fe80::1%eth0/64"]', "did you mean 'fe80::/64'?"),
        ('[""]', "such as 127.0.0.1"),
        ("[1]", "such as 127.0.0.1"),
        ("[true]", "such as 127.0.0.1"),
    ],
)
def test_what_is_no_network_is_named(write: Write, value: str, what: str) -> None:
    found = problems(write(server(f"trusted_proxies = {value}")))
    assert list(found) == ["server.trusted_proxies.0"]
    assert what in found["server.trusted_proxies.0"]


@pytest.mark.parametrize("value", ['"127.0.0.1"', "true"])
def test_one_proxy_is_a_list_of_one(write: Write, value: str) -> None:
    found = problems(write(server(f"trusted_proxies = {value}")))
    assert found == {"server.trusted_proxies": 'must be a list, such as ["…"]'}


@pytest.mark.parametrize("value", ["/tts", "/a/b-c_d.e~f", "/1"])
def test_a_prefix_is_a_path(write: Write, value: str) -> None:
    assert load(write(server(f'root_path = "{value}"'))).server.root_path == value


@pytest.mark.parametrize(
    "value",
    ["tts", "/", "/tts/", "//tts", "/a//b", "/t ts", "/t%20s", "/ä", "/tts?x", "/tts#x", "https://host/tts", "/a\\nb",
     "/" + "a" * 200, "/..", "/a/../b", "/./a"],
)  # fmt: skip
def test_another_text_is_no_prefix(write: Write, value: str) -> None:
    found = problems(write(server(f'root_path = "{value}"')))
    assert list(found) == ["server.root_path"]


@pytest.mark.parametrize("value", ["/v1", "/docs", "/livez", "/webhooks", "/webhooks/aitts", "/metrics"])
def test_a_prefix_that_the_receivers_own_paths_begin_with_is_refused(write: Write, value: str) -> None:
    found = problems(write(server(f'root_path = "{value}"')))
    assert list(found) == ["server.root_path"]
    assert "a request's path would be ambiguous" in found["server.root_path"]


def test_a_prefix_that_a_sources_path_begins_with_is_refused(write: Write) -> None:
    found = problems(write(server('root_path = "/tts"') + 'path = "/tts/hook"\n'))
    assert found == {
        "server.root_path": "/tts/hook of source aitts lies beneath it, so a request's path would be ambiguous"
    }
    assert load(write(server('root_path = "/tt"') + 'path = "/tts/hook"\n')).server.root_path == "/tt"


def test_every_problem_of_a_file_with_a_bad_prefix_is_found(write: Write, tmp_path: Path) -> None:
    found = problems(write(server('root_path = "/v1"', "port = 70000")))
    assert "server.port" in found
