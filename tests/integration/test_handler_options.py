"""A handler's options: what their validators get to know, how the environment sets them, and their secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr, ValidationInfo, field_validator

from receiver import Context, JobCompleted, handler
from receiver.assembly.receiver import build_receiver
from receiver.engine.handler_options import OptionsContext, check_options, secrets_in, target_of
from receiver.engine.plugins import load_registry
from receiver.errors import ConfigError, PluginError
from receiver.model.redact import Redactor
from receiver.model.secret_parts import address_secrets, secret_parts
from receiver.settings import load
from receiver.testing import completed, run_handler
from tests.certificate import self_signed
from tests.integration.intake_support import configured

# what validators get to know


SEES = """
from pathlib import Path
from pydantic import BaseModel, ValidationInfo, field_validator
from receiver import Context, JobCompleted, handler


class Options(BaseModel):
    file: str = "here"

    @field_validator("file")
    @classmethod
    def _found(cls, file: str, info: ValidationInfo) -> str:
        return f"{info.context['folder'] / file} {info.context['object_storage']}"


@handler(on=JobCompleted, options=Options)
async def sees(event: JobCompleted, ctx: Context[Options]) -> None: ...
"""


def test_validators_learn_the_configured_timeout_and_whether_there_is_a_table_tls(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    all_of_it = SEES.replace("info.context['object_storage']", "sorted(info.context.items())")
    (tmp_path / "plugins" / "sees.py").write_text(all_of_it)
    self_signed(tmp_path / "ca.pem", "localhost")
    tables: list[tuple[dict[str, Any], tuple[float, bool]]] = [
        ({}, (300.0, False)),
        ({"timeout": 7, "tls": {"ca": "ca.pem"}}, (7.0, True)),
    ]
    for table, known in tables:
        settings = configured(tmp_path, plugins={"directory": "plugins"}, handlers={"sees": table | {"file": ""}})
        seen = load_registry(settings)["sees"].options.file
        assert f"('timeout', {known[0]}), ('tls', {known[1]})" in seen


@pytest.mark.parametrize(
    ("url", "object_storage"),
    [("data/audio", False), ("file:///srv/audio", False), ("s3://bucket/prefix", True), ("memory://", True)],
)
def test_validators_learn_the_folder_of_paths_and_whether_audio_is_in_an_object_store(
    tmp_path: Path, url: str, object_storage: bool
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sees.py").write_text(SEES)
    settings = configured(
        tmp_path, audio={"url": url}, plugins={"directory": "plugins"}, handlers={"sees": {"file": "key.pem"}}
    )
    assert load_registry(settings)["sees"].options.file == f"{tmp_path / 'key.pem'} {object_storage}"


def test_in_a_test_of_a_handler_the_folder_is_the_current_one() -> None:
    class Options(BaseModel):
        file: str

        @field_validator("file")
        @classmethod
        def _found(cls, file: str, info: ValidationInfo) -> str:
            assert info.context is not None
            return f"{info.context['folder'] / file} {info.context['object_storage']}"

    @handler(on=JobCompleted, options=Options)
    def sees(event: JobCompleted, ctx: Context[Options]) -> str:
        return ctx.options.file

    assert run_handler(sees, completed(), options={"file": "k"}).result == f"{Path.cwd() / 'k'} False"


# options from the environment and the secrets directory


LISTS = """
from pydantic import BaseModel, SecretStr
from receiver import Context, JobCompleted, handler


class Broker(BaseModel):
    hosts: tuple[str, ...] = ()


class Options(BaseModel):
    url: str = ""
    account: str = ""
    secrets: list[SecretStr] = []
    headers: dict[str, SecretStr] = {}
    broker: Broker = Broker()
    retries: int = 0


@handler(on=JobCompleted, options=Options)
async def forward(event: JobCompleted, ctx: Context[Options]) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration's folder, with an empty secrets directory."""
    for name in [name for name in os.environ if name.startswith("TTS_RECEIVER_")]:
        monkeypatch.delenv(name)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "forward.py").write_text(LISTS)
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(tmp_path / "secrets"))
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["tts_signing_secret_0123456789"]\n'
        '[plugins]\ndirectory = "plugins"\n'
    )
    return tmp_path


def options_of(folder: Path) -> Any:
    return load_registry(load(folder / "receiver.toml"))["forward"].options


