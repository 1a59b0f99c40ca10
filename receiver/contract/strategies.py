"""Strategies of hypothesis for input from outside: any JSON, damaged recordings, headers, statuses, ids."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from receiver.contract.recorded import Recorded
from receiver.providers.types import Response

API_KEY = "tts_live_0123456789abcdef"
"""The account's API key. A service may repeat it in a response."""
_TOO_LARGE = "a number that is read as infinite"

_UNEXPECTED_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 101, 0.5, 200, 404, 10**400, _TOO_LARGE, "", " ", "\x00\n", "completed", "x" * 5000, [],
    {}, API_KEY, f"key {API_KEY} is wrong", [API_KEY], {"code": API_KEY, "message": f"{API_KEY}\n"}, [{"msg": API_KEY}],
    {"status": []}, "https://user:pw@a.example/", "//a.example", "http://[::1",
)  # fmt: skip

_WORDS = st.sampled_from(
    ["completed", "COMPLETED", "Failed", "expired", "pending", "success", "200", "202", "404", "500", "", " ", "\x00\n",
     API_KEY, f"key {API_KEY} is wrong", "https://a.example/x.mp3", "https://user:pw@a.example/", "http://[::1",
     "//a.example", "MAINTENANCE", "REQUEST_IN_PROGRESS", _TOO_LARGE, "ü😀", "x" * 5000]
)  # fmt: skip
_NUMBERS = st.sampled_from([0, 1, -1, 100, 101, 200, 202, 404, 429, 500, 503, 1 << 70, 10**400, 0.5, 1e308])
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.integers() | st.floats(allow_nan=False) | _WORDS | st.text()
_NAMES = st.sampled_from(
    ["status", "data", "success", "error", "detail", "message", "code", "url", "urls", "audio_url", "audioUrl",
     "metadata", "apiResponse", "progress", "error_message", "errorMessage", "id", "voices", "history", "secret"]
) | st.text(max_size=5)  # fmt: skip
json_values = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
header_lines = st.lists(
    st.tuples(
        st.sampled_from([b"retry-after", b"date", b"content-type", b"x-tts-event", b"x-tts-delivery-id"]) | st.binary(),
        st.sampled_from(
            [
                b"5",
                b"-1",
                b"1.5",
                b"soon",
                b"9" * 5000,
                b"Mon, 02 Nov 2026 10:00:00 GMT",
                b"Mon, 99 Foo",
                API_KEY.encode(),
            ]
        )
        | st.binary(),
    ),
    max_size=4,
)
event_words = st.sampled_from([b"test", b"job.completed", b"job.failed", b"completed", b" test\t"]) | st.binary()
"""Event words in an unsigned header."""
statuses = st.just(200) | st.sampled_from([202, 204, 301, 401, 404, 409, 410, 422, 429, 503]) | st.integers(-1, 1000)
payloads = st.dictionaries(st.sampled_from(["audio_url", "audio_urls", "audio_endpoint"]), json_values)
job_ids = st.text(min_size=1, max_size=40) | st.sampled_from(["a/../b?c#d&e=f%2F", "..", "\ud800", "ü 😀", "a\r\nb"])
base_urls = st.sampled_from(
    ["https://api.example", "http://127.0.0.1:8123", "https://proxy.example/tts/", "https://[::1]:8443"]
)


def encode_json(document: Any) -> bytes:
    """Return the document as JSON text; the placeholder becomes a number that Python itself does not write."""
    return json.dumps(document).replace(json.dumps(_TOO_LARGE), "1e999").encode()


def single_field_variants(recorded: Recorded) -> Iterator[Response]:
    """Yield the recorded response once for each of its fields and each unexpected value in that field."""
    whole = {"body": recorded.body}
    for index in range(len(_slots(whole))):
        for unexpected in _UNEXPECTED_VALUES:
            changed = copy.deepcopy(whole)
            holder, key = _slots(changed)[index]
            holder[key] = unexpected
            yield Response(recorded.status, recorded.response.headers, encode_json(changed["body"]))


@st.composite
def damaged(draw: st.DrawFn, documents: list[Recorded]) -> tuple[Recorded, Response]:
    """Return a recorded response in which up to three values were changed, dropped or wrapped."""
    recorded = draw(st.sampled_from([document for document in documents if document.text is None]))
    whole = {"body": copy.deepcopy(recorded.body)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_slots(whole))))
        match draw(st.sampled_from(["replace", "drop", "wrap", "nest"])):
            case "replace":
                holder[key] = draw(json_values)
            case "wrap":
                holder[key] = [holder[key]]
            case "nest":
                holder[key] = {draw(_NAMES): holder[key]}
            case "drop" if holder is not whole:
                del holder[key]
    status = draw(st.just(recorded.status) | statuses)
    return recorded, Response(status, draw(header_lines), encode_json(whole["body"]))


def _slots(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [slot for key in keys for slot in ((value, key), *_slots(value[key]))]
