"""What is shown of stored text: our own secrets never, and no query of an address, which may be a signature."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from receiver.model.redact import Redactor

CUT = "[redacted]"
THEIRS = frozenset({"metadata", "webhook_url"})
"""Members that the submitter of the job chose: only our own secrets are cut out of them, not queries."""

_PLAIN = frozenset({"content-type", "user-agent"})


def shown(value: Any, redact: Redactor) -> Any:
    """JSON values without secrets; names are values, too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [shown(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(name): (whole if name in THEIRS else shown)(item, redact) for name, item in value.items()}
    return value


def whole(value: Any, redact: Redactor) -> Any:
    """JSON values without our own secrets, addresses as they are."""
    if isinstance(value, str):
        return "://".join(redact(part) for part in value.split("://"))  # no address in a part, so no query is seen
    if isinstance(value, list):
        return [whole(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(name): whole(item, redact) for name, item in value.items()}
    return value


def header_lines(headers: Iterable[list[str]], unsigned: Iterable[str], redact: Redactor) -> list[dict[str, str]]:
    """The kept headers; of those that are not known to be unsigned only that they were there.

    Args:
        unsigned: lower-case names of the unsigned headers that the source's provider has.
    """
    plain = _PLAIN.union(unsigned)
    return [{"name": name, "value": redact(value) if name in plain else CUT} for name, value in headers]
