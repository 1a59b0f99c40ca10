"""Any signature that can be described: it verifies what it signs, nothing else, and has one reading."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.errors import SignatureError
from receiver.model.scheme import Key, Scheme
from receiver.model.signature import PRESETS, SCHEMES, make_scheme
from receiver.model.signature_spec import DIGEST_BYTES, SignatureSpec

NOW = 1_700_000_000
SECRETS = {
    "text": "a secret text 0123456789",
    "hex": b"0123456789abcdef".hex(),
    "base64": base64.b64encode(bytes(24)).decode(),
}
IDS = st.text(st.sampled_from("abcXYZ0189_"), min_size=1, max_size=12)

Lines = list[tuple[bytes, bytes]]

_LITERALS = st.text(st.sampled_from(".:|-/ v0="), max_size=3)
_NAMES = st.permutations(["body", "timestamp", "id"]).flatmap(
    lambda names: st.integers(1, 3).map(lambda count: [*dict.fromkeys(["body", *names[:count]])])
)


@st.composite
def described(draw: Any) -> dict[str, Any]:
    """The keys of a signature, which the grammar may refuse."""
    names = draw(st.permutations(draw(_NAMES)))
    content = draw(_LITERALS) + "".join(f"{{{name}}}{draw(_LITERALS)}" for name in names)
    in_element = "timestamp" in names and draw(st.booleans())
    separator = (
        draw(st.sampled_from([",", ";", " "])) if in_element else draw(st.sampled_from([None, None, ",", ";", " "]))
    )
    mark = draw(st.sampled_from([char for char in "=:," if char != separator]))
    keys: dict[str, Any] = {
        "header": "X-Signature",
        "signed_content": content,
        "separator": separator,
        "prefix": f"v1{mark}" if separator else draw(st.sampled_from(["", "sha256=", "v0=", "HMAC "])),
        "encoding": draw(st.sampled_from(["hex", "base64"])),
        "digest": draw(st.sampled_from(sorted(DIGEST_BYTES))),
        "key_encoding": draw(st.sampled_from(sorted(SECRETS))),
    }
    if "timestamp" in names:
        keys["timestamp_format"] = draw(st.sampled_from(["seconds", "milliseconds", "iso8601"]))
        keys |= {"timestamp_prefix": f"t{mark}"} if in_element else {"timestamp_header": "X-Time"}
    if "id" in names:
        keys["id_header"] = "X-Id"
    return keys


@st.composite
def specs(draw: Any) -> SignatureSpec:
    try:
        return SignatureSpec(**draw(described()))
    except ValueError:
        assume(False)
        raise


def raw(lines: list[tuple[str, str]]) -> Lines:
    return [(name.lower().encode(), value.encode()) for name, value in lines]


def made(spec: SignatureSpec, body: bytes, id_: str = "msg_1") -> tuple[Scheme, Lines, Key]:
    """The scheme, the header lines of a delivery, and the key."""
    scheme = make_scheme("any", spec)
    secret = SECRETS[spec.key_encoding]
    return scheme, raw(scheme.sign(secret, body, NOW, id_)), scheme.parse_secret("k", secret)


@given(spec=specs(), body=st.binary(), id_=IDS)
def test_what_any_signature_signs_it_verifies(spec: SignatureSpec, body: bytes, id_: str) -> None:
    scheme, headers, key = made(spec, body, id_)
    verified = scheme.verify(headers, body, [key], NOW + 3)
    assert verified == (
        "k",
        NOW if spec.signs_time else None,
        3 if spec.signs_time else None,
        id_ if spec.id_header else None,
    )
    assert sorted(name for name, _ in headers) == sorted(name.encode() for name in scheme.headers)


@given(spec=specs(), body=st.binary())
def test_the_signed_text_is_the_template_and_the_hmac_the_standard_librarys(spec: SignatureSpec, body: bytes) -> None:
    _, headers, key = made(spec, body)
    lines = {name.decode(): value.decode() for name, value in headers}
    time = lines.get("x-time", "")
    if spec.timestamp_prefix is not None:
        element = re.match(rf"t.(.*?){re.escape(str(spec.separator))}v1", lines["x-signature"])
        assert element is not None
        time = element[1]
    filled = spec.signed_content.replace("{timestamp}", time).replace("{id}", "msg_1").encode()
    before, _, after = filled.partition(b"{body}")
    digest = hmac.digest(key.secret, before + body + after, getattr(hashlib, spec.digest))
    encoded = digest.hex() if spec.encoding == "hex" else base64.b64encode(digest).decode()
    assert lines["x-signature"].endswith(spec.prefix + encoded)


@given(spec=specs(), body=st.binary(min_size=1), at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_one_changed_byte_is_refused(spec: SignatureSpec, body: bytes, at: int, flip: int) -> None:
    scheme, headers, key = made(spec, body)
    changed = bytearray(body)
    changed[at % len(body)] ^= flip
    with pytest.raises(SignatureError):
        scheme.verify(headers, bytes(changed), [key], NOW)
    for index, (name, value) in enumerate(headers):
        other = bytearray(value)
        other[at % len(value)] ^= flip
        if spec.encoding == "hex" and bytes(other).lower() == value.lower():
            continue  # the case of hex digits means nothing
        if bytes(other).strip(b" \t") == value:
            continue
        with pytest.raises(SignatureError):
            scheme.verify([*headers[:index], (name, bytes(other)), *headers[index + 1 :]], body, [key], NOW)


@given(spec=specs(), body=st.binary())
def test_a_header_that_is_missing_repeated_or_joined_is_refused(spec: SignatureSpec, body: bytes) -> None:
    scheme, headers, key = made(spec, body)
    for index, line in enumerate(headers):
        others = headers[:index] + headers[index + 1 :]
        joined = [*others, (line[0], line[1] + b", " + line[1])]
        for lines in (others, [*headers, line], joined):
            is_list = spec.separator == "," and spec.timestamp_prefix is None and line[0] == b"x-signature"
            if lines is joined and is_list:  # a list of signatures is one, however a proxy writes it
                assert scheme.verify(joined, body, [key], NOW).key_id == "k"
                continue
            with pytest.raises(SignatureError):
                scheme.verify(lines, body, [key], NOW)


@given(
    spec=specs(),
    headers=st.lists(
        st.tuples(st.sampled_from([b"x-signature", b"x-time", b"x-id"]), st.binary(max_size=90)), max_size=4
    ),
)
def test_arbitrary_headers_raise_nothing_but_a_signature_error(spec: SignatureSpec, headers: Lines) -> None:
    scheme, _, key = made(spec, b"{}")
    with pytest.raises(SignatureError):
        scheme.verify(headers, b"{}", [key], NOW)


def readings(spec: SignatureSpec, text: str) -> Iterator[tuple[str, ...]]:
    """Every way to read a signed text: values of the placeholders that the verification would accept."""
    refused = re.compile(spec.refused_in_id) if spec.refused_in_id else None

    def accepted(name: str, value: str) -> bool:
        if name == "timestamp":
            return re.fullmatch(spec.time_pattern, value) is not None
        return name == "body" or (
            re.fullmatch(r"[\x21-\x7e]{1,256}", value) is not None and not (refused and refused.search(value))
        )

    def read(parts: tuple[str, ...], rest: str, found: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not rest.startswith(parts[0]):
            return
        rest = rest[len(parts[0]) :]
        if len(parts) == 1:
            if not rest:
                yield found
            return
        for end in range(len(rest) + 1):
            if accepted(parts[1], rest[:end]):
                yield from read(parts[2:], rest[end:], (*found, rest[:end]))

    return read(spec.parts, text, ())


@hypothesis_settings(max_examples=400)
@given(spec=specs(), data=st.data(), seconds=st.sampled_from([NOW, 17]))
def test_one_signed_text_has_one_reading(spec: SignatureSpec, data: st.DataObject, seconds: int) -> None:
    """Else a delivery could be sent again with another time, id or body under the same signature."""
    time = spec.time_format.write(seconds)
    pieces = st.sampled_from(
        ["a", "1", time, *filter(None, spec.parts[::2]), *(char for char in "".join(spec.parts[::2]))]
    )
    values = {name: "".join(data.draw(st.lists(pieces, min_size=1, max_size=5))) for name in ("id", "body")}
    text = "".join({**values, "timestamp": time}[part] if at % 2 else part for at, part in enumerate(spec.parts))
    assert len(set(readings(spec, text))) <= 1


@given(
    keys=described(),
    name=st.sampled_from(["header", "prefix", "signed_content", "timestamp_prefix"]),
    value=st.text(max_size=20),
)
def test_any_keys_are_a_signature_or_an_error_that_names_a_key(keys: dict[str, Any], name: str, value: str) -> None:
    for given_keys in (keys, keys | {name: value}):
        try:
            spec = SignatureSpec(**given_keys)
        except ValueError as error:
            key, colon, what = str(error).partition(": ")
            assert (key in SignatureSpec.__dataclass_fields__, colon, bool(what)) == (True, ": ", True)
        else:
            assert spec.summary
            assert make_scheme("any", spec).headers


SLACK = SignatureSpec(header="X-S", prefix="v0=", signed_content="v0:{timestamp}:{body}", timestamp_header="X-T")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signed_content": "{timestamp}"}, "signed_content: must contain {body}"),
        ({"signed_content": "{body}{body}{timestamp}"}, "signed_content: {body} must occur once"),
        ({"signed_content": "{timestamp}.{url}.{body}"}, "signed_content: there is no {url}"),
        ({"signed_content": "{timestamp}.{body"}, "signed_content: has a brace"),
        ({"signed_content": "{timestamp}.{body}}"}, "signed_content: has a brace"),
        ({"signed_content": "{timestamp}.{body}é"}, "signed_content: must be printable ASCII"),
        ({"signed_content": "x" * 200 + "{body}"}, "signed_content: must be printable ASCII of at most 200"),
        ({"signed_content": "{id}{body}", "id_header": "X-I", "timestamp_header": None},
         "signed_content: {id} and {body} need"),
        ({"signed_content": "{id}{timestamp}{body}", "id_header": "X-I"}, "signed_content: {id} and {timestamp} need"),
        ({"signed_content": "{id}x{timestamp}{body}", "id_header": "X-I"}, "signed_content: 'x' cannot show"),
        ({"timestamp_header": None}, "timestamp_header: is missing"),
        ({"timestamp_prefix": "t=", "separator": ","}, "timestamp_prefix: is set, and timestamp_header as well"),
        ({"timestamp_prefix": "t=", "timestamp_header": None}, "separator: is missing"),
        ({"signed_content": "{body}"}, "timestamp_header: its value is not signed; add {timestamp}"),
        ({"id_header": "X-I"}, "id_header: its value is not signed; add {id}"),
        ({"signed_content": "{id}.{timestamp}.{body}"}, "id_header: is missing"),
        ({"timestamp_header": "x-s"}, "timestamp_header: x-s is already set as header"),
        ({"signed_content": "{id}.{timestamp}.{body}", "id_header": "x-T"},
         "id_header: x-T is already set as timestamp_header"),
        ({"separator": ",", "prefix": ""}, "prefix: must be the name of an element"),
        ({"separator": ",", "prefix": "v1,"}, "prefix: must be the name of an element"),
        ({"separator": ",", "prefix": "a=b="}, "prefix: must be the name of an element"),
        ({"separator": ",", "prefix": "v1"}, "prefix: must be the name of an element"),
        ({"separator": ";", "timestamp_header": None, "timestamp_prefix": "t:"},
         "timestamp_prefix: ends with ':', but prefix with '='"),
        ({"separator": ";", "timestamp_header": None, "timestamp_prefix": "v0="},
         "timestamp_prefix: is the same as prefix"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_or_protects_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is checked
        replace(SLACK, **changes)
    assert str(caught.value).startswith(message)


def test_an_id_cannot_contain_what_ends_it() -> None:
    key = SCHEMES["svix"].parse_secret("k", SECRETS["base64"])
    headers = raw(SCHEMES["svix"].sign(SECRETS["base64"], b"{}", NOW, "a.b"))
    with pytest.raises(SignatureError, match="ends the id"):
        SCHEMES["svix"].verify(headers, b"{}", [key], NOW)


def test_base64_that_an_encoder_would_not_write_is_refused() -> None:
    """Four bits at the end of this form mean nothing: the same bytes could be written in sixteen ways."""
    spec = SignatureSpec(header="X-S", encoding="base64", digest="sha512", signed_content="{body}")
    scheme, [(name, value)], key = made(spec, b"{}")
    last = chr(value[-3])
    for other in "AQgwBRhxCSiyDTjz".replace(last, ""):
        with pytest.raises(SignatureError):
            scheme.verify([(name, value[:-3] + other.encode() + b"==")], b"{}", [key], NOW)


@pytest.mark.parametrize("digest", sorted(DIGEST_BYTES))
def test_a_key_makes_hmacs_with_its_digest(digest: str) -> None:
    assert Key("k", b"secret", digest=digest).mac(b"a", b"b") == hmac.digest(b"secret", b"ab", digest)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.5Z", NOW + 0.5),
        ("2023-11-14T22:13:20.123456789Z", NOW + 0.123456),
        ("2023-11-15T00:13:20+02:00", NOW),
    ],
)
def test_a_time_in_iso8601_is_read_with_its_fraction_and_offset(text: str, seconds: float) -> None:
    spec = replace(SLACK, timestamp_format="iso8601")
    scheme, key = make_scheme("any", spec), Key("k", b"secret")
    value = "v0=" + key.mac(f"v0:{text}:".encode(), b"{}").hex()
    verified = scheme.verify(raw([("x-s", value), ("x-t", text)]), b"{}", [key], NOW + 1)
    assert verified.timestamp == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["2023-13-14T22:13:20Z", "2023-11-14T22:13:60Z", "0000-01-01T00:00:00Z", "2023-11-14T22:13:20"]
)
def test_a_time_that_does_not_exist_is_malformed(text: str) -> None:
    spec = replace(SLACK, timestamp_format="iso8601")
    key = Key("k", b"secret")
    value = "v0=" + key.mac(f"v0:{text}:".encode(), b"{}").hex()
    with pytest.raises(SignatureError) as caught:
        make_scheme("any", spec).verify(raw([("x-s", value), ("x-t", text)]), b"{}", [key], NOW)
    assert caught.value.reason == "malformed_header"


def test_only_the_form_of_standard_webhooks_takes_public_keys_whatever_its_headers_are_called() -> None:
    named = replace(PRESETS["svix"], header="Acme-Sign", id_header="Acme-Id", timestamp_header="Acme-Time")
    public = "whpk_" + base64.b64encode(bytes(32)).decode()
    assert make_scheme("any", named).parse_secret("k", public).public
    with pytest.raises(ValueError, match="is not base64"):
        make_scheme("any", replace(named, digest="sha512")).parse_secret("k", public)


@pytest.mark.parametrize(
    ("text", "message"), [("0g", "is not hex"), ("00 11", "white space"), ("", "is empty"), ("é", "is not hex")]
)
def test_a_secret_that_is_not_hex_is_refused_without_being_shown(text: str, message: str) -> None:
    scheme = make_scheme("any", replace(SLACK, key_encoding="hex"))
    with pytest.raises(ValueError, match=message) as caught:
        scheme.parse_secret("k", text)
    assert len(text) < 2 or text not in str(caught.value)


def test_an_id_directly_before_a_time_cannot_contain_a_date() -> None:
    """Else an id that ends with a part of the body, up to a later time in it, would fit the signature."""
    keys = {"header": "X-S", "signed_content": "{id}{timestamp}{body}", "id_header": "X-I", "timestamp_header": "X-T"}
    spec = SignatureSpec(**keys, timestamp_format="iso8601")
    assert re.search(spec.refused_in_id, "a2026-11-27T10:00:00Zb")
    assert not re.search(spec.refused_in_id, "befa7b53-d79d-478f-86b9-120f112b044e")
    scheme, headers, key = made(spec, b'{"at":"2026-11-27T10:00:00Z"}')
    lines = dict(headers)
    moved = lines[b"x-i"] + lines[b"x-t"] + b'{"at":"'
    other = [(b"x-i", moved), (b"x-t", b"2026-11-27T10:00:00Z"), (b"x-s", lines[b"x-s"])]
    with pytest.raises(SignatureError) as caught:
        scheme.verify(other, b'"}', [key], NOW)
    assert caught.value.reason == "malformed_header"
