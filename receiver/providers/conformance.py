"""Checks whether an object, such as that of an installed package's entry point, implements the provider protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any

from receiver.model.signature import SCHEMES
from receiver.providers.protocols import PROTOCOLS, Provider, VersionedProvider
from receiver.providers.types import Capabilities

_ATTRIBUTES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("is not a text", lambda value: isinstance(value, str)),
    "base_url": ("is not a text", lambda value: isinstance(value, str)),
    "capabilities": ("is not a Capabilities", lambda value: isinstance(value, Capabilities)),
    "scheme": (
        f"is not one of {', '.join(sorted(SCHEMES))}",
        lambda value: isinstance(value, str) and value in SCHEMES,
    ),
    "kept_headers": (
        "is not a tuple of lower-case texts",
        lambda value: isinstance(value, tuple) and all(isinstance(item, str) and item.islower() for item in value),
    ),
    "retry_window_seconds": ("is not a number", lambda value: isinstance(value, int | float)),
    "versions": (
        "is not a mapping from api_version to provider",
        lambda value: isinstance(value, Mapping) and bool(value) and not any(map(find_problems, value.values())),
    ),
}
"""For each attribute that is not a method: the message about a wrong value, and the check of a value."""


def find_problems(candidate: object) -> list[str]:
    """Return why an object is not a provider: members that are missing or of the wrong type.

    All members of a capability's protocol are required if the object has one of them.
    """
    problems: dict[str, None] = {}
    for protocol in (Provider, *PROTOCOLS.values(), VersionedProvider):
        declared = [name for name in _declared(protocol) if hasattr(candidate, name)]
        if protocol is not Provider and not declared:
            continue
        members = [name for part in reversed(protocol.__mro__) for name in _declared(part)]
        missing = [name for name in members if not hasattr(candidate, name)]
        if missing:
            has = f"has {', '.join(declared)} and " if protocol is not Provider else ""
            problems[f"{has}lacks {', '.join(missing)}"] = None
        for name in members:
            message, is_valid = _ATTRIBUTES.get(name, ("is not a method", callable))
            if name not in missing and not is_valid(getattr(candidate, name)):
                problems[f"{name} {message}"] = None
    return list(problems)


def _declared(protocol: type) -> list[str]:
    """Return the members that one of our protocols declares itself, without those that it inherits."""
    if protocol.__module__ != Provider.__module__:
        return []
    return [name for name in (*get_annotations(protocol), *vars(protocol)) if not name.startswith("_")]
