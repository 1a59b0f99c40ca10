"""The configuration: every problem at once, in words, without a secret; and what overrides what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.errors import ConfigError, ConfigProblem
from receiver.settings import Settings, Source, load, load_partial, suggestion
from tests.unit.settings.support import GOOD, SECRET, Write, problems, secrets_of

# reading


def test_a_minimal_file_has_the_documented_defaults(write: Write) -> None:
    settings = load(write(GOOD))
    source = settings.sources["aitts"]
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.store.retention_days == 30
    assert (source.tolerance_seconds, source.stale) == (300, "quarantine")
    assert source.origin == "https://aitts.theproductivepixel.com"
    assert settings.webhook_path("aitts") == "/webhooks/aitts"
    assert secrets_of(source) == [SECRET]


def test_receiver_toml_here_is_found_and_the_variable_names_another(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(GOOD)
    other = write(GOOD + "[server]\nport = 9999\n", "elsewhere/other.toml")
    assert load().server.port == 8080
    monkeypatch.setenv("TTS_RECEIVER_CONFIG", str(other))
    assert load().server.port == 9999


def test_relative_paths_start_from_the_files_folder(write: Write, tmp_path: Path) -> None:
    assert load(write(GOOD, "etc/receiver.toml")).base == (tmp_path / "etc").resolve()
    assert load(Path("etc/receiver.toml")).base == (tmp_path / "etc").resolve()


def test_a_file_that_is_named_but_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    [(where, what)] = problems(tmp_path / "none.toml").items()
    assert where.endswith("none.toml")
    assert "tts-receiver init" in what


@pytest.mark.parametrize("text", ["[sources", "a = ", "[a]\n[a]"])
def test_a_file_that_is_not_toml_is_an_error_with_its_place(write: Write, text: str) -> None:
    [what] = problems(write(text)).values()
    assert what.startswith("is not TOML: ")
    assert "line" in what or "end of document" in what


def test_a_file_that_is_not_text_or_not_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    assert "is not TOML" in next(iter(problems(tmp_path / "binary.toml").values()))
    assert "cannot be read" in next(iter(problems(tmp_path).values()))


# every problem at once


def test_every_problem_is_reported_at_once_with_its_place_and_the_nearest_name(write: Write) -> None:
    file = write(
        """
        [servr]
        port = 1
        [server]
        prot = 8080
        port = 99999
        [store]
        retention_days = 1
        [logs]
        level = "loud"
        [sources.one]
        provider = "aitss"
        signing_secrets = ["another_secret_0123456789"]
        [sources.two]
        provider = "aitts"
        [sources.three]
        signing_secrets = ["another_secret_0123456789"]
        [sources.four]
        provider = "aitts"
        signing_secret = ["x"]
        tolerance_seconds = -1
        [sources.Five]
        provider = "aitts"
        signing_secrets = ["another_secret_0123456789"]
        """
    )
    found = problems(file)
    assert "did you mean 'server'?" in found["servr"]
    assert "did you mean 'port'?" in found["server.prot"]
    assert "65535" in found["server.port"]
    assert "2" in found["store.retention_days"]
    assert "'info'" in found["logs.level"]
    assert "did you mean 'aitts'?" in found["sources.one.provider"]
    assert "is missing" in found["sources.two.signing_secrets"]
    assert "api_key" in found["sources.two.signing_secrets"]
    assert found["sources.three.provider"] == "is missing"
    assert "did you mean 'signing_secrets'?" in found["sources.four.signing_secret"]
    assert "greater than 0" in found["sources.four.tolerance_seconds"]
    assert any("lower-case" in what for where, what in found.items() if where.startswith("sources.Five"))


@pytest.mark.parametrize("key", ["first_seconds", "min_seconds", "max_seconds", "deadline_seconds"])
def test_a_wait_between_polls_ends_within_a_year(write: Write, key: str) -> None:
    for far in ("inf", "1e12"):
        found = problems(write(GOOD + f"[sources.aitts.poll]\n{key} = {far}\n"))
        assert "less than or equal to 31622400" in found[f"sources.aitts.poll.{key}"]


def test_what_is_right_can_be_used_beside_what_is_wrong(write: Write) -> None:
    settings, found = load_partial(write(GOOD + '[sources.bad]\nprovider = "nobody"\n[server]\nport = "x"\n'))
    assert set(settings.sources) == {"aitts"}
    assert settings.server.port == 8080
    assert {problem.where for problem in found} == {"server.port", "sources.bad.provider"}


def test_a_key_that_is_wrong_is_not_also_reported_as_missing(write: Write) -> None:
    file = write(f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = "[{SECRET}"\n')
    _, found = load_partial(file)
    assert [problem.where for problem in found] == ["sources.aitts.signing_secrets"]


def test_no_source_at_all_is_a_problem() -> None:
    assert "add a table such as [sources.aitts]" in problems()["sources"]


def test_a_table_that_is_no_table_is_a_problem(write: Write) -> None:
    found = problems(write('server = 5\nsources = "aitts"\n'))
    assert {"server", "sources"} <= set(found)


def test_the_nearest_name_or_what_there_is() -> None:
    assert suggestion("serve", ["server", "store"]) == "; did you mean 'server'?"
    assert suggestion("zzz", ["b", "a"]) == "; there is: a, b"
    assert suggestion("zzz", []) == ""


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        ("signing_secrets = []", "signing_secrets", "is missing"),
        ('signing_secrets = [""]', "signing_secrets.0.secret", "empty"),
        (f'signing_secrets = ["{SECRET}", "{SECRET}"]', "signing_secrets", "same id"),
        (f'signing_secrets = [{{id = "a b", secret = "{SECRET}"}}]', "signing_secrets.0.id", "pattern"),
        (f'signing_secrets = [{{secert = "{SECRET}"}}]', "signing_secrets.0.secert", "did you mean 'secret'"),
        (f'signing_secrets = [{{secret = "{SECRET}", not_after = "{SECRET}"}}]', "signing_secrets.0.not_after", "date"),
        ("signing_secrets = [5]", "signing_secrets.0", "must be a text, or a table"),
        (f'signing_secrets = "[{SECRET}"', "signing_secrets", "looks like JSON"),
        (f'signing_secrets = ["{SECRET}"]\npath = "webhook"', "path", "pattern"),
        (f'signing_secrets = ["{SECRET}"]\npath = "/a b"', "path", "pattern"),
        (f'signing_secrets = ["{SECRET}"]\npath = "/livez"', "path", "receiver's own"),
        (f'signing_secrets = ["{SECRET}"]\nstale = "maybe"', "stale", "'quarantine' or 'reject'"),
        (f'signing_secrets = ["{SECRET}"]\nbase_url = "http://a.example"', "base_url", "https"),
        (f'signing_secrets = ["{SECRET}"]\nbase_url = "https://u:{SECRET}@a.example"', "base_url", "credentials"),
        (f'signing_secrets = ["{SECRET}"]\nbase_url = "a.example"', "base_url", "absolute"),
    ],
)
def test_a_source_that_cannot_work_is_refused_with_its_key(write: Write, lines: str, where: str, what: str) -> None:
    found = problems(write(f'[sources.aitts]\nprovider = "aitts"\n{lines}\n'))
    assert what in found[f"sources.aitts.{where}"]


@pytest.mark.parametrize(
    ("variable", "where", "what"),
    [
        ("TTS_RECEIVER_SOURCES__AITTS", "sources.aitts", "must be a table of keys"),
        ("TTS_RECEIVER_SERVER", "server", "must be a JSON object"),
    ],
)
def test_a_variable_that_should_be_a_table_is_told_in_our_words(
    write: Write, monkeypatch: pytest.MonkeyPatch, variable: str, where: str, what: str
) -> None:
    monkeypatch.setenv(variable, "{bad")
    assert problems(write(GOOD))[where].startswith(what)


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ('"customer"', "search.metadata", "list"),
        ('["a=b"]', "search.metadata.0", "must not have '='"),
        ('["a", " b"]', "search.metadata.1", "without spaces around it"),
        ('[""]', "search.metadata.0", "1 to 64 characters"),
        (f'["{"x" * 65}"]', "search.metadata.0", "1 to 64 characters"),
        ('["a", "a"]', "search.metadata", "has 'a' twice"),
        (str([f"k{n}" for n in range(17)]), "search.metadata", "at most 16"),
        ("[1]", "search.metadata.0", "string"),
    ],
)
def test_keys_that_could_not_be_asked_for_are_refused(write: Write, value: str, where: str, what: str) -> None:
    found = problems(write(f"[search]\nmetadata = {value}\n{GOOD}"))
    assert what in found[where], found


def test_two_sources_may_not_have_one_path(write: Write) -> None:
    text = "\n".join(
        f'[sources.{name}]\nprovider = "aitts"\nsigning_secrets = ["another_secret_0123456789"]\npath = "/hook"'
        for name in ("one", "two")
    )
    assert "also the path of source one" in problems(write(text))["sources.two.path"]


def test_a_path_may_not_be_the_default_path_of_another_source(write: Write) -> None:
    text = (
        GOOD
        + '[sources.b]\nprovider = "aitts"\nsigning_secrets = ["another_secret_0123456789"]\npath = "/webhooks/aitts"\n'
    )
    assert "also the path of" in str(problems(write(text)))


def test_a_service_on_the_users_own_network_may_be_plain_http(write: Write) -> None:
    text = GOOD + 'base_url = "http://127.0.0.1:9000/"\nallow_private_addresses = true\n'
    assert load(write(text)).sources["aitts"].origin == "http://127.0.0.1:9000"


# secrets


def test_secrets_have_ids_of_their_own_or_by_a_hash_and_their_validity(write: Write) -> None:
    settings = load(
        write(
            """
            [sources.aitts]
            provider = "aitts"
            signing_secrets = [
              "plain-secret-0123456789",
{id = "old", secret = "old-secret-01234", not_before = 2026-01-01T00:00:00Z, not_after = 2026-06-01T00:00:00},
            ]
            """
        )
    )
    plain, old = settings.sources["aitts"].signing_keys()
    assert plain.id.startswith("key-")
    assert "plain" not in plain.id
    assert (plain.not_before, plain.not_after) == (None, None)
    assert (old.id, old.not_before, old.not_after) == ("old", 1_767_225_600, 1_780_272_000)


def test_the_id_of_a_secret_without_one_stays_the_same_and_differs_between_secrets() -> None:
    def id_of(secret: str) -> str:
        return Source.model_validate({"provider": "aitts", "signing_secrets": [secret]}).signing_keys()[0].id

    assert id_of("one" * 6) == id_of("one" * 6) != id_of("two" * 6)


def test_no_secret_is_in_a_repr_or_dump(write: Write) -> None:
    settings = load(write(GOOD))
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in shown
        assert "tts_live_key" not in shown
    assert SECRET not in repr(settings.sources["aitts"].signing_keys())
    assert set(settings.secrets()) == {SECRET, "tts_live_key"}


def test_what_is_wrong_beside_a_secret_does_not_show_it(write: Write) -> None:
    file = write(GOOD + f'signing_secretz = ["{SECRET}"]\nstale = "{SECRET}"\n[store]\nurl = 5\n')
    assert set(problems(file)) == {"sources.aitts.signing_secretz", "sources.aitts.stale", "store.url"}


_VALUES: dict[str, Any] = {
    "provider": st.just("aitts") | st.text(max_size=5),
    "api_key": st.just(SECRET) | st.integers(),
    "signing_secrets": st.sampled_from(
        [[SECRET], SECRET, f'["{SECRET}"]', [{"secret": SECRET}], [{"id": SECRET * 3, "secret": SECRET}], [[SECRET]],
         {"secret": SECRET}, [f" {SECRET}"], [SECRET, SECRET], f"[{SECRET}", 7]
    ),
    "tolerance_seconds": st.sampled_from([1, -1, SECRET]),
    "stale": st.sampled_from(["reject", SECRET]),
    "path": st.sampled_from(["/a", SECRET, "/livez"]),
    "base_url": st.sampled_from([f"https://x:{SECRET}@a.example", "https://a.example", SECRET]),
    "typo": st.just(SECRET),
}  # fmt: skip


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(source=st.fixed_dictionaries({}, optional=_VALUES))
def test_no_configuration_however_wrong_shows_a_secret_in_its_errors(write: Write, source: dict[str, Any]) -> None:
    def toml(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return json.dumps(value).replace("\x7f", "\\u007f")

    file = write("[sources.aitts]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in source.items()))
    try:
        shown, found = repr(load(file)), []
    except ConfigError as error:
        shown, found = str(error), list(error.problems)
    assert SECRET not in shown
    assert all(isinstance(problem, ConfigProblem) and problem.where and problem.what for problem in found)


# environment and secrets directory


def test_the_environment_overrides_the_file_key_by_key(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SERVER__PORT", "9000")
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__STALE", "reject")
    settings = load(write(GOOD + '[server]\nport = 1\nhost = "0.0.0.0"\n'))
    assert (settings.server.port, settings.server.host) == (9000, "0.0.0.0")
    assert settings.sources["aitts"].stale == "reject"
    assert secrets_of(settings.sources["aitts"]) == [SECRET]


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__PROVIDER", "aitts")
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", SECRET)
    assert load().sources["aitts"].signing_keys()[0].secret == SECRET.encode()


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        (f'["{SECRET}", {{"id": "old", "secret": "old-secret-0123456789"}}]', [SECRET, "old-secret-0123456789"]),
        (f'  ["{SECRET}"]  ', [SECRET]),
        (SECRET, [SECRET]),
        (f"{SECRET}\nold-secret-0123456789\n", [SECRET, "old-secret-0123456789"]),
    ],
)
def test_secrets_in_the_environment_are_json_or_one_a_line(
    monkeypatch: pytest.MonkeyPatch, write: Write, value: str, secrets: list[str]
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", value)
    source = load(write('[sources.aitts]\nprovider = "aitts"\n')).sources["aitts"]
    assert secrets_of(source) == secrets


@pytest.mark.parametrize(
    "secret", ["1" * 16, "1e5000000000000000", '"a-quote-and-long-enough', '{"a":1234567890123}', "0" * 16]
)
def test_a_secret_in_the_environment_that_looks_like_json_is_the_text_it_is(
    monkeypatch: pytest.MonkeyPatch, write: Write, secret: str
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__SIGNING_SECRETS", secret)
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__API_KEY", secret)
    source = load(write(GOOD)).sources["aitts"]
    assert secrets_of(source) == [secret]
    assert source.api_key is not None
    assert source.api_key.get_secret_value() == secret


def test_a_table_in_the_environment_may_be_json(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS", '{"path": "/hook", "tolerance_seconds": 60}')
    settings = load(write(GOOD))
    assert settings.webhook_path("aitts") == "/hook"
    assert settings.sources["aitts"].tolerance_seconds == 60


def test_json_in_the_environment_that_is_none_is_a_problem_without_its_text(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES", "{" + SECRET)
    assert problems(write(GOOD))


@pytest.mark.parametrize(
    ("variable", "what"),
    [
        ("TTS_RECEIVER_SERVR__PORT", "sets nothing"),
        ("TTS_RECEIVER_PORT", "sets nothing"),
        ("TTS_RECEIVER_SECRET_DIR", "sets nothing"),
        ("TTS_RECEIVER_SERVER__PROT", ""),
    ],
)
def test_a_variable_that_sets_nothing_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, write: Write, variable: str, what: str
) -> None:
    monkeypatch.setenv(variable, "1")
    found = problems(write(GOOD))
    if what:
        assert what in found[variable]
    else:
        assert "did you mean 'port'?" in found["server.prot"]


def test_a_secrets_directory_gives_secrets_and_the_environment_wins_over_it(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "run-secrets"
    folder.mkdir()
    (folder / "sources__aitts__api_key").write_text("from-the-folder\n")
    (folder / "sources__aitts__signing_secrets").write_text(f"{SECRET}\nold-secret-0123456789\n")
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(folder))
    source = load(write('[sources.aitts]\nprovider = "aitts"\napi_key = "from-the-file"\n')).sources["aitts"]
    assert source.api_key is not None
    assert source.api_key.get_secret_value() == "from-the-folder"
    assert secrets_of(source) == [SECRET, "old-secret-0123456789"]
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__AITTS__API_KEY", "from-the-environment")
    source = load(tmp_path / "receiver.toml").sources["aitts"]
    assert source.api_key is not None
    assert source.api_key.get_secret_value() == "from-the-environment"


def test_a_secrets_directory_that_is_named_but_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", "no/such/folder")
    assert "not a folder" in problems(write(GOOD))["TTS_RECEIVER_SECRETS_DIR"]


def test_files_of_others_in_the_secrets_directory_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "run-secrets"
    (folder / "another").mkdir(parents=True)
    (folder / "database_password").write_text("x")
    monkeypatch.setenv("TTS_RECEIVER_SECRETS_DIR", str(folder))
    assert "aitts" in load(write(GOOD)).sources


def test_settings_can_be_made_in_code_and_the_environment_does_not_reach_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SERVER__PORT", "9000")
    made = Settings(sources={"aitts": {"provider": "aitts", "signing_secrets": [SECRET]}}, base=tmp_path)
    assert made.server.port == 8080


def test_conditions_come_from_file_and_environment_with_their_types(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(write(GOOD + '[handlers.log]\nwhere = "aitts"\n')) == {
        "handlers.log.where": "must be a table of keys"
    }
    file = write(GOOD + "[handlers.log.where]\nmetadata.plan.tier = [1, true]\n")
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__SOURCE", "aitts")
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__METADATA__CUSTOMER", "7")
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__MORE__WHERE", '{"type": ["job.*", "test"]}')
    handlers = load(file).handlers
    assert handlers["log"].where == {"source": "aitts", "metadata": {"customer": 7, "plan": {"tier": [1, True]}}}
    assert handlers["more"].where == {"type": ["job.*", "test"]}


def test_a_table_within_where_is_json_in_a_variable_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(GOOD + '[handlers.log.where]\nsource = "aitts"\nmetadata = {plan = "pro"}\n')
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__METADATA", '{"customer": "acme", "plan": "basic"}')
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__METADATA__PLAN", '["pro", "basic"]')
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__TYPE", '["job.*", "test"]')
    monkeypatch.setenv("TTS_RECEIVER_HANDLERS__LOG__WHERE__SOURCE", "true")
    assert load(file).handlers["log"].where == {
        "source": "true",
        "type": ["job.*", "test"],
        "metadata": {"customer": "acme", "plan": ["pro", "basic"]},
    }


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("handlers.log.where", "must be a table of keys"),
        ("handlers.log.tls", "must be a table of keys"),
        ("handlers.log", "must be a table of keys"),
        ("sources.aitts.poll", "must be a JSON object"),
        ("server.trusted_proxies", "must be a JSON object or list"),
    ],
)
def test_broken_json_is_named_with_its_variable_and_not_shown(
    write: Write, monkeypatch: pytest.MonkeyPatch, key: str, fault: str
) -> None:
    variable = f"TTS_RECEIVER_{key.upper().replace('.', '__')}"
    monkeypatch.setenv(variable, '{"hidden":')
    found = problems(write(GOOD))[key]
    assert found.startswith(fault)
    assert found.endswith(
        f"; its text is not JSON: expecting value (character 11) (it comes from the variable {variable})"
    )
    assert "hidden" not in found


def test_a_field_of_the_settings_that_is_no_table_is_no_variable_either(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTS_RECEIVER_BASE", "x")
    assert list(problems(write(GOOD))) == ["TTS_RECEIVER_BASE"]


def test_without_the_default_file_the_problem_says_how_to_write_one(write: Write) -> None:
    hint = "there is no receiver.toml here; `tts-receiver init` writes one"
    assert hint in problems()["sources"]
    write("")
    assert problems()["sources"] == "there is no source; add a table such as [sources.aitts]"
    assert "init" not in problems(write("", "other.toml"))["sources"]


@pytest.mark.parametrize("line", ["verify = false", 'key = "key.pem"\ncertificate = 7'])
def test_a_table_is_not_blamed_for_a_key_that_has_its_own_problem(write: Write, line: str) -> None:
    [key] = problems(write(f"{GOOD}[handlers.log.tls]\n{line}\n"))
    assert key in ("handlers.log.tls.verify", "handlers.log.tls.certificate")
    assert problems(write(f"{GOOD}[handlers.log.tls]\n"))["handlers.log.tls"].startswith("is empty")