@pytest.mark.parametrize(
    "text",
    ["first-secret\nsecond-secret\n", "# newest\nfirst-secret\r\n\nsecond-secret", '["first-secret","second-secret"]'],
)
def test_the_secrets_directory_gives_an_option_its_list_one_a_line(folder: Path, text: str) -> None:
    (folder / "secrets" / "handlers__forward__secrets").write_text(text)
    assert [secret.get_secret_value() for secret in options_of(folder).secrets] == ["first-secret", "second-secret"]


def test_the_environment_sets_options_of_any_kind_and_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secrets" / "handlers__forward__secrets").write_text("from-the-file\n")
    (folder / "secrets" / "handlers__forward__account").write_text("0042\n")
    for name, text in {
        "SECRETS": '["one","two"]',
        "HEADERS": '{"authorization": "Bearer abcdef"}',
        "HEADERS__X": "17",
        "BROKER__HOSTS": "a.example\nb.example",
        "RETRIES": "3",
        "URL": "123456",
    }.items():
        monkeypatch.setenv(f"TTS_RECEIVER_HANDLERS__FORWARD__{name}", text)
    monkeypatch.delenv("TTS_RECEIVER_HANDLERS__FORWARD__HEADERS")
    options = options_of(folder)
    assert [secret.get_secret_value() for secret in options.secrets] == ["one", "two"]
    assert options.headers["x"].get_secret_value() == "17"
    assert (options.broker.hosts, options.retries) == (("a.example", "b.example"), 3)
    assert (options.url, options.account) == ("123456", "0042"), "a text of digits stays one"
    monkeypatch.delenv("TTS_RECEIVER_HANDLERS__FORWARD__HEADERS__X")
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__FORWARD__HEADERS", '{"authorization": "Bearer abcdef"}')
    assert options_of(folder).headers["authorization"].get_secret_value() == "Bearer abcdef"


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("secrets", "", "secrets is empty; it needs one secret per line"),
        ("secrets", '["one"', "secrets looks like JSON, but is not"),
        ("secrets", "a-secret\n'a-second'\n", "secrets line 2 is enclosed in quotes"),
        ("headers", "a-secret", "headers must be a JSON object"),
        ("broker__hosts", "\n", "broker.hosts is empty"),
    ],
)
def test_a_text_that_is_no_list_is_an_error_that_names_the_option(
    folder: Path, key: str, text: str, words: str
) -> None:
    (folder / "secrets" / f"handlers__forward__{key}").write_text(text)
    with pytest.raises(ConfigError) as raised:
        options_of(folder)
    assert words in str(raised.value)
    assert "a-secret" not in str(raised.value)


def test_a_text_in_the_file_is_no_list(folder: Path) -> None:
    with (folder / "receiver.toml").open("a") as file:
        file.write('[handlers.forward]\nsecrets = "one"\n')
    with pytest.raises(ConfigError, match="secrets: must be a list"):
        options_of(folder)


# secrets


class Inner(BaseModel, extra="allow"):
    key: SecretBytes = SecretBytes(b"of-bytes-\xff")


@dataclass
class Odd:
    tokens: tuple[Any, ...]
    again: Any = None


Everything = RootModel[dict[str, Any]]


def test_secrets_are_found_at_any_depth() -> None:
    odd = Odd((SecretStr("in-a-tuple"), frozenset({SecretStr("in-a-set")})))
    odd.again = odd
    inner = Inner.model_validate({"more": [SecretStr("in-an-extra")]})
    options = Everything(
        {"a": [{"b": odd}], "c": inner, "d": Secret[int](123456), "e": "plain", "f": {SecretStr("key")}}
    )
    found = set(secrets_in(options))
    assert found >= {"in-a-tuple", "in-a-set", "of-bytes-\\xff", "in-an-extra", "123456", "key"}
    assert "plain" not in found
    assert list(secrets_in(None)) == list(secrets_in("text")) == []


plain = st.none() | st.booleans() | st.integers() | st.text()


