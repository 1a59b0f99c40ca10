"""Every error has a kind from a small set, and a reason only if it says more."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import AudioGone, AudioRefused, ReceiverError, Reject, RetryLater
from receiver.model.error_kind import MAX_WORD_CHARACTERS, as_word, error_kind, error_reason


class NoVoice(Reject):
    """Of a handler, with a reason for all of them."""

    reason = "no_voice"


class Unpaid(Reject):
    """Of a handler, without one."""


class PublishError(ReceiverError):
    """Of a handler: not one of the receiver's own."""

    reason = "not_published"


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (Reject("no"), "rejected", None),
        (Reject("no", reason="no_such_voice"), "rejected", "no_such_voice"),
        (NoVoice("no"), "rejected", "no_voice"),
        (NoVoice("no", reason="too_long"), "rejected", "too_long"),
        (Unpaid("no"), "rejected", None),
        (RetryLater("wait", after=1), "retry_later", None),
        (RetryLater("wait", after=1, reason="forward_delayed"), "retry_later", "forward_delayed"),
        (AudioGone("gone"), "audio_gone", None),
        (AudioRefused("many", reason="too_many_files"), "audio_refused", "too_many_files"),
        (PublishError("no"), "PublishError", "not_published"),
        (ReceiverError("no"), "ReceiverError", None),
        (ValueError("no"), "ValueError", None),
        (httpx.ConnectError("no"), "ConnectError", None),
        (Reject("no", reason=Unspeakable()), "rejected", None),  # type: ignore[arg-type]
        (Reject("no", reason=7), "rejected", "7"),  # type: ignore[arg-type]
        (Reject("no", reason=""), "rejected", None),
    ],
)
def test_the_kind_is_of_a_small_set_and_the_reason_is_the_errors_own(
    error: Exception, kind: str, reason: str | None
) -> None:
    assert (error_kind(error), error_reason(error)) == (kind, reason)


@given(st.text(max_size=200))
def test_any_text_becomes_a_word(text: str) -> None:
    word = as_word(text)
    assert len(word) <= MAX_WORD_CHARACTERS
    assert word.encode().decode().isprintable()
    assert " " not in word
    assert as_word(word) == word


def test_a_slug_is_a_word_as_it_is() -> None:
    assert as_word("no_such_voice") == "no_such_voice"
    assert as_word("no such voice: 'Anna'") == "no_such_voice_Anna_"
