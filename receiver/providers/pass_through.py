"""Parameters of a service that a speech has no field for: they are checked, and put into the request as they are.

Their meaning is the service's own. What is checked is that a request with them is still the one that the receiver
means: no option replaces one of its fields, and all of them together are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from receiver.model.redact_json import CUT
from receiver.providers.types import Capabilities, Invalid, Speech

MAX_OPTIONS = 50
MAX_DEPTH = 8
"""Of objects and lists within the value of one option."""
MAX_BYTES = 16_384
"""Of all options together, as JSON."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\[\]-]{0,63}\Z")
OWN_NAMES = frozenset({field.name for field in fields(Speech)} | {"source", "bitrate", "stream"})
"""The names of a speech's fields, and of those that the API and the command line have beside them."""
_SECRET_NAME = re.compile(r"api[_-]?key|secret|token|passw|credential|authorization", re.IGNORECASE)


def check_options(service: str, options: Mapping[str, Any] | None, capabilities: Capabilities) -> None:
    """Check what can be known of options without the service; `add_options` checks the rest.

    Raises:
        Invalid: the service takes none, one has a name of our own or one that cannot be sent, or they are too many,
            too large or nested too deeply. The message does not have their values, which may be secret.
    """
    if not options:
        return
    if not capabilities.pass_through:
        raise Invalid(f"{service} takes no options: its module does not pass parameters on.")
    if len(options) > MAX_OPTIONS:
        raise Invalid(f"There are {len(options)} options; the maximum is {MAX_OPTIONS}.")
    for name, value in options.items():
        _check_name(name)
        if _depth(value) > MAX_DEPTH:
            raise Invalid(f"The option {name!r} is nested too deeply; the maximum is {MAX_DEPTH} levels.")
    try:
        size = len(json.dumps(dict(options), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (ValueError, TypeError) as error:  # unpaired surrogates are a ValueError, too
        raise Invalid(f"The options cannot be written as JSON: {type(error).__name__}.") from None
    if size > MAX_BYTES:
        raise Invalid(f"The options have {size} bytes as JSON; the maximum is {MAX_BYTES}.")


def add_options(request_fields: Mapping[str, Any], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a request, without those that are None, and the options after them, also those that are None.

    Raises:
        Invalid: an option has the name of one of these fields, in any letter case.
    """
    taken = {name.lower() for name in request_fields}
    for name in options or ():
        if name.lower() in taken:
            raise Invalid(
                f"{name!r} cannot be an option: the receiver fills it in for this service, from text, voice, format "
                "and the other fields of a speech. Use those."
            )
    return {name: value for name, value in request_fields.items() if value is not None} | dict(options or {})


def show_options(options: Any) -> Any:
    """The options as they are shown: texts under names such as `api_key` and `token` are cut."""
    return _replace_secrets(options, lambda _: CUT)


def secret_texts(options: Any) -> list[str]:
    """The texts in options under names such as `api_key` and `token`, which must not be logged."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _replace_secrets(options, note)
    return found


def _check_name(name: str) -> None:
    if not NAME.match(name):
        raise Invalid(
            f"{name[:64]!r} cannot be the name of an option: it has up to 64 ASCII letters, digits and _ . : - [ ], "
            "and begins with a letter or _."
        )
    if name.lower() in OWN_NAMES:
        raise Invalid(
            f"{name!r} cannot be an option: it is a field of its own. Set it beside `options`, or with the command's "
            "own option."
        )


def _depth(value: Any) -> int:
    """How deeply objects and lists are nested in a value; more than `MAX_DEPTH` is not counted exactly."""
    level, depth = [value], 0
    while depth <= MAX_DEPTH:
        level = [
            item
            for inner in level
            if isinstance(inner, dict | list)
            for item in [None, *(inner.values() if isinstance(inner, dict) else inner)]
        ]
        if not level:
            return depth
        depth += 1
    return depth


def _replace_secrets(value: Any, replace: Callable[[str], str], *, secret: bool = False) -> Any:
    """The value with every text replaced that is under a secret's name, at any depth."""
    if isinstance(value, str):
        return replace(value) if secret else value
    if isinstance(value, list):
        return [_replace_secrets(item, replace, secret=secret) for item in value]
    if isinstance(value, Mapping):
        return {
            name: _replace_secrets(item, replace, secret=secret or _SECRET_NAME.search(name) is not None)
            for name, item in value.items()
        }
    return value
