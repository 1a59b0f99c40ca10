"""What a handler signs, a receiver verifies: with either secret during a rotation, and with the published vector."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import SignatureError
from receiver.model.signature import SCHEMES
from receiver.signing import sign_standard_webhooks, sign_tts

NOW = 1_800_000_000
OLD, NEW = "whsec_" + base64.b64encode(b"o" * 24).decode(), "whsec_" + base64.b64encode(b"n" * 24).decode()
SECRETS = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), min_size=1, max_size=16)


def lines(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def verify(scheme: str, headers: dict[str, str], body: bytes, secret: str, now: float = NOW) -> str | None:
    """The signed message id; raises if the signature does not hold."""
    key = SCHEMES[scheme].parse_secret("key", secret)
    return SCHEMES[scheme].verify(lines(headers), body, [key], now).message_id


@given(st.binary(), SECRETS)
def test_a_receiver_that_knows_any_of_the_secrets_takes_what_is_signed_and_nothing_else(
    body: bytes, secrets: list[str]
) -> None:
    headers = sign_tts(body, secrets, timestamp=NOW)
    for secret in secrets:
        verify("tts", headers, body, secret)
        with pytest.raises(SignatureError):
            verify("tts", headers, body + b" ", secret)
    with pytest.raises(SignatureError):
        verify("tts", headers, body, "".join(secrets) + "-another")


def test_one_secret_may_be_given_by_itself_and_the_time_is_now() -> None:
    [(name, value)] = sign_tts(b"{}", "a-secret").items()
    assert name == "X-TTS-Signature"
    assert abs(int(value.partition(",")[0].removeprefix("t=")) - time.time()) < 60
    verify("tts", {name: value}, b"{}", "a-secret")


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_standard_webhooks_are_signed_with_both_secrets_of_a_rotation(secret: str) -> None:
    headers = sign_standard_webhooks(b"{}", [NEW, OLD], message_id="evt_1:publish", timestamp=NOW)
    assert sorted(headers) == ["webhook-id", "webhook-signature", "webhook-timestamp"]
    assert verify("standard-webhooks", headers, b"{}", secret) == "evt_1:publish"


def test_the_published_vector_of_standard_webhooks_comes_out() -> None:
    headers = sign_standard_webhooks(
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_ed25519_key_signs_for_whoever_has_the_public_one() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    secret = "whsk_" + base64.b64encode(b"s" * 32).decode()
    headers = sign_standard_webhooks(b"{}", [secret, OLD], message_id="m", timestamp=NOW)
    for known in (public, OLD):
        assert verify("standard-webhooks", headers, b"{}", known) == "m"


@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        ([], "Between 1 and 16 secrets"),
        ([OLD] * 17, "Between 1 and 16 secrets"),
        ([OLD, "whsec_not base64!"], "The secret 2 is not base64"),
        ("whpk_" + base64.b64encode(b"p" * 32).decode(), "The secret 1 is a public key"),
        ("whsk_" + base64.b64encode(b"p" * 8).decode(), "The secret 1 is not an ed25519 private key"),
        ("whsk_?", "The secret 1 is not base64"),
        ("", "The secret 1 is empty"),
    ],
)
def test_a_secret_that_cannot_sign_is_named_by_its_number_and_not_quoted(secrets: str | list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        sign_standard_webhooks(b"{}", secrets, message_id="m")
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("secrets", [[], ["a"] * 17, "", " a", ["a", "b\n"]])
def test_a_secret_that_is_no_text_of_its_own_does_not_sign(secrets: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"secret"):
        sign_tts(b"{}", secrets)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "\u00e9", "x" * 257])
def test_an_id_that_could_be_read_in_two_ways_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message_id"):
        sign_standard_webhooks(b"{}", OLD, message_id=message_id)
