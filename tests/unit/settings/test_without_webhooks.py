"""A source without a signing secret receives no webhooks: it is polled, and webhook settings are errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from receiver.settings import Source, load
from tests.unit.settings.support import SECRET, Write, problems

ACCOUNT = '[sources.aitts]\nprovider = "aitts"\napi_key = "tts_live_key"\n'
WEBHOOK_ONLY = ['path = "/elsewhere"', 'stale = "quarantine"', 'stale = "reject"', "tolerance_seconds = 300"]
POLLED = ['provider = "aitts"', 'provider = "miragic"', 'provider = "finevoice"', 'provider = "audixa"']


@pytest.mark.parametrize("none", ["", "signing_secrets = []\n"])
def test_an_account_without_webhooks_needs_a_key_and_nothing_else(write: Write, none: str) -> None:
    source = load(write(ACCOUNT + none)).sources["aitts"]
    assert (source.receives_webhooks, source.signing_keys()) == (False, ())
    assert source.scheme is not None  # the provider signs all the same


def test_a_source_with_a_secret_receives_webhooks_whether_it_has_a_key_or_not(write: Write) -> None:
    secret = f'signing_secrets = ["{SECRET}"]\n'
    for text in (ACCOUNT + secret, ACCOUNT.replace('api_key = "tts_live_key"\n', secret)):
        source = load(write(text)).sources["aitts"]
        assert source.receives_webhooks
        assert source.schedule.first_seconds == 120


def test_the_first_poll_comes_after_a_few_seconds_unless_it_is_said_otherwise(write: Write) -> None:
    assert 0 < load(write(ACCOUNT)).sources["aitts"].schedule.first_seconds <= 10
    given = load(write(ACCOUNT + "poll = { first_seconds = 45 }\n")).sources["aitts"]
    assert given.schedule.first_seconds == 45


def test_a_source_with_neither_a_secret_nor_a_key_is_refused(write: Write) -> None:
    found = problems(write('[sources.aitts]\nprovider = "aitts"\n'))
    assert set(found) == {"sources.aitts.signing_secrets"}
    assert found["sources.aitts.signing_secrets"].startswith("is missing")
    assert "api_key" in found["sources.aitts.signing_secrets"]


@pytest.mark.parametrize("provider", POLLED)
@pytest.mark.parametrize("line", WEBHOOK_ONLY)
def test_a_setting_that_is_for_webhooks_only_is_an_error_without_a_secret(
    write: Write, provider: str, line: str
) -> None:
    key = line.partition(" ")[0]
    found = problems(write(f'[sources.one]\n{provider}\napi_key = "a-key"\n{line}\n'))
    assert set(found) == {f"sources.one.{key}"}
    assert "webhooks only" in found[f"sources.one.{key}"]


def test_all_settings_for_webhooks_are_named_at_once(write: Write) -> None:
    found = problems(write(ACCOUNT + 'path = "/x"\nstale = "reject"\ntolerance_seconds = 3\n'))
    assert list(found) == ["sources.aitts.path"]
    assert "like stale and tolerance_seconds" in found["sources.aitts.path"]


@pytest.mark.parametrize("line", WEBHOOK_ONLY)
def test_with_a_secret_it_is_none(write: Write, line: str) -> None:
    load(write(f'{ACCOUNT}signing_secrets = ["{SECRET}"]\n{line}\n'))


def test_a_variable_counts_as_the_file_does(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__STALE", "reject")
    assert set(problems(write(ACCOUNT))) == {"sources.aitts.stale"}


@pytest.mark.parametrize("content", [None, "", " \n\n"])
@pytest.mark.parametrize("more", ["", 'path = "/elsewhere"\n', 'signing_secrets = ["tts_another_secret_0123"]\n'])
def test_a_named_file_that_is_missing_or_empty_is_an_error_and_the_only_one(
    write: Write, tmp_path: Path, content: str | None, more: str
) -> None:
    if content is not None:
        (tmp_path / "aitts.secrets").write_text(content)
        (tmp_path / "aitts.secrets").chmod(0o600)
    found = problems(write(f'{ACCOUNT}signing_secrets_file = "aitts.secrets"\n{more}'))
    assert set(found) == {"sources.aitts.signing_secrets_file"}


def test_a_secret_that_was_meant_to_be_there_and_is_blank_is_an_error(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable of a compose file, an empty file in the secrets directory: no webhook would ever be taken."""
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", " ")
    assert "is empty" in problems(write(ACCOUNT))["sources.aitts.signing_secrets"]
    monkeypatch.delenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sources__aitts__signing_secrets").write_text("\n")
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(tmp_path / "run"))
    assert "is empty" in problems(write(ACCOUNT))["sources.aitts.signing_secrets"]


@pytest.mark.parametrize("blank", ["", "  ", "\\n"])
def test_a_blank_key_is_no_key(write: Write, blank: str) -> None:
    found = problems(write(ACCOUNT.replace("tts_live_key", blank) + f'signing_secrets = ["{SECRET}"]\n'))
    assert found == {"sources.aitts.api_key": "is empty"}


def test_blank_tokens_do_not_open_the_private_api(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_API__TOKENS", "")
    assert "is empty" in problems(write(ACCOUNT))["api.tokens"]


def test_a_source_made_in_code_does_not_name_a_file_that_nobody_reads() -> None:
    with pytest.raises(ValidationError, match="signing_secrets_file: is read only by load"):
        Source(provider="aitts", api_key=SecretStr("a-key"), signing_secrets_file="aitts.secrets")


GENERIC = """
[sources.voices]
provider = "generic"
base_url = "https://api.example"
api_key = "a-key"
[sources.voices.generic]
status = "state"
"""
SIGNED = 'event = "type"\njob_id = "data.id"\n'
SIGNATURE = '[sources.voices.signature]\npreset = "elevenlabs"\n'
ASKED = 'status_url = "/v1/jobs/{job_id}"\n'


def test_a_generic_source_that_is_polled_needs_no_secret_as_long_as_it_has_no_signature(write: Write) -> None:
    source = load(write(GENERIC + ASKED)).sources["voices"]
    assert (source.receives_webhooks, source.schedule.first_seconds) == (False, 0)


@pytest.mark.parametrize("setting", [ASKED, "", "audio_needs_key = true\n"])
def test_a_generic_source_that_says_how_it_is_signed_needs_a_secret(write: Write, setting: str) -> None:
    found = problems(write(GENERIC + SIGNED + setting + SIGNATURE))
    assert set(found) == {"sources.voices.signing_secrets"}
    assert "the table signature" in found["sources.voices.signing_secrets"]
