"""Removes secrets from JSON values, and finds the values again that were shown without.

Removed are our own secrets, and the queries of URLs, which may contain a signature. An operator who edits what
was shown returns the rest as it was shown: it must not be stored instead of what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.errors import ReceiverError
from receiver.model.redact import Redactor, truncate

CUT = "[redacted]"
SUBMITTER_FIELDS = frozenset({"metadata", "webhook_url"})
"""Members that the submitter of the job chose: only our own secrets are removed from them, not queries."""


class RedactedValue(ReceiverError):
    """A value was shown without its secrets, and it is unknown what it stands for."""

    reason = "redacted_value"


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


_Path = tuple[str | int, ...]


def restore_json(value: Any, stored: Any, redact: Redactor) -> Any:
    """The value, with the texts of `stored` wherever it has them as `redact_json` shows them.

    Args:
        value: what was shown of `stored`, edited.

    Raises:
        RedactedValue: it has a text with `[redacted]` that stands for none of `stored`, or for several.
    """
    at: dict[_Path, tuple[str, str]] = {}
    hidden: dict[str, set[str]] = {}
    for path, text, submitted in _texts(stored, ()):
        shown = redact_own_secrets(text, redact) if submitted else redact(text)
        if CUT in shown:
            at[path] = shown, text
            hidden.setdefault(shown, set()).add(text)

    def restored(value: Any, path: _Path) -> Any:
        if isinstance(value, str):
            return restored_text(value, path)
        if isinstance(value, dict):
            return {restored_text(name, (*path, name)): restored(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [restored(item, (*path, n)) for n, item in enumerate(value)]
        return value

    def restored_text(text: str, path: _Path) -> str:
        if CUT not in text:
            return text
        shown, whole = at.get(path, ("", ""))
        if shown == text:
            return whole
        texts = hidden.get(text, set())
        if len(texts) != 1:
            where = truncate(".".join(map(str, path)), 200)
            raise RedactedValue(
                f"{where}: {CUT} stands for something that is not shown, and it is unknown for what. Leave the value "
                "as it was shown, or write a whole one."
            )
        return next(iter(texts))

    return restored(value, ())


def _texts(value: Any, path: _Path, *, submitted: bool = False) -> Iterator[tuple[_Path, str, bool]]:
    """Every text in a value, names included: where it is, and whether the submitter of the job chose it."""
    if isinstance(value, str):
        yield path, value, submitted
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _texts(item, (*path, n), submitted=submitted)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield (), name, False
            yield from _texts(item, (*path, name), submitted=submitted or name in SUBMITTER_FIELDS)
