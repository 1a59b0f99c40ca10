"""The private API's tokens: plain or with an id, from the file, the environment or a secrets directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.settings import Api, load
from tests.unit.settings.support import GOOD, SECRET, Write, problems

TOKEN = "api_token_0123456789abcdef"


def tokens_of(api: Api) -> list[str]:
    return [token.token.get_secret_value() for token in api.tokens]


def test_there_is_no_token_if_none_is_given(write: Write) -> None:
    assert load(write(GOOD)).api.tokens == ()


def test_tokens_are_texts_or_have_ids_of_their_own(write: Write) -> None:
    text = f'[api]\ntokens = ["{TOKEN}", {{id = "console", token = "{TOKEN}-2"}}]\n'
    settings = load(write(GOOD + text))
    assert tokens_of(settings.api) == [TOKEN, f"{TOKEN}-2"]
    first, second = settings.api.tokens
    assert first.id.startswith("token-")
    assert len(first.id) == len("token-") + 8
    assert second.id == "console"
    assert {TOKEN, f"{TOKEN}-2"} <= set(settings.secrets())
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert TOKEN not in shown


@pytest.mark.parametrize("value", [TOKEN + "\n" + SECRET, f'["{TOKEN}", {{"id": "b", "token": "{SECRET}"}}]'])
def test_tokens_in_the_environment_and_in_a_secrets_file_are_json_or_one_a_line(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    folder = tmp_path / "run-secrets"
    folder.mkdir()
    (folder / "api__tokens").write_text(value)
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(folder))
    assert tokens_of(load(write(GOOD)).api) == [TOKEN, SECRET]
    (folder / "api__tokens").unlink()
    monkeypatch.setenv("TTS_RECEIVER_API__TOKENS", value)
    assert tokens_of(load(write(GOOD)).api) == [TOKEN, SECRET]


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (f'tokens = ["{SECRET[:19]}"]', "api.tokens.0.token", "at least 20 characters"),
        (f'tokens = ["{SECRET}ß"]', "api.tokens.0.token", "ASCII"),
        (f'tokens = ["{SECRET} a"]', "api.tokens.0.token", "white space"),
        (f'tokens = ["{SECRET}", {{id = "b", token = "{SECRET}"}}]', "api.tokens", "repeated"),
        (
            f'tokens = [{{id = "b", token = "{SECRET}"}}, {{id = "b", token = "{SECRET}2"}}]',
            "api.tokens",
            "same id",
        ),
        (f'tokens = [{{id = "", token = "{SECRET}"}}]', "api.tokens.0.id", "pattern"),
        (f'tokens = [{{token = "{SECRET}", tokn = 1}}]', "api.tokens.0.tokn", "did you mean 'token'?"),
        ('tokens = [{id = "a"}]', "api.tokens.0.token", "is missing"),
        ("tokens = [5]", "api.tokens.0", "must be a text, or a table"),
        (f'tokens = "[{SECRET}"', "api.tokens", "looks like JSON"),
        (f'token = "{SECRET}"', "api.token", "did you mean 'tokens'?"),
    ],
)
def test_a_token_that_cannot_be_used_is_refused_with_its_key(write: Write, lines: str, where: str, what: str) -> None:
    assert what in problems(write(f"{GOOD}[api]\n{lines}\n".replace(SECRET, "api_token_0123456789")))[where]
