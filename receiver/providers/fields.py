"""Finding a field in an answer's body, whatever its form: flat or nested, one name or another, text or object.

Apart from the provider modules because the services are inconsistent in the same ways; nothing here ever raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from receiver.providers.base import origin_of, usable_word

MAX_ADDRESS = 8192
"""Characters of an address that are kept; signed addresses have up to about 2,000."""
_TROUBLE_FIELDS = ("error", "error_message", "errorMessage", "detail")


class Trouble(NamedTuple):
    """What a provider says went wrong; either may be empty."""

    code: str = ""
    message: str = ""


def views(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Where to look for a field: in `data` where the body is nested, then in the body itself."""
    nested = document.get("data")
    return (nested, document) if isinstance(nested, dict) else (document,)


def pick(places: tuple[Mapping[str, Any], ...], *names: str) -> Any:
    """The first of these fields that says something, in the first place that has one; else None."""
    for place in places:
        for name in names:
            if place.get(name) not in (None, ""):
                return place[name]
    return None


def status_word(value: object) -> str | None:
    """A status word in lower case, or the digits of a number; None if it is neither."""
    word = usable_word(value.strip() if isinstance(value, str) else value)
    return None if word is None else word.lower()


def trouble_of(*places: Mapping[str, Any], others: tuple[str, ...] = ()) -> Trouble:
    """What went wrong, under whatever name and in whatever form it stands.

    Args:
        others: further fields to look in.
    """
    named = (place.get(name) for name in (*_TROUBLE_FIELDS, *others) for place in places)
    value = next((value for value in named if value and value is not True), None)
    if isinstance(value, list):  # validation errors: [{"loc", "msg", "type"}]
        messages = [item["msg"] if isinstance(item, dict) and "msg" in item else item for item in value]
        return Trouble("", "; ".join(str(message) for message in messages))
    return read_error(value)


def read_error(value: object) -> Trouble:
    """An `error {code, message}`, which may also be a plain string, or missing."""
    if isinstance(value, dict):
        return Trouble(str(value.get("code") or ""), str(value.get("message") or ""))
    return Trouble("", str(value) if value is not None else "")


def web_addresses(*values: object) -> list[str]:
    """Every address in these texts, lists and named collections of texts: in order, each once.

    An address is an http(s) one or a path at the service. If there is none, the texts themselves are returned: a job
    whose audio has an unusable address did not complete without audio. White space around an address is not part of it.
    """
    texts = list(dict.fromkeys(text for value in values for text in _texts(value) if text))
    return [text for text in texts if is_address(text)] or texts


def is_address(text: str) -> bool:
    """Whether a text is an http(s) address, or a path at the service."""
    return text.startswith("/") or origin_of(text) is not None


def _texts(value: object) -> Iterator[str]:
    items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else (value,)
    return (item.strip()[:MAX_ADDRESS] for item in items if isinstance(item, str))
