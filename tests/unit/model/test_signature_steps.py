"""`verify` shows each step for any signature, and the settings that a delivery fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.delivery import Headers
from receiver.model.diagnose import explain
from receiver.model.scheme import Key
from receiver.model.signature import PRESETS, make_scheme
from receiver.model.signature_spec import SignatureSpec
from receiver.model.signature_steps import verification_steps
from tests.unit.model.test_signature_spec import SECRETS, made, specs

NOW = 1_700_000_000
BODY = b'{"type":"speech.done"}'
SLACK = SignatureSpec(header="X-Sig", prefix="v0=", signed_content="v0:{timestamp}:{body}", timestamp_header="X-Time")
SECRET = "a secret text 0123456789"


def why(sent: SignatureSpec, configured: SignatureSpec, header: str = "") -> str | None:
    """What is said of a delivery that was signed as `sent` says, at a source with other settings."""
    lines = make_scheme("sent", sent).sign(SECRET, BODY, NOW, "msg_12345678")
    headers = [(name.lower().encode(), value.encode()) for name, value in lines]
    return explain(
        make_scheme("configured", configured), headers, BODY, [Key("k", SECRET.encode(), digest=configured.digest)], NOW
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signed_content": "{timestamp}.{body}"}, 'with signed_content = "{timestamp}.{body}"'),
        ({"signed_content": "{timestamp}{body}"}, 'with signed_content = "{timestamp}{body}"'),
        ({"signed_content": "{id}.{timestamp}.{body}", "id_header": "X-Id"},
         'signed_content = "{id}.{timestamp}.{body}"'),
        ({"digest": "sha512"}, 'with digest = "sha512"'),
        ({"encoding": "base64"}, 'with encoding = "base64"'),
        ({"encoding": "base64", "digest": "sha512", "signed_content": "{timestamp}:{body}"},
         'with signed_content = "{timestamp}:{body}", digest = "sha512", encoding = "base64"'),
        ({"timestamp_format": "iso8601", "signed_content": "{timestamp}.{body}"},
         'with signed_content = "{timestamp}.{body}"'),
        ({"prefix": "sha256="}, "the header has another form than prefix"),
        ({"header": "X-Other"}, "it is in other headers: there is no x-sig. Set the names"),
        ({"timestamp_header": "X-At"}, "it is in other headers: there is no x-time. Set the names"),
    ],
)  # fmt: skip
def test_the_settings_that_a_delivery_fits_are_found(changes: dict[str, Any], said: str) -> None:
    found = why(replace(SLACK, **changes), SLACK)
    assert found is not None
    assert said in found


def test_the_preset_whose_headers_a_delivery_has_is_named() -> None:
    standard, svix = (replace(PRESETS[name], key_encoding="text") for name in ("standard-webhooks", "svix"))
    assert why(standard, svix) == (
        'The HMAC is right, but it is in the headers of preset = "standard-webhooks", and not in those of the source.'
    )


def test_a_signature_with_sha1_is_recognised_and_not_recommended() -> None:
    import hmac

    value = "sha1=" + hmac.digest(SECRET.encode(), BODY, "sha1").hex()
    github = make_scheme("any", PRESETS["github"])
    said = explain(github, [(b"x-hub-signature-256", value.encode())], BODY, [Key("k", SECRET.encode())], NOW)
    assert said == "It is valid with SHA1, which is too weak to be accepted: the sender must use SHA-256."


def test_no_settings_are_found_for_another_secret_or_body() -> None:
    scheme = make_scheme("any", SLACK)
    headers: Headers = [
        (name.lower().encode(), value.encode()) for name, value in scheme.sign("another secret", BODY, NOW, "")
    ]
    assert explain(scheme, headers, BODY, [Key("k", SECRET.encode())], NOW) is None


@given(spec=specs(), body=st.binary(max_size=20))
def test_every_step_of_a_valid_signature_succeeds(spec: SignatureSpec, body: bytes) -> None:
    scheme, headers, key = made(spec, body)
    steps = verification_steps(scheme, headers, body, [key], NOW)
    assert all(step.done for step in steps), steps
    names = [step.name for step in steps]
    assert names == ["header", "time", *(["id"] if spec.id_header else []), "signed text", "HMAC"]
    assert not any(SECRETS[spec.key_encoding] in step.text for step in steps)
    text = steps[-2].text.replace(f"<{len(body)} bytes of body>", "{body}")
    assert "?" not in text
    assert [step.text for step in steps if step.name == "time"] != ["none is signed"] or not spec.signs_time


@given(
    spec=specs(),
    headers=st.lists(
        st.tuples(st.sampled_from([b"x-signature", b"x-time", b"x-id"]), st.binary(max_size=60)), max_size=4
    ),
    body=st.binary(max_size=20),
)
def test_the_steps_of_any_delivery_are_shown_on_one_line_each(spec: SignatureSpec, headers: Any, body: bytes) -> None:
    scheme, _, key = made(spec, b"{}")
    steps = verification_steps(scheme, headers, body, [key], NOW)
    assert not all(step.done for step in steps)
    assert all(step.text.isprintable() for step in steps)
    said = explain(scheme, headers, body, [key], NOW)
    assert said is None or said.isprintable()


def test_a_step_that_fails_says_so_and_no_hmac_is_calculated_without_what_it_needs() -> None:
    scheme, headers, key = made(SLACK, BODY)
    changed = [(name, b"soon" if name == b"x-time" else value) for name, value in headers]
    steps = verification_steps(scheme, changed, BODY, [key], NOW)
    assert [(step.name, step.done) for step in steps] == [("header", True), ("time", False), ("signed text", True)]
    assert steps[1].text == "X-Time is soon, which is not unix seconds in ASCII digits."
    steps = verification_steps(scheme, headers, BODY + b" ", [key], NOW)
    assert steps[-1] == ("HMAC", "SHA-256 with k makes another signature", False)
