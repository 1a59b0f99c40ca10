"""Signing secrets in a file of their own: read as `webhook rotate` writes it, refused where others can get at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.settings import load, load_partial
from receiver.settings.secrets_file import read_secrets_file
from receiver.settings.small_file import MAX_FILE_BYTES
from tests.unit.settings.support import GOOD, SECRET, Write, problems, secrets_of

WITH_FILE = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets_file = "secrets/aitts"\n'
KEY = "sources.aitts.signing_secrets_file"
NEW = "new_secret_0123456789"


def secrets_file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "secrets" / "aitts"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def test_each_line_is_a_secret_and_the_path_starts_from_the_configuration(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_file(tmp_path, f"{NEW}\r\n\n \n{SECRET}\r\n")
    file = write(WITH_FILE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load(file)
    assert secrets_of(settings.sources["aitts"]) == [NEW, SECRET]
    assert settings.sources["aitts"].signing_secrets_file == "secrets/aitts"
    assert {NEW, SECRET} <= set(settings.secrets())


def test_an_absolute_path_is_one(write: Write, tmp_path: Path) -> None:
    file = secrets_file(tmp_path, SECRET)
    config = write(WITH_FILE.replace("secrets/aitts", str(file)), "etc/receiver.toml")
    assert secrets_of(load(config).sources["aitts"]) == [SECRET]


@pytest.mark.parametrize(
    "own",
    ['["third_0123456789", {id = "last", secret = "fourth_0123456789"}]', '"third_0123456789\\nfourth_0123456789"'],
)
def test_the_files_secrets_come_before_those_of_the_configuration(write: Write, tmp_path: Path, own: str) -> None:
    secrets_file(tmp_path, "first_0123456789\nsecond_0123456789")
    source = load(write(f"{WITH_FILE}signing_secrets = {own}\n")).sources["aitts"]
    assert secrets_of(source) == [f"{word}_0123456789" for word in ("first", "second", "third", "fourth")]


def test_the_variable_may_name_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_file(tmp_path, NEW)
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS_FILE", "secrets/aitts")
    assert secrets_of(load(write(GOOD)).sources["aitts"]) == [NEW, SECRET]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
def test_a_file_that_others_can_get_at_is_refused_and_says_what_to_do(write: Write, tmp_path: Path, mode: int) -> None:
    file = secrets_file(tmp_path, SECRET, mode)
    found = problems(write(WITH_FILE))
    assert set(found) == {KEY}
    assert f"`chmod 600 {file}`" in found[KEY]
    file.chmod(0o400)
    assert load().sources["aitts"].signing_keys()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        (" \n\n\t\n", "is empty"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"a" * (MAX_FILE_BYTES + 1), "more than 65536 bytes"),
    ],
)
def test_a_file_without_usable_secrets_is_refused(
    write: Write, tmp_path: Path, content: str | bytes, what: str
) -> None:
    secrets_file(tmp_path, content)
    assert what in problems(write(WITH_FILE))[KEY]


def test_a_file_that_is_not_there_is_refused_and_says_what_writes_it(write: Write) -> None:
    assert "tts-receiver webhook register" in problems(write(WITH_FILE))[KEY]


def test_what_is_no_file_is_refused_and_does_not_hold_up_the_start(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "aitts").mkdir(parents=True)
    assert "Is a directory" in problems(write(WITH_FILE))[KEY]
    (tmp_path / "secrets" / "aitts").rmdir()
    os.mkfifo(tmp_path / "secrets" / "aitts", 0o600)
    assert "is not a file" in problems(write(WITH_FILE))[KEY]


def test_a_path_that_is_no_text_is_refused(write: Write) -> None:
    assert "string" in problems(write(WITH_FILE.replace('"secrets/aitts"', "5")))[KEY]


def test_a_path_with_a_nul_is_refused(write: Write) -> None:
    assert problems(write(WITH_FILE.replace("secrets/aitts", "a\\u0000b")))[KEY]


def test_every_other_problem_of_the_source_is_told_as_well(write: Write) -> None:
    found = problems(write(WITH_FILE + 'stale = "maybe"\n'))
    assert set(found) == {KEY, "sources.aitts.stale"}


def test_a_source_whose_file_cannot_be_used_does_not_keep_the_others_from_being_read(write: Write) -> None:
    settings, found = load_partial(write(WITH_FILE + GOOD.replace("sources.aitts", "sources.other")))
    assert secrets_of(settings.sources["other"]) == [SECRET]
    assert SECRET not in secrets_of(settings.sources["aitts"])
    assert [problem.where for problem in found] == [KEY]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="ignore")))
def test_no_content_of_the_file_makes_reading_raise_anything_but_a_value_error(tmp_path: Path, content: bytes) -> None:
    try:
        secrets = read_secrets_file(secrets_file(tmp_path, content))
    except ValueError:
        return
    assert secrets
    assert all(secret and secret == secret.strip() for secret in secrets)
