"""Users of the console: from the file, the environment or a secrets directory, each with a hash that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.settings import load
from receiver.settings.api import TokenRole
from receiver.settings.exposure import exposed_secrets
from receiver.settings.private import require_private
from tests.unit.settings.support import GOOD, Write, problems

HASH = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
ANNA = f'[console.users.anna]\npassword_hash = "{HASH}"\nrole = "operator"\n'


def test_there_is_no_user_if_none_is_given(write: Write) -> None:
    settings = load(write(GOOD))
    assert settings.console.users == {}
    assert not settings.has_credentials


def test_a_user_has_a_hash_and_a_role_that_reads_unless_it_says_more(write: Write) -> None:
    settings = load(write(f'{GOOD}{ANNA}[console.users.ben]\npassword_hash = "{HASH}"\n'))
    assert {name: user.role for name, user in settings.console.users.items()} == {
        "anna": TokenRole.OPERATOR,
        "ben": TokenRole.VIEWER,
    }
    assert settings.has_credentials
    assert HASH in set(settings.secrets())
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert HASH not in shown


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://traces.example.com/trace/1", "must have {trace_id}"),
        ("https://traces.example.com/{trace_id}/{span_id}", "no other braces"),
        ("traces.example.com/{trace_id}", "absolute http(s) address"),
        ("javascript:alert('{trace_id}')", "absolute http(s) address"),
        ("https://anna:word@traces.example.com/{trace_id}", "without credentials"),
        ("https://traces.example.com/a b/{trace_id}", "absolute http(s) address"),
    ],
)
def test_an_address_of_traces_that_cannot_be_a_link_is_refused(write: Write, url: str, what: str) -> None:
    assert what in problems(write(f'{GOOD}[console]\ntrace_url = "{url}"\n'))["console.trace_url"]


@pytest.mark.parametrize("url", ["https://traces.example.com/trace/{trace_id}", "http://[::1]:3000/?q={trace_id}&x=1"])
def test_an_address_of_traces_has_a_place_for_the_id(write: Write, url: str) -> None:
    assert load(write(f'{GOOD}[console]\ntrace_url = "{url}"\n')).console.trace_url == url


@pytest.mark.parametrize("name", ["console__users__anna__password_hash", "CONSOLE__USERS__ANNA__PASSWORD_HASH"])
def test_a_hash_can_be_a_file_of_the_secrets_directory_or_a_variable(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    if name.islower():
        folder = tmp_path / "run-secrets"
        folder.mkdir()
        (folder / name).write_text(f"{HASH}\n")
        monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(folder))
    else:
        monkeypatch.setenv(f"TTS_RECEIVER_{name}", HASH)
    user = load(write(GOOD + '[console.users.anna]\nrole = "operator"\n')).console.users["anna"]
    assert (user.password_hash.get_secret_value(), user.role) == (HASH, TokenRole.OPERATOR)


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        ('[console.users.anna]\nrole = "viewer"', "console.users.anna.password_hash", "is missing"),
        ('[console.users.anna]\npassword_hash = "word"', "console.users.anna.password_hash", "not a hash by Argon2id"),
        (ANNA.replace("m=19456", "m=4194304"), "console.users.anna.password_hash", "costs too much"),
        (ANNA.replace("t=2", "t=1"), "console.users.anna.password_hash", "too weak"),
        (ANNA.replace('"operator"', '"admin"'), "console.users.anna.role", "'viewer' or 'operator'"),
        (ANNA.replace("role", "rol"), "console.users.anna.rol", "did you mean 'role'?"),
        (ANNA.replace("anna", "Anna"), "console.users.Anna.[key]", "must be lower-case letters"),
        (ANNA.replace("anna", "local"), "console", "the actor of an API without tokens"),
        (f"{ANNA}[api]\ntokens = [{{id = 'anna', token = 'api_token_0123456789'}}]", "console", "user anna has the id"),
        (f'[console]\nuser = "{HASH}"', "console.user", "did you mean 'users'?"),
        ('[console]\nusers = ["anna"]', "console.users", "must be a table"),
    ],
)
def test_a_user_that_cannot_be_used_is_refused_with_its_key(write: Write, lines: str, where: str, what: str) -> None:
    found = problems(write(f"{GOOD}{lines}\n"))
    assert what in found[where]
    assert HASH not in str(found)


def test_a_public_address_needs_a_token_or_a_user(write: Write) -> None:
    public = '[server]\nprivate_host = "0.0.0.0"\n'
    with pytest.raises(ConfigError, match=r"a user in \[console.users\]"):
        require_private(load(write(GOOD + public)))
    require_private(load(write(GOOD + public + ANNA)))


def test_a_hash_that_every_user_of_the_machine_can_read_is_warned_of(write: Write) -> None:
    file = write(f'[sources.aitts]\nprovider = "aitts"\n{ANNA}')
    file.chmod(0o644)
    assert "contains secrets" in str(exposed_secrets(file))
