"""The table of a signature: presets and what replaces their keys, what is refused and why, and what never breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.model.signature import PRESETS, SCHEMES
from receiver.settings import SignatureTable, Source, load
from receiver.settings.signature import NOT_VERIFIABLE
from tests.unit.settings.support import SECRET, Write, problems

BEFORE = f'[sources.voices]\nprovider = "generic"\nsigning_secrets = ["{SECRET}"]\n'
AFTER = '\n[sources.voices.generic]\nevent = "type"\njob_id = "id"\n'


def config(table: str, source: str = "") -> str:
    return f"{BEFORE}{source}[sources.voices.signature]\n{table}{AFTER}"


def table(**keys: Any) -> SignatureTable:
    return SignatureTable.model_validate(keys)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_alone_is_the_scheme_of_that_name(name: str) -> None:
    assert table(preset=name).scheme is SCHEMES[name]


def test_each_key_beside_a_preset_replaces_one_of_its_keys() -> None:
    spec = table(preset="stripe", header="Acme-Signature", digest="SHA512").scheme.spec
    assert (spec.header, spec.digest, spec.prefix, spec.timestamp_prefix) == ("Acme-Signature", "sha512", "v1=", "t=")


def test_another_place_of_the_time_replaces_the_presets() -> None:
    spec = table(preset="stripe", timestamp_header="X-Time").scheme.spec
    assert (spec.timestamp_header, spec.timestamp_prefix) == ("X-Time", None)
    spec = table(preset="svix", timestamp_prefix="t,").scheme.spec
    assert (spec.timestamp_header, spec.timestamp_prefix) == (None, "t,")


@pytest.mark.parametrize(
    ("lines", "key", "what"),
    [
        ("", "header", "is missing; set it as the service documents it, or a preset: "),
        ('header = "X-A"', "signed_content", "is missing; set it as"),
        ('preset = "slack"', "preset", "there is no 'slack'; there is: "),
        ('preset = "stripe-like"', "preset", "there is no 'stripe-like'; did you mean 'stripe'? For any other"),
        ("preset = 5", "preset", "must be a text"),
        ('preset = "github"\ndigest = "sha1"', "digest", "'sha1' is a digest that is too weak"),
        ('preset = "github"\ndigest = "MD5"', "digest", "'md5' is a digest that is too weak"),
        ('preset = "github"\ndigest = "sha3"', "digest", "input should be 'sha256' or 'sha512'"),
        ('preset = "github"\nencoding = "base32"', "encoding", "input should be 'hex' or 'base64'"),
        ('preset = "github"\nseperator = ","', "seperator", "did you mean 'separator'?"),
        ('preset = "github"\nprefix = " x"', "prefix", "begins with white space"),
        ('preset = "github"\nprefix = 5', "prefix", "input should be a valid string"),
        ('preset = "github"\nheader = "authorization"', "header", "must not be authorization, which has credentials"),
        (
            'preset = "svix"\nid_header = "Content-Type"',
            "id_header",
            "must not be Content-Type, which every request has",
        ),
        ('preset = "github"\ntimestamp_format = "seconds"', "timestamp_format", "has no effect"),
        ('preset = "github"\ntimestamp_header = "X-T"', "timestamp_header", "its value is not signed; add {timestamp}"),
        (
            'preset = "stripe"\nsigned_content = "{body}"',
            "timestamp_prefix",
            "the preset sets timestamp_prefix: to leave it",
        ),
        ('preset = "svix"\nheader = "Svix-Id"', "id_header", "is already set as header"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key_and_nothing_else(
    write: Write, lines: str, key: str, what: str
) -> None:
    found = problems(write(config(lines)))
    assert set(found) == {f"sources.voices.signature.{key}"}
    assert what in found[f"sources.voices.signature.{key}"]


def test_unknown_keys_are_reported_beside_what_is_missing(write: Write) -> None:
    found = problems(write(config('header = "X-A"\nscheme = "stripe"\ndigst = "sha256"')))
    assert {where.rpartition(".")[2] for where in found} == {"signed_content", "scheme", "digst"}


@pytest.mark.parametrize("word", sorted(NOT_VERIFIABLE))
def test_what_cannot_be_verified_is_refused_with_the_reason_and_what_to_do(write: Write, word: str) -> None:
    found = problems(write(config(f'preset = "{word}"')))
    what = found["sources.voices.signature.preset"]
    assert what.startswith(f"'{word}' ")
    assert "oll its jobs" in what or "poll the jobs" in what


@pytest.mark.parametrize("key", ["tolerance_seconds = 60", 'stale = "reject"'])
def test_what_happens_to_old_deliveries_cannot_be_set_where_no_time_is_signed(write: Write, key: str) -> None:
    name = key.partition(" ")[0]
    [(where, what)] = problems(write(config('preset = "github"', f"{key}\n"))).items()
    assert where == f"sources.voices.{name}"
    assert what.startswith("has no effect, because the signature has no time")
    assert load(write(config('preset = "stripe"', f"{key}\n"))).sources["voices"].receives_webhooks


def test_a_built_in_provider_knows_how_it_is_signed(write: Write) -> None:
    text = f'[sources.a]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\nsignature = {{ preset = "tts" }}\n'
    [(where, what)] = problems(write(text)).items()
    assert (where, "only for provider = 'generic'" in what) == ("sources.a.signature", True)


def test_a_key_of_another_digest_and_encoding_keeps_its_validity(write: Write) -> None:
    text = f"""
