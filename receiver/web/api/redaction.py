"""Removes secrets from stored text: our own, and the queries of URLs, which may contain a signature."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from receiver.model.redact import Redactor

CUT = "[redacted]"
SUBMITTER_FIELDS = frozenset({"metadata", "webhook_url"})
"""Members that the submitter of the job chose: only our own secrets are removed from them, not queries."""

_PLAIN = frozenset({"content-type", "user-agent"})


def redact_json(value: Any, redact: Redactor) -> Any:
    """JSON values without secrets and queries; names are redacted, too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redact_json(item, redact) for item in value]
    if isinstance(value, dict):
        return {
            redact(name): (redact_own_secrets if name in SUBMITTER_FIELDS else redact_json)(item, redact)
            for name, item in value.items()
        }
    return value


def redact_own_secrets(value: Any, redact: Redactor) -> Any:
    """JSON values without our own secrets; URLs keep their queries."""
    if isinstance(value, str):
        return "://".join(redact(part) for part in value.split("://"))  # no part is a URL, so no query is removed
    if isinstance(value, list):
        return [redact_own_secrets(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(name): redact_own_secrets(item, redact) for name, item in value.items()}
    return value


def header_lines(headers: Iterable[list[str]], unsigned: Iterable[str], redact: Redactor) -> list[dict[str, str]]:
    """The stored headers; the value only of those that are known not to contain a signature.

    Args:
        unsigned: lower-case names of the headers without a signature that the source's provider keeps.
    """
    plain = _PLAIN.union(unsigned)
    return [{"name": name, "value": redact(value) if name in plain else CUT} for name, value in headers]
