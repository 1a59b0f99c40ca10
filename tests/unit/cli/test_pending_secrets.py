"""A configuration whose file of signing secrets is still to be written can be read by what will write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.cli.pending_secrets import NoSecretsFile, load_pending_secrets
from receiver.errors import ConfigError, NotFound
from receiver.settings import load

SECRET = "tts_signing_secret_0123456789"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("TTS_RECEIVER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    file = Path("receiver.toml").resolve()
    file.write_text(text)
    return file


def source(name: str, *lines: str) -> str:
    return "\n".join([f"[sources.{name}]", 'provider = "aitts"', *lines, ""])


def test_a_missing_file_is_a_place_for_the_first_secret() -> None:
    file = write(source("aitts", 'signing_secrets_file = "secrets/aitts"', 'base_url = "https://tts.example.com"'))
    with pytest.raises(ConfigError, match="does not exist"):
        load(file)
    at = load_pending_secrets(file, "aitts")
    assert at.path == file.parent / "secrets" / "aitts"
    assert not at.known
    assert at.source.origin == "https://tts.example.com"
    assert at.settings.base == file.parent
    assert not any(name.startswith("TTS_RECEIVER_") for name in os.environ)
    with pytest.raises(ConfigError, match="does not exist"):
        load(file)


def test_an_empty_file_is_one_too_and_secrets_elsewhere_are_known() -> None:
    Path("empty").touch()
    write(source("aitts", 'signing_secrets_file = "empty"', f'signing_secrets = ["{SECRET}"]'))
    at = load_pending_secrets(None, "aitts")
    assert (at.path, at.known) == (Path("empty").resolve(), True)


def test_the_environment_may_name_the_file_and_does_so_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "TTS_RECEIVER_SOURCES__MY_AITTS__SIGNING_SECRETS_FILE"
    monkeypatch.setenv(variable, "from-the-environment")
    write(source("my_aitts", 'signing_secrets_file = "from-the-file"'))
    assert load_pending_secrets(None, "my_aitts").path == Path("from-the-environment").resolve()
    assert os.environ[variable] == "from-the-environment"


def test_of_two_new_sources_either_can_be_the_first() -> None:
    write(
        source("first", 'signing_secrets_file = "first"', 'path = "/first"')
        + source("second", 'signing_secrets_file = "second"')
    )
    assert load_pending_secrets(None, "first").path == Path("first").resolve()
    assert load_pending_secrets(None, "second").path == Path("second").resolve()
    Path("first").write_text(f"{SECRET}\n")
    Path("first").chmod(0o600)
    at = load_pending_secrets(None, "first")
    assert (at.path, at.known) == (Path("first").resolve(), True)
    assert [entry.secret.get_secret_value() for entry in at.source.signing_secrets] == [SECRET]


def test_what_else_is_wrong_is_said(tmp_path: Path) -> None:
    write("[server]\nprot = 1\n" + source("aitts", 'signing_secrets_file = "aitts.secrets"'))
    with pytest.raises(ConfigError) as caught:
        load_pending_secrets(None, "aitts")
    assert {problem.where for problem in caught.value.problems} == {"server.prot"}

    write(source("aitts", 'signing_secrets_file = "open"'))
    (tmp_path / "open").write_text(f"{SECRET}\n")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_pending_secrets(None, "aitts")


def test_a_source_without_a_place_is_told_the_line_to_add() -> None:
    file = write(source("aitts"))
    with pytest.raises(NoSecretsFile) as caught:
        load_pending_secrets(file, "aitts")
    assert 'signing_secrets_file = "aitts.secrets"' in str(caught.value)
    assert str(file) in str(caught.value)
    write(source("aitts", f'signing_secrets = ["{SECRET}"]'))
    assert load_pending_secrets(None, "aitts").path is None
    with pytest.raises(NotFound, match="did you mean 'aitts'"):
        load_pending_secrets(None, "aits")