@given(
    st.recursive(
        plain | st.text(min_size=4).map(SecretStr),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_every_secret_of_whatever_structure_is_found(options: Any) -> None:
    def wanted(value: Any) -> Iterator[str]:
        if isinstance(value, SecretStr):
            yield from secret_parts(value.get_secret_value())
        elif isinstance(value, str):
            yield from address_secrets(value)
        elif isinstance(value, dict):
            for inner in [*value, *value.values()]:
                yield from wanted(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from wanted(inner)

    assert set(secrets_in(options)) == set(wanted(options))


class Target(BaseModel):
    url: str
    broker: SecretStr = SecretStr("")
    headers: dict[str, SecretStr] = {}


@pytest.mark.parametrize(
    ("options", "quoted", "shown"),
    [
        ({"headers": {"a": "Bearer topsecrettoken5678"}}, "bad topsecrettoken5678 for you", "bad % for you"),
        ({"headers": {"a": "Basic dXNlcjpwYXNzd29yZC03"}}, "no dXNlcjpwYXNzd29yZC03: password-7", "no %: %"),
        ({"headers": {"a": "Basic dXNlcjpwYXNzd29yZC03"}}, "not user:password-7!", "not %!"),
        ({"headers": {"a": 'Token token="abcdef123456", realm="x"'}}, "token abcdef123456", "token %"),
        ({"headers": {"cookie": "session=abcdef123456; theme=dark"}}, "abcdef123456 is dark", "% is dark"),
        ({"url": "http://h/p?token=querysecret99"}, "path /p?token=querysecret99", "path /p?%"),
        ({"url": "http://h/p?token=querysecret99"}, "querysecret99 is bad", "% is bad"),
        ({"url": "http://h/p?token=query%2Bsecret+99"}, "query+secret 99 is bad", "% is bad"),
        ({"url": "http://h/p?pin=1234&format=json"}, "json: 5678 pin=1234 format", "json: 5678 % format"),
        ({"url": "http://h/p?querysecret99"}, "querysecret99 is bad", "% is bad"),
        ({"url": "http://user:p%40ssword@h/"}, "p@ssword, p%40ssword, user", "%, %, user"),
        ({"broker": "amqp://user:p%40ssword@h/"}, "p@ssword, p%40ssword, user", "%, %, user"),
        ({"broker": "nats://tokentoken@h"}, "tokentoken", "%"),
        ({"broker": "redis://h/0?password=querysecret99"}, "querysecret99", "%"),
    ],
)
def test_what_a_service_quotes_of_a_secret_is_redacted(options: dict[str, Any], quoted: str, shown: str) -> None:
    redact = Redactor(secrets_in(Target(**{"url": "http://h/", **options})))
    assert redact(quoted) == shown.replace("%", "[redacted]")


def test_a_receiver_removes_them_from_errors(tmp_path: Path) -> None:
    registry = load_registry(_with_secret(tmp_path))
    receiver = build_receiver(_with_secret(tmp_path), registry)
    redact = receiver.dispatcher._rules.redact
    assert redact("refused: hunter2-of-the-broker") == "refused: [redacted]"


def _with_secret(folder: Path) -> Any:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "forward.py").write_text(LISTS)
    table = {"headers": {"authorization": "hunter2-of-the-broker"}}
    return configured(folder, plugins={"directory": "plugins"}, handlers={"forward": table})


class Quoting(BaseModel):
    secrets: list[SecretStr] = []
    url: str = ""

    @field_validator("secrets", mode="before")
    @classmethod
    def _refused(cls, value: Any) -> Any:
        raise ValueError(f"cannot be used: {value}")

    @field_validator("url")
    @classmethod
    def _wrong(cls, url: str) -> str:
        raise ValueError(f"{url} is no address")


def test_a_validator_that_quotes_a_secret_does_not_show_it() -> None:
    @handler(on=JobCompleted, options=Quoting)
    async def forward(event: JobCompleted, ctx: Context[Quoting]) -> None: ...

    context = OptionsContext(object_storage=False, folder=Path())
    for given_options in (
        {"secrets": ["hunter2-hunter2"], "url": "shop"},
        {"secrets": "hunter2-hunter2", "url": "shop"},
    ):
        with pytest.raises(PluginError) as raised:
            check_options("forward", forward, given_options, context)
        assert "hunter2" not in str(raised.value)
        assert "url: shop is no address" in str(raised.value), "what is no secret is shown"


@dataclass
class Sending:
    password: SecretStr
    broken: bool = False

    @property
    def target(self) -> str:
        if self.broken:
            raise ValueError("hunter2")
        return f"broker.example\x1b {self.password.get_secret_value()} " + "x" * 1000


class WithField(BaseModel):
    target: str = "https://user:hunter2@app.example"


def test_a_target_is_shown_without_secrets_and_whatever_its_property_does() -> None:
    shown = target_of(Sending(SecretStr("hunter2-hunter2")))
    assert shown is not None
    assert shown.startswith("broker.example\\x1b [redacted] xxx")
    assert len(shown) == 200
    assert target_of(Sending(SecretStr("hunter2"), broken=True)) == "? (ValueError)"
    assert target_of(WithField()) is target_of(None) is None, "a field is an option like any other"
