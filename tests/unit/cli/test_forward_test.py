"""Which handler `forward-test` takes the place of, and what it says about its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.cli.forward_test.application import signing_keys
from receiver.cli.forward_test.target import ForwardTestError, Target, find_target, introduction
from receiver.errors import ConfigError, ReceiverError
from receiver.settings import load

OLD = "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE="
NEW = "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="
SOURCE = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'


def table(name: str = "forward", url: str = "http://127.0.0.1:9100/speech", more: str = "") -> str:
    use = "" if name == "forward" else 'use = "forward"\n'
    return f'[handlers.{name}]\n{use}url = "{url}"\nsecrets = ["{NEW}", "{OLD}"]\n{more}\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "receiver.toml"


def target(config: Path, tables: str, name: str | None = None) -> Target:
    config.write_text(SOURCE + tables)
    return find_target(load(config), name)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("forward-test --handler lgo", "There is no handler 'lgo'; did you mean 'log'?"),
        ("forward-test --handler log", "The handler log does not use forward (none does; without --handler"),
    ],
)
def test_a_handler_that_does_not_forward_is_refused(store: Path, line: str, said: str) -> None:
    answered = CliRunner().invoke(build(), line.split())
    assert isinstance(answered.exception, ReceiverError)
    assert said in str(answered.exception)


def test_the_only_handler_that_forwards_is_taken_with_its_secrets_scheme_and_port(config: Path) -> None:
    found = target(config, "[handlers.log]\n" + table("shop", more="allow_private_addresses = true"))
    assert (found.handler, found.secrets, found.scheme.name) == ("shop", (NEW, OLD), "standard-webhooks")
    assert (found.host, found.port, found.is_new) == ("127.0.0.1", 9100, False)
    assert introduction(found, "http://127.0.0.1:9100", config) == [
        f"Listening on http://127.0.0.1:9100 for [handlers.shop] of {config}."
    ]
    assert target(config, table(more='scheme = "tts"')).scheme.name == "tts"


def test_of_several_handlers_one_must_be_named(config: Path) -> None:
    tables = table() + table("shop", "http://127.0.0.1:9200/")
    with pytest.raises(ForwardTestError, match="name one with --handler, of forward, shop"):
        target(config, tables)
    assert target(config, tables, "shop").port == 9200
    with pytest.raises(
        ForwardTestError, match=r"The handler log does not use forward \(those that do: forward, shop\)"
    ):
        target(config, "[handlers.log]\n" + tables, "log")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://localhost:9100", "127.0.0.1", 9100),
        ("http://[::1]:9100/a", "::1", 9100),
        ("http://127.0.0.2/a", "127.0.0.2", 80),
        ("https://localhost:9100/a", "127.0.0.1", 9000),
        ("https://app.example/a", "127.0.0.1", 9000),
    ],
)
def test_it_listens_where_the_url_leads_to_if_that_is_this_machine(
    config: Path, url: str, host: str, port: int
) -> None:
    found = target(config, table(url=url))
    assert (found.host, found.port) == (host, port)


def test_what_keeps_the_receiver_from_forwarding_here_is_said(config: Path) -> None:
    elsewhere = target(config, table(url="https://app.example:8443/speech?token=hidden"))
    address, leave = introduction(elsewhere, "http://127.0.0.1:9000", config)[1:]
    assert address == (
        "Its url is at https://app.example:8443: to forward to here, "
        'set url = "http://127.0.0.1:9000/speech" in [handlers.forward].'
    )
    assert leave == "To forward to this machine, [handlers.forward] needs allow_private_addresses = true."
    here = target(config, table(more="allow_private_addresses = true"))
    assert len(introduction(here, "http://127.0.0.1:9100", config)) == 1
    assert 'url = "http://127.0.0.1:9999/speech"' in introduction(here, "http://127.0.0.1:9999", config)[1]


def test_a_plugin_of_the_same_name_is_no_target(config: Path) -> None:
    plugins = config.parent / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(
        "from receiver import Event, handler\n\n\n@handler(on=Event)\ndef forward(event, ctx):\n    return None\n"
    )
    found = target(config, '[plugins]\ndirectory = "plugins"\n')
    assert (found.is_new, found.handler) == (True, "forward_test")
    printed = introduction(found, "http://127.0.0.1:9000", config)
    again = target(config, '[plugins]\ndirectory = "plugins"\n' + "\n".join(printed[2:7]) + "\n")
    assert (again.handler, again.is_new, again.secrets) == ("forward_test", False, found.secrets)


def test_the_table_that_is_printed_can_be_used_as_it_is(config: Path) -> None:
    new = target(config, "")
    printed = introduction(new, "http://127.0.0.1:9000", config)
    found = target(config, "\n".join(printed[2:6]) + "\n")
    assert (found.handler, found.secrets, found.private, found.is_new) == ("forward", new.secrets, True, False)
    assert (found.host, found.port) == ("127.0.0.1", 9000)
    assert len(signing_keys(found.scheme, found.secrets)) == 1


def test_a_handler_that_is_configured_wrongly_is_an_error_of_the_configuration(config: Path) -> None:
    with pytest.raises(ConfigError, match="secrets"):
        target(config, '[handlers.forward]\nurl = "http://127.0.0.1:9000/"\n')


def test_a_test_event_is_suggested_only_as_a_source_that_can_sign_it(config: Path) -> None:
    polled = '[sources.polled]\nprovider = "aitts"\napi_key = "tts_simulated_7"\n'
    expired = (
        '[sources.old]\nprovider = "aitts"\n[[sources.old.signing_secrets]]\nsecret = "a-long-secret-0123"\n'
        'not_after = "2020-01-01T00:00:00Z"\n'
    )

    def hints(sources: str) -> list[str]:
        config.write_text(sources)
        lines = introduction(find_target(load(config), None), "http://127.0.0.1:9000", config)
        return [line for line in lines if line.startswith("To forward")]

    replay = "To forward a stored one: tts-receiver events replay EVENT --handler forward"
    assert hints(polled + expired) == [replay]
    assert hints(polled + expired + SOURCE) == ["To forward a test event: tts-receiver send --source aitts", replay]
