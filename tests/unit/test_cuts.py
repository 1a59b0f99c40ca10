"""Texts from outside are cut in many places; wherever that goes through a secret, no part of it is shown later."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from receiver.engine.outcome import Outcome
from receiver.engine.results import MAX_REPR_CHARACTERS, bounded_json
from receiver.errors import AudioError
from receiver.model.import_errors import MAX_CHARACTERS, import_failure
from receiver.model.redact import Redactor
from receiver.outbound import audio, objects
from receiver.outbound.addresses import redacted_text, redacted_url
from receiver.providers.base import AudioRequest
from receiver.providers.responses import MAX_QUOTE, RequestContext, error_response
from receiver.providers.types import Account, Response

SECRET = "tts_live_0123456789abcdefghijklmnopqrstuvwxyz"


class Unwritable:
    """A result that is no JSON, and is described."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def said_by_the_provider(text: str) -> str:
    body = json.dumps({"error": {"code": "BAD", "message": text}}).encode()
    account = Account("https://a.example", "another_key_0123456789")
    return str(error_response(RequestContext("aitts", account), Response(400, (), body), json.loads(body)))


def said_of_addresses(text: str) -> str:
    request = AudioRequest("https://a.example/audio", {}, durable=True)
    return audio._described(1, audio.Failure(request, AudioError(text)))


CUTS: dict[str, tuple[Callable[[str], str], int]] = {
    "an address": (lambda text: redacted_url(f"https://a.example/{text}"), 282),
    "the beginning of what is no audio": (lambda text: redacted_text(text, 80), 80),
    "the errors of several addresses": (said_of_addresses, 195),
    "an object store's error": (lambda text: objects._error_text(ValueError(text)), 300),
    "a provider's words": (said_by_the_provider, MAX_QUOTE - 5),
    "a plugin's error": (lambda text: import_failure(ValueError(text), "mine"), MAX_CHARACTERS - 12),
    "a handler's result": (lambda text: str(bounded_json(Unwritable(text))), MAX_REPR_CHARACTERS),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_secret_that_a_cut_goes_through_is_not_shown_in_part(name: str) -> None:
    make, longest = CUTS[name]
    redact = Redactor([SECRET])
    cut_through = 0
    for at in range(longest - len(SECRET) - 8, longest + 4):
        text = make("x" * at + SECRET + "y" * 500)
        assert SECRET[:8] not in redact(text), text
        cut_through += SECRET[:8] in text and SECRET not in text
    assert cut_through >= 20  # so the cut is where this test takes it to be


def test_a_handlers_error_is_cut_after_its_secrets_are() -> None:
    text = Outcome.of_error(RuntimeError("x" * 1990 + SECRET)).text
    assert SECRET[:8] not in Redactor([SECRET]).bounded(text, 2000)
