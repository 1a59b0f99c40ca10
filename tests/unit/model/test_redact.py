"""Nothing secret survives in what is written down."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pydantic_core
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from receiver.model.redact import MIN_PREFIX_CHARACTERS, MIN_SECRET_CHARACTERS, Redactor, truncate
from tests.cost import max_cpu_seconds

SECRET = "tts_signing_secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to see", "nothing to see"),
        (f"key {SECRET} refused", "key [redacted] refused"),
        (f"{SECRET}{SECRET}", "[redacted][redacted]"),
        ("GET https://s.example/a.wav?sig=abc&x=1 failed", "GET https://s.example/a.wav?[redacted] failed"),
        ("https://s.example/a#token=abc", "https://s.example/a?[redacted]"),
        ("https://user:pass@s.example/a", "https://s.example/a"),
        ("https://user:p@ss@s.example/a", "https://s.example/a"),
        ("https://s.example/@user/a", "https://s.example/@user/a"),
        ("postgresql://u:pw@db:5432/tts?sslmode=x", "postgresql://db:5432/tts?[redacted]"),
        ('{"url":"https://s.example/a?sig=abc","n":1}', '{"url":"https://s.example/a?[redacted]","n":1}'),
        (
            "<https://s.example/?a=b>, 'https://t.example?c'",
            "<https://s.example/?[redacted]>, 'https://t.example?[redacted]'",
        ),
        (
            "two http://a.example/?x http://b.example/?y",
            "two http://a.example/?[redacted] http://b.example/?[redacted]",
        ),
        ("HTTPS://S.EXAMPLE/?SIG=abc", "HTTPS://S.EXAMPLE/?[redacted]"),
        ("1https://s.example/?sig=abc", "1https://s.example/?[redacted]"),
        ("_https://u:p@s.example/", "_https://s.example/"),
        ("seehttps://s.example/?sig=abc", "seehttps://s.example/?[redacted]"),
        ("https://[::1]:8080/a?x", "https://[::1]:8080/a?[redacted]"),
        ("what? not a url #1", "what? not a url #1"),
        ("", ""),
    ],
)
def test_secrets_queries_and_credentials_are_cut_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert Redactor([SECRET])(text) == shown


def test_a_secret_is_found_as_it_looks_inside_json() -> None:
    secret = 'quote" back\\slash \t tab ü € 😀'
    redact = Redactor([secret])
    for ensure_ascii in (True, False):
        line = json.dumps({"detail": f"bad {secret}!"}, ensure_ascii=ensure_ascii)
        assert json.loads(redact(line)) == {"detail": "bad [redacted]!"}
    assert json.loads(redact(pydantic_core.to_json({"detail": secret}).decode())) == {"detail": "[redacted]"}


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redactor(["abcd", "abcdefgh"])("xabcdefghx") == "x[redacted]x"


def test_very_short_secrets_are_not_looked_for() -> None:
    assert Redactor(["a" * (MIN_SECRET_CHARACTERS - 1)])("banaaana") == "banaaana"


@pytest.mark.parametrize(
    "form", [quote, quote_plus, lambda text: quote(text, safe=""), lambda text: urlencode({"k": text})]
)
def test_a_secret_is_found_as_it_looks_in_an_address_or_a_form(form: Callable[[str], str]) -> None:
    redact = Redactor(["a+b/c=d e&f?g"])
    for text in (form("a+b/c=d e&f?g"), re.sub("%..", lambda match: match[0].lower(), form("a+b/c=d e&f?g"))):
        assert redact(f"x {text} y").replace("k=", "") == "x [redacted] y"


@pytest.mark.parametrize("longest", range(1, 60))
def test_a_text_is_cut_after_its_secrets_are(longest: int) -> None:
    shown = Redactor([SECRET]).bounded(f"the key {SECRET} and {SECRET} were refused", longest)
    assert len(shown) <= longest
    assert SECRET[:MIN_PREFIX_CHARACTERS] not in shown
    assert shown == truncate("the key [redacted] and [redacted] were refused", longest)


@pytest.mark.parametrize("spell", [str, json.dumps, lambda text: f'{{"a": {json.dumps(json.dumps(text))}}}', quote])
def test_a_secret_that_was_cut_before_is_found_by_its_beginning(spell: Callable[[str], str]) -> None:
    secret = "tts/signing+secret with 'quotes' of many kinds"
    text = spell(f"key {secret} refused")
    for longest in range(len(text)):
        before = truncate(text, longest)
        assert "tts/sign" not in Redactor([secret])(before), before
        assert "tts%2Fsign" not in Redactor([secret])(before).replace("/", "%2F"), before


def test_what_only_looks_like_a_cut_secret_stays() -> None:
    redact = Redactor(["whsec_0123456789abcdef"])
    for text in ("whsec_… is what it begins with", "whsec_0…", "whsec_0123, not the rest", "the end …", "…"):
        assert redact(text) == text
    assert redact("a whsec_01234… b whsec_0123456789abcde… c") == "a [redacted]… b [redacted]… c"


_SECRETS = st.text(min_size=MIN_SECRET_CHARACTERS, max_size=30).filter(
    lambda s: s == s.strip() and not any(0xD800 <= ord(char) < 0xE000 for char in s)
)


@given(secrets=st.lists(_SECRETS, min_size=1, max_size=4), before=st.text(), after=st.text())
def test_no_secret_survives_in_any_text_plain_or_as_json(secrets: list[str], before: str, after: str) -> None:
    assume(not any(secret in "?[redacted]" or "[redacted]" in secret or "://" in secret for secret in secrets))
    assume("[" not in "".join(secrets) and "]" not in "".join(secrets))  # parts of the mark itself
    redact = Redactor(secrets)
    for secret in secrets:
        assert secret not in redact(before + secret + after)
        for line in (json.dumps(before + secret + after), pydantic_core.to_json(before + secret + after).decode()):
            assert json.dumps(secret)[1:-1] not in redact(line)
            assert pydantic_core.to_json(secret).decode()[1:-1] not in redact(line)


_SAFE = st.text(string.ascii_letters + string.digits + "-_.~%&=+:;,", min_size=1, max_size=20)
_CONTEXT = st.text(string.ascii_letters + string.digits + " _-\n\t.,()<>\"'éß", max_size=10)


@given(
    before=_CONTEXT,
    scheme=st.sampled_from(["http", "https", "postgresql", "s3", "HTTPS"]),
    host=st.sampled_from(["a.example", "127.0.0.1:80", "[::1]:8443"]),
    path=st.sampled_from(["", "/", "/a/b.wav", "/@x"]),
    mark=st.sampled_from("?#"),
    hidden=_SAFE,
)
@example("0", "https", "a.example", "/", "?", "HIDDENHIDDEN")
@example("é", "https", "a.example", "", "#", "HIDDENHIDDEN")
def test_no_url_query_survives_whatever_stands_before_it(
    before: str, scheme: str, host: str, path: str, mark: str, hidden: str
) -> None:
    hidden = f"QQQ{hidden}QQQ"
    assert hidden not in Redactor()(f"{before}{scheme}://{host}{path}{mark}{hidden} end")


@given(before=_CONTEXT, user=_SAFE, password=st.text(string.ascii_letters + "@:%!$", min_size=1))
@example("1", "u", "p")
@example("", "u", "p@p")
def test_no_urls_credentials_survive_whatever_stands_before_it(before: str, user: str, password: str) -> None:
    hidden = f"QQQ{password}QQQ"
    shown = Redactor()(f"{before}https://{user}:{hidden}@a.example/path end")
    assert "QQQ" not in shown
    assert "a.example/path end" in shown


@pytest.mark.parametrize(
    "piece", ["a.", "a", "a+", "://", "a://", "://a@", "@", "eyJ", "?", "…", SECRET[:9], f"{SECRET[:9]}…", "%2F"]
)
def test_a_long_text_is_searched_in_linear_time(piece: str) -> None:
    text = "https://a.example/ " + piece * 400_000
    with max_cpu_seconds(10):
        Redactor([SECRET])(text)
