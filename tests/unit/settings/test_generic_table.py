"""The table of a generic source: what is enough, what is refused and by which key, and that no text breaks the load."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.providers.protocols import PollingProvider, WebhookProvider
from receiver.providers.types import Account
from receiver.settings import Source, load
from tests.unit.settings.support import SECRET, Write, problems

HOOKED = f"""
[sources.voices]
provider = "generic"
signing_secrets = ["{SECRET}"]

[sources.voices.signature]
preset = "elevenlabs"

[sources.voices.generic]
event = "type"
job_id = "data.id"
"""
POLLED = """
[sources.voices]
provider = "generic"
base_url = "https://api.example/tts"
api_key = "a-key"

[sources.voices.generic]
status = "state"
status_url = "/v1/jobs/{job_id}"
"""


def source_of(write: Write, text: str) -> Source:
    return load(write(text)).sources["voices"]


def test_webhooks_alone_need_no_address_and_no_key(write: Write) -> None:
    source = source_of(write, HOOKED)
    assert source.scheme is not None
    assert source.scheme.name == "elevenlabs"
    assert (isinstance(source.provider, WebhookProvider), isinstance(source.provider, PollingProvider)) == (True, False)
    assert len(source.signing_keys()) == 1
    assert (source.origin, source.provider.retry_window_seconds > 0) == ("", True)


def test_polls_alone_need_no_secret_and_bring_no_webhook(write: Write) -> None:
    source = source_of(write, POLLED)
    assert (source.scheme, source.signing_keys()) == (None, ())
    assert (isinstance(source.provider, WebhookProvider), isinstance(source.provider, PollingProvider)) == (False, True)
    assert source.schedule.first_seconds == 0
    request = source.provider.status_request(source.account, "a/b")
    assert request.url == "https://api.example/tts/v1/jobs/a%2Fb"
    assert request.headers["Authorization"] == "Bearer a-key"


def test_it_may_have_both_and_its_limit_is_kept(write: Write) -> None:
    both = HOOKED.replace("[sources.voices.signature]", 'base_url = "https://a.example"\n[sources.voices.signature]')
    source = source_of(write, both + 'status = "s"\nstatus_url = "/j?id={job_id}"\nmin_poll_seconds = 30\n')
    assert (isinstance(source.provider, WebhookProvider), isinstance(source.provider, PollingProvider)) == (True, True)
    assert (source.schedule.first_seconds, source.schedule.min_seconds) == (120, 30)


def test_a_status_address_may_be_written_whole(write: Write) -> None:
    whole = POLLED.replace('"/v1/jobs', '"https://api.example/tts/v1/jobs')
    source = source_of(write, whole)
    assert source.provider.status_request(source.account, "j").url == "https://api.example/tts/v1/jobs/j"


def test_each_source_has_an_instance_of_its_own(write: Write) -> None:
    text = HOOKED + POLLED.replace("sources.voices", "sources.other")
    one, other = load(write(text)).sources.values()
    assert one.provider is not other.provider
    assert one.provider is one.provider


def test_a_header_that_would_identify_events_is_no_key_any_more_and_what_holds_is_said(write: Write) -> None:
    text = problems(write(HOOKED + 'delivery_id_header = "X-Id"\n'))["sources.voices.generic.delivery_id_header"]
    assert text.startswith("is no longer a key: an unsigned header does not identify events. Delete it")


@pytest.mark.parametrize(
    ("old", "lines"),
    [
        ('scheme = "github-like"', ['preset = "github"']),
        ('scheme = "elevenlabs"', ['preset = "elevenlabs"']),
        ('scheme = "stripe-like"\nsignature_header = "Acme-Sign"', ['preset = "stripe"', 'header = "Acme-Sign"']),
        ('signature_header = "Acme-Sign"', ['preset = "stripe"', 'header = "Acme-Sign"']),
        ('scheme = "acme"', ['preset = "…"']),
    ],
)
def test_the_keys_that_described_the_signature_show_the_lines_that_replace_them(
    write: Write, old: str, lines: list[str]
) -> None:
    before = HOOKED.replace('[sources.voices.signature]\npreset = "elevenlabs"\n', "") + old + "\n"
    [(where, what)] = problems(write(before)).items()
    assert where == f"sources.voices.generic.{old.partition(' ')[0]}"
    old_keys = " and ".join(line.partition(" ")[0] for line in old.splitlines())
    assert what == f"has moved. Write {' and '.join(lines)} in a table [sources.voices.signature] instead of {old_keys}"
    if "…" in lines[0]:
        return
    table = "\n".join(["[sources.voices.signature]", *lines, "[sources.voices.generic]"])
    after = before.replace(old, "").replace("[sources.voices.generic]", table)
    assert source_of(write, after).receives_webhooks


def test_any_header_can_carry_a_signature_like_stripes(write: Write) -> None:
    text = HOOKED.replace('"elevenlabs"', '"stripe"\nheader = "Acme-Signature"')
    scheme = source_of(write, text).scheme
    assert scheme is not None
    assert scheme.headers == ("acme-signature",)


def test_the_environment_may_give_a_place_or_a_list_of_them(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__VOICES__GENERIC__JOB_ID", "id")
    monkeypatch.setenv("TTS_RECEIVER_SOURCES__VOICES__GENERIC__STATUS", '["data.status", "status"]')
    table = source_of(write, HOOKED).generic
    assert table is not None
    assert (table.job_id, table.status) == (("id",), ("data.status", "status"))


def without(text: str, key: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(f"{key} ="))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (without(HOOKED, "signing_secrets"), "signing_secrets", "is missing"),
        (HOOKED.replace('[sources.voices.signature]\npreset = "elevenlabs"', ""), "signature",
         "the end of a job could never be known"),
        (without(HOOKED, "job_id"), "generic.job_id", "is missing"),
        (without(HOOKED, "event"), "generic.event", "no delivery could be read"),
        (without(HOOKED, "event") + '\nevent_header = "X-E"\n', "generic.event", "can only name a test"),
        (without(POLLED, "status"), "generic.status", "is missing"),
        (without(POLLED, "api_key"), "api_key", "cannot be polled without a key"),
        (without(POLLED, "base_url"), "base_url", "is missing"),
        (POLLED.replace("https:", "http:"), "base_url", "must be https"),
        (POLLED.replace("https://api", "https://u:p@api"), "base_url", "without credentials"),
        (POLLED.replace("{job_id}", "{id}"), "generic.status_url", "must contain {job_id}"),
        (POLLED.replace("{job_id}", "{job_id}/{job_id}"), "generic.status_url", "once"),
        (POLLED.replace("{job_id}", "{job_id}/{x}"), "generic.status_url", "and braces"),
        (POLLED.replace("/v1/", "//evil.example/"), "generic.status_url", "one slash"),
        (POLLED.replace("/v1/", "https://evil.example/"), "generic.status_url", "is sent nowhere else"),
        (POLLED.replace("/v1/", "https://api.example/v1/"), "generic.status_url", "is sent nowhere else"),
        (POLLED.replace("/v1/", "https://api.example/ttsx/"), "generic.status_url", "is sent nowhere else"),
        (POLLED.replace("/v1/", ".evil.example/"), "generic.status_url", "one slash"),
        (POLLED.replace("/v1/", "@evil.example/"), "generic.status_url", "one slash"),
        (POLLED.replace("/v1/", "/../"), "generic.status_url", ". or .. as a segment"),
        (POLLED.replace("/v1/", "/v 1/"), "generic.status_url", "in ASCII"),
        (POLLED.replace("/v1/", "/v1#/"), "generic.status_url", "in ASCII"),
        (POLLED.replace("/v1/", "/vü/"), "generic.status_url", "in ASCII"),
        (HOOKED + 'event_header = "Authorization"\n', "generic.event_header", "credentials"),
        (HOOKED + 'event_header = "a b"\n', "generic.event_header", "pattern"),
        (HOOKED + 'auth_header = "Host"\n', "generic.auth_header", "HTTP client sets itself"),
        (HOOKED + 'auth_prefix = "a\\r\\nb"\n', "generic.auth_prefix", "pattern"),
        (HOOKED + "min_poll_seconds = 0\n", "generic.min_poll_seconds", "greater than 0"),
        (HOOKED + "completed_words = []\n", "generic.completed_words", "is empty"),
        (HOOKED + 'completed_words = ["Done"]\nfailed_words = [" DONE "]\n', "generic.failed_words", "both"),
        (HOOKED + 'failed_words = ["job.completed"]\n', "generic.failed_words", "both"),
        (HOOKED + 'status = "a..b"\n', "generic.status.0", "is not a path"),
        (HOOKED + 'status = ["a", "b.100.c"]\n', "generic.status.1", "index above 99"),
        (HOOKED + "status = 5\n", "generic.status", "must be a list"),
        (HOOKED + 'stauts = "a"\n', "generic.stauts", "did you mean 'status'?"),
        (HOOKED + "audio_needs_key = true\n", "base_url", "is missing"),
        (HOOKED.replace('"elevenlabs"', '"elvenlabs"'), "signature.preset", "'elevenlabs'"),
        (HOOKED.partition("[sources.voices.generic]")[0], "generic", "is missing"),
        (HOOKED.replace('"generic"', '"aitts"'), "generic", "only for provider = 'generic'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_key_and_nothing_else(
    write: Write, text: str, where: str, what: str
) -> None:
    found = problems(write(text))
    assert what in found[f"sources.voices.{where}"]
    assert set(found) == {f"sources.voices.{where}"}


def test_audio_with_the_key_needs_the_key(write: Write) -> None:
    text = HOOKED.replace("[sources.voices.signature]", 'base_url = "https://a.example"\n[sources.voices.signature]')
    assert "audio_needs_key" in problems(write(text + "audio_needs_key = true\n"))["sources.voices.api_key"]


def test_an_unknown_provider_may_have_been_meant_to_be_generic(write: Write) -> None:
    assert "'generic'" in problems(write('[sources.a]\nprovider = "generics"\n'))["sources.a.provider"]


_TEXT = st.text(max_size=30) | st.sampled_from(
    ["{job_id}", "/{job_id}", "//{job_id}", "/a?{job_id}#", "a.b", "a.0.b", "type", "[", "[1]", '["a"]', "tts",
     "Bearer ", "stripe", "standard-webhooks", "X-A", "\ud800", "completed", "failed"]
)  # fmt: skip
_VALUE: Any = _TEXT | st.integers() | st.booleans() | st.floats() | st.none() | st.lists(_TEXT, max_size=3)
_KEYS = ["scheme", "signature_header", "event_header", "event_id", "delivery_id_header", "event", "job_id", "status",
         "audio_url", "error_code", "error_message", "metadata", "completed_words", "failed_words", "status_url",
         "progress", "auth_header", "auth_prefix", "min_poll_seconds", "audio_needs_key", "typo"]  # fmt: skip


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    table=st.dictionaries(st.sampled_from(_KEYS), _VALUE),
    base_url=st.none() | _TEXT | st.just("https://api.example"),
    api_key=st.none() | st.text(max_size=5),
    signature=st.none() | st.just({"preset": "stripe"}),
)
def test_no_table_makes_the_source_raise_anything_but_a_value_error(
    table: dict[str, Any], base_url: str | None, api_key: str | None, signature: dict[str, str] | None
) -> None:
    """Pydantic's own error is a ValueError, which the load turns into problems."""
    given = {"provider": "generic", "generic": table, "base_url": base_url, "api_key": api_key, "signature": signature}
    try:
        source = Source.model_validate({**given, "signing_secrets": [SECRET]})
    except ValueError:
        return
    if isinstance(source.provider, PollingProvider):
        request = source.provider.status_request(source.account, "..")
        assert request.url.startswith(f"{source.origin}/")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=st.dictionaries(st.sampled_from(_KEYS), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)))
def test_no_text_in_the_file_makes_the_load_raise_anything_but_a_configuration_error(
    write: Write, table: dict[str, str]
) -> None:
    texts = {key: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") for key, value in table.items()}
    lines = [f"{key} = {text}" for key, text in texts.items()]
    with_all = "\n".join([HOOKED.partition("event")[0], *lines])
    try:
        source = source_of(write, with_all)
    except ConfigError as error:
        assert {problem.where.split(".")[1] for problem in error.problems} == {"voices"}  # noqa: PT017
        return
    assert source.provider.name == "generic"
    assert source.provider.audio_requests("", None, "j", {}) == []
    assert source.account == Account("", None)
