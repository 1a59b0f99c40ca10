"""Keys and secrets that an editor, a shell or a clipboard has changed are refused, wherever they come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.model.secret_text import secret_lines, secret_problem
from receiver.settings import Settings, load, load_partial, loading
from receiver.settings.exposure import exposed_secrets
from tests.faults import another_user
from tests.unit.settings.support import GOOD, SECRET, Write, problems, secrets_of

OTHER = "other_secret_0123456789"
BARE = f'[sources.aitts]\nprovider = "aitts"\napi_key = "tts_live_key"\nsigning_secrets = ["{OTHER}"]\n'
SPOILT = [
    (f"\ufeff{SECRET}", "byte order mark"),
    (f"{SECRET[:9]}\n{SECRET}", "line break"),
    (f"{SECRET[:9]}\r{SECRET}", "line break"),
    (f" {SECRET}", "white space"),
    (f"{SECRET}\t", "white space"),
    (f"{SECRET[:9]}\t{SECRET}", "character 10 is a control character"),
    (f"{SECRET[:9]}\x1b{SECRET}", "character 10 is a control character"),
    (f"{SECRET}\u200b", "character 30 is not ASCII"),
    (f"“{SECRET}”", "character 1 is not ASCII"),
    (f'"{SECRET}"', "enclosed in quotes or brackets"),
    (f"'{SECRET}'", "enclosed in quotes or brackets"),
    (f"<{SECRET}>", "enclosed in quotes or brackets"),
    (f"v1,whsec_{SECRET}", "begins with a version and a comma"),
]
KEYS = {
    "sources.aitts.api_key": "[sources.aitts]\nprovider = 'aitts'\napi_key = {}\n",
    "sources.aitts.signing_secrets.0.secret": "[sources.aitts]\nprovider = 'aitts'\nsigning_secrets = [{}]\n",
    "api.tokens.0.token": GOOD + "[api]\ntokens = [{}]\n",
}


def toml(text: str) -> str:
    return '"' + "".join(char if char.isprintable() and char != '"' else f"\\u{ord(char):04x}" for char in text) + '"'


def secrets_directory(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str | bytes) -> Path:
    place = folder / "run-secrets"
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(place))
    return place


@pytest.mark.parametrize(("spoilt", "what"), SPOILT)
@pytest.mark.parametrize("where", KEYS)
def test_a_spoilt_secret_in_the_file_is_refused_by_its_key(write: Write, where: str, spoilt: str, what: str) -> None:
    assert what in problems(write(KEYS[where].format(toml(spoilt))))[where]


@pytest.mark.parametrize(("spoilt", "what"), SPOILT)
def test_a_spoilt_secret_in_the_environment_is_refused_and_the_variable_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch, spoilt: str, what: str
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__API_KEY", spoilt)
    said = problems(write(BARE))["sources.aitts.api_key"]
    assert what in said
    assert "the variable TTS_RECEIVER_SOURCES__AITTS__API_KEY" in said


@pytest.mark.parametrize(("spoilt", "what"), [spoilt for spoilt in SPOILT if "byte order" not in spoilt[1]])
def test_a_spoilt_secret_in_the_secrets_directory_is_refused_and_the_file_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str, what: str
) -> None:
    secrets_directory(tmp_path, monkeypatch, sources__aitts__api_key=spoilt)
    said = problems(write(BARE))["sources.aitts.api_key"]
    assert what in said
    assert "file sources__aitts__api_key" in said


def test_a_spoilt_key_is_not_also_said_to_be_missing(write: Write) -> None:
    spoilt = "[sources.aitts]\nprovider = 'aitts'\napi_key = 'tts_live key\\u200b'\n".replace("'", '"')
    assert list(problems(write(spoilt))) == ["sources.aitts.api_key"]


@pytest.mark.parametrize("line", [f'["{SECRET}"]', f'"{SECRET}"', f"v1,whsec_{SECRET}"])
def test_a_line_of_a_secrets_file_is_the_bare_secret(write: Write, tmp_path: Path, line: str) -> None:
    (tmp_path / "aitts").write_text(f"{OTHER}\n{line}\n")
    (tmp_path / "aitts").chmod(0o600)
    said = problems(write(BARE + 'signing_secrets_file = "aitts"\n'))["sources.aitts.signing_secrets_file"]
    assert "aitts: line 2 " in said
    assert SECRET not in said


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_files_last_newline_and_its_byte_order_mark_are_no_part_of_a_secret(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, end: str
) -> None:
    secrets_directory(
        tmp_path,
        monkeypatch,
        sources__aitts__api_key=f"{start}{SECRET}{end}",
        sources__aitts__signing_secrets=f"{start}{SECRET}{end}",
        api__tokens=f"{start}{SECRET}{end}",
    )
    (tmp_path / "aitts").write_bytes(f"{start}{OTHER}{end}".encode())
    (tmp_path / "aitts").chmod(0o600)
    settings = load(write(start + BARE + 'signing_secrets_file = "aitts"\n' + end))
    source = settings.sources["aitts"]
    assert source.account.api_key == SECRET
    assert secrets_of(source) == [OTHER, SECRET]
    assert settings.api.tokens[0].token.get_secret_value() == SECRET


@pytest.mark.parametrize("end", ["\n\n", "\n\r\n", " \n", "\n "])
def test_only_the_last_newline_is_dropped(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    secrets_directory(tmp_path, monkeypatch, sources__aitts__api_key=SECRET + end)
    assert "sources.aitts.api_key" in problems(write(BARE))


LINES = f"# the newest\r\n{SECRET}\r\n\r\n  # retired in May\n#\n{OTHER}\n"


@pytest.mark.parametrize("where", ["file", "directory", "environment", "toml"])
def test_a_comment_in_a_list_of_secrets_is_no_secret(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    line = ""
    if where == "file":
        (tmp_path / "aitts").write_bytes(LINES.encode())
        (tmp_path / "aitts").chmod(0o600)
        line = 'signing_secrets_file = "aitts"'
    elif where == "directory":
        secrets_directory(tmp_path, monkeypatch, sources__aitts__signing_secrets=LINES)
    elif where == "environment":
        monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", LINES)
    else:
        line = f"signing_secrets = '''{LINES}'''"
    config = write(f'[sources.aitts]\nprovider = "aitts"\n{line}\n')
    assert secrets_of(load(config).sources["aitts"]) == [SECRET, OTHER]


def test_nothing_but_comments_is_no_secret(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aitts").write_text(f"# {SECRET}\n")
    (tmp_path / "aitts").chmod(0o600)
    text = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets_file = "aitts"\n'
    assert "is empty" in problems(write(text))["sources.aitts.signing_secrets_file"]
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", f"#{SECRET}")
    assert "is empty" in problems(write(BARE))["sources.aitts.signing_secrets"]


def test_a_spoilt_line_of_a_secrets_file_is_named_by_its_number(write: Write, tmp_path: Path) -> None:
    (tmp_path / "aitts").write_text(f"# keys\n{OTHER}\n{SECRET} \n")
    (tmp_path / "aitts").chmod(0o600)
    found = problems(write(BARE + 'signing_secrets_file = "aitts"\n'))
    assert found == {
        "sources.aitts.signing_secrets_file": f"{tmp_path / 'aitts'}: line 3 has white space around it; remove it"
    }


@pytest.mark.parametrize("secret", ["a", SECRET[:15]])
def test_a_signing_secret_that_can_be_guessed_is_refused(write: Write, secret: str) -> None:
    text = f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{secret}"]\n'
    assert "at least 16 bytes" in problems(write(text))["sources.aitts.signing_secrets[0]"]


def test_a_standard_secret_is_as_long_as_the_bytes_that_it_encodes(write: Write) -> None:
    def config(secret: str) -> Path:
        table = '[sources.other.generic]\nevent = "type"\njob_id = "id"\n'
        table += '[sources.other.signature]\npreset = "standard-webhooks"\n'
        return write(f'[sources.other]\nprovider = "generic"\nsigning_secrets = ["{secret}"]\n{table}')

    assert "at least 16 bytes" in str(problems(config("whsec_AAAAAAAAAAAAAAAAAAAA")))
    salvaged, _ = load_partial(config("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    assert salvaged.sources["other"].signing_keys()


def test_the_keys_of_an_object_store_are_secrets_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}\n")
    remote = BARE + '[audio]\nurl = "s3://bucket/prefix"\n'
    assert problems(write(remote)) == {"AWS_SECRET_ACCESS_KEY": "has a line break in it; a key or secret is one line"}
    assert load(write(BARE)).sources  # nothing reads the variable
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert SECRET in set(load(write(remote)).secrets())


# files that cannot be read


def test_a_configuration_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "receiver.toml"
    file.write_bytes(GOOD.encode() + "# Schlüssel\n".encode("latin-1"))
    assert problems(file) == {str(file): "is not TOML: line 6 is not text in UTF-8; save the file in that encoding"}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"tts_\xe9\n"])
def test_a_file_of_the_secrets_directory_that_is_not_utf_8_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    place = secrets_directory(tmp_path, monkeypatch, sources__aitts__api_key=content, database_password=b"\xff")
    said = problems(write(BARE))["sources.aitts.api_key"]
    assert f"{place / 'sources__aitts__api_key'} is not text in UTF-8 (line 1)" in said


def test_a_secrets_directory_has_bounded_files_and_no_broken_links(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = secrets_directory(tmp_path, monkeypatch, sources__aitts__api_key=b"a" * 70_000)
    (place / "api__tokens").symlink_to("nowhere")
    os.mkfifo(place / "server__port")
    found = problems(write(BARE))
    assert "more than 65536 bytes" in found["sources.aitts.api_key"]
    assert "a link to a file that does not exist" in found["api.tokens"]
    assert "is not a file" in found["server.port"]


@pytest.mark.parametrize("named", [True, False])
def test_a_secrets_directory_that_cannot_be_listed_is_an_error(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    with another_user() as folder:
        (folder / "receiver.toml").write_text(BARE)
        place = folder / "secrets"
        place.mkdir()
        place.chmod(0)
        if named:
            monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(place))
        else:
            monkeypatch.setattr(loading, "DEFAULT_SECRETS", str(place))
        with pytest.raises(ConfigError) as caught:
            load(folder / "receiver.toml")
        assert f"{place} cannot be listed: Permission denied" in str(caught.value)


def test_files_that_may_not_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with another_user() as folder:
        place = secrets_directory(folder, monkeypatch, sources__aitts__api_key=SECRET)
        (folder / "aitts").write_text(SECRET)
        (folder / "receiver.toml").write_text(BARE + 'signing_secrets_file = "aitts"\n')
        for file in (place / "sources__aitts__api_key", folder / "aitts"):
            file.chmod(0)
        found = problems(folder / "receiver.toml")
        assert (
            f"{place / 'sources__aitts__api_key'} cannot be read: Permission denied" in found["sources.aitts.api_key"]
        )
        assert "cannot be read: Permission denied" in found["sources.aitts.signing_secrets_file"]


def test_a_folder_that_may_not_be_entered_is_an_error_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with another_user() as folder:
        monkeypatch.chdir(folder)
        (folder / "receiver.toml").write_text(BARE)
        folder.chmod(0)
        with pytest.raises(ConfigError, match=r"receiver\.toml: cannot be read: Permission denied"):
            load()


# who else can read them


@pytest.mark.parametrize(
    ("mode", "said"),
    [(0o600, ""), (0o640, ""), (0o660, ""), (0o644, "can be read by"), (0o602, "can be changed by"),
     (0o666, "can be read and changed by")],
)  # fmt: skip
def test_a_configuration_with_secrets_that_every_user_can_get_at_is_warned_of(
    write: Write, mode: int, said: str
) -> None:
    file = write(GOOD)
    file.chmod(mode)
    found = [str(problem) for problem in exposed_secrets(file)]
    assert len(found) == (1 if said else 0)
    assert all(said in warning and f"`chmod o= {file}`" in warning and SECRET not in warning for warning in found)
    assert load(file).sources


@pytest.mark.parametrize(
    "text",
    ['[sources.aitts]\nprovider = "aitts"\nsigning_secrets = []\nsigning_secrets_file = "aitts"\n', "[sources", ""],
)
def test_a_configuration_without_secrets_may_be_read_by_everybody(write: Write, text: str) -> None:
    file = write(text)
    file.chmod(0o644)
    assert exposed_secrets(file) == []
    assert exposed_secrets(file.with_name("none.toml")) == []


# any text


@given(st.text())
def test_what_has_no_fault_can_stand_in_a_header(text: str) -> None:
    if secret_problem(text) is None:
        assert text.isascii() and text.isprintable() and text == text.strip() and text  # noqa: PT018


@given(st.text(st.sampled_from("ab#\n\r \t\ufeffé"), max_size=30))
def test_a_list_of_secrets_has_only_usable_ones_or_says_which_line_is_not(text: str) -> None:
    try:
        secrets = secret_lines(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017
        return
    assert all(secret_problem(secret) is None and not secret.startswith("#") for secret in secrets)


def test_settings_that_are_made_in_code_are_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line break"):
        Settings(sources={"aitts": {"provider": "aitts", "api_key": "tts_live\n"}}, base=tmp_path)