[sources.voices]
provider = "generic"
signing_secrets = [{{ secret = "{"0123456789abcdef" * 2}", not_after = 2026-12-31T00:00:00Z }}]
[sources.voices.signature]
preset = "github"
digest = "sha512"
key_encoding = "hex"
{AFTER}"""
    [key] = load(write(text)).sources["voices"].signing_keys()
    assert (key.digest, len(key.secret), key.not_after) == ("sha512", 16, 1798675200.0)


def test_the_environment_can_describe_a_signature(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__VOICES__SIGNATURE__HEADER", "X-A")
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__VOICES__SIGNATURE__SIGNED_CONTENT", "{body}")
    scheme = load(write(BEFORE + AFTER)).sources["voices"].scheme
    assert scheme is not None
    assert scheme.headers == ("x-a",)


_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["stripe", "svix", "github", "basic", "X-A", "x-a", "{body}", "{timestamp}.{body}", "{id}.{timestamp}.{body}",
     "{id}{body}", "v1=", "t=", "v1,", ",", ";", " ", "hex", "base64", "text", "sha256", "sha512", "sha1", "seconds",
     "milliseconds", "iso8601", "Authorization", "\ud800"]
)  # fmt: skip
_VALUES: Any = _TEXTS | st.integers() | st.booleans() | st.none() | st.lists(_TEXTS, max_size=2)
_KEYS = st.sampled_from([*SignatureTable.model_fields, "typo"])


@given(keys=st.dictionaries(_KEYS, _VALUES))
def test_no_table_raises_anything_but_a_value_error(keys: dict[str, Any]) -> None:
    """Pydantic's own error is a ValueError, which the load turns into problems."""
    try:
        found = table(**keys)
    except ValueError:
        return
    body = b'{"type":"a"}'
    secret = {"text": "0123456789abcdef", "hex": "00" * 16, "base64": "whsec_" + "AAAA" * 6}[found.key_encoding]
    signed = found.scheme.sign(secret, body, 1_700_000_000, "i")
    headers = [(name.lower().encode(), value.encode()) for name, value in signed]
    assert found.scheme.verify(headers, body, [found.scheme.parse_secret("k", secret)], 0).key_id == "k"
    generic = {"event": "type", "job_id": "id"}
    Source.model_validate({"provider": "generic", "generic": generic, "signature": found, "signing_secrets": [secret]})


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(keys=st.dictionaries(_KEYS, _TEXTS.filter(lambda text: "\ud800" not in text and "\x00" not in text)))
def test_no_text_in_the_file_raises_anything_but_a_configuration_error(write: Write, keys: dict[str, str]) -> None:
    texts = {key: json.dumps(value, ensure_ascii=True) for key, value in keys.items()}
    if any("\\ud" in text for text in texts.values()):
        return  # no character of TOML
    lines = "\n".join(f"{key} = {text}" for key, text in texts.items())
    try:
        load(write(config(lines)))
    except ConfigError as error:
        where = {problem.where.rsplit(".", 1)[0] for problem in error.problems}
        assert where <= {"sources.voices.signature", "sources.voices"}
