"""What is edited as it was shown, without secrets, becomes what it was; what is unknown is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.redact import Redactor
from receiver.model.redact_json import RedactedValue, redact_json, restore_json

REDACT = Redactor(["my-own-secret"])
STORED: dict[str, Any] = {
    "audio_url": "https://files.test/a.wav?sig=1",
    "audio_urls": [
        "https://files.test/a.wav?sig=1",
        "https://files.test/a.wav?sig=2",
        "https://files.test/b.wav?sig=3",
    ],
    "metadata": {"page": "https://acme.test/?id=7", "note": "my-own-secret"},
    "my-own-secret": 1,
}
SHOWN = redact_json(STORED, REDACT)
TEXTS = st.sampled_from(["", "a", "https://x.test/?a=1", "https://x.test/?a=2", "my-own-secret", "[redacted]", "://?"])
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("metadata"), inner, max_size=3),
)


@given(VALUES)
def test_what_was_not_edited_is_what_was_stored(stored: Any) -> None:
    shown = redact_json(stored, REDACT)
    try:
        restored = restore_json(shown, stored, REDACT)
    except RedactedValue:  # several names that are shown alike
        return
    assert redact_json(restored, REDACT) == shown


def test_other_fields_can_be_edited() -> None:
    edited = {**SHOWN, "metadata": {**SHOWN["metadata"], "page": "https://globex.test/?id=8"}, "n": [1]}
    assert restore_json(edited, STORED, REDACT) == {
        **STORED, "metadata": {**STORED["metadata"], "page": "https://globex.test/?id=8"}, "n": [1]
    }  # fmt: skip


def test_what_is_moved_is_found_if_it_is_shown_once() -> None:
    moved = {"audio_url": SHOWN["audio_urls"][2], "audio_urls": SHOWN["audio_urls"][:2]}
    assert restore_json(moved, STORED, REDACT) == {
        "audio_url": STORED["audio_urls"][2], "audio_urls": STORED["audio_urls"][:2],
    }  # fmt: skip
    with pytest.raises(RedactedValue, match=r"^first: \[redacted\] stands for something"):
        restore_json({"first": SHOWN["audio_url"]}, STORED, REDACT)


@pytest.mark.parametrize(
    "edited",
    ["[redacted]", "https://files.test/c.wav?[redacted]", "see https://files.test/a.wav?[redacted]", "[redacted]?"],
)
def test_what_stands_for_nothing_is_refused(edited: str) -> None:
    with pytest.raises(RedactedValue):
        restore_json({"audio_url": edited}, {"audio_url": STORED["audio_url"]}, REDACT)
    with pytest.raises(RedactedValue):
        restore_json({edited: 1}, {}, REDACT)


def test_a_stored_text_that_is_so_itself_stays() -> None:
    assert restore_json({"a": "[redacted]"}, {"a": "[redacted]"}, REDACT) == {"a": "[redacted]"}
    assert restore_json({"a": True, "b": 1}, {"a": 1, "b": True}, REDACT) == {"a": True, "b": 1}
