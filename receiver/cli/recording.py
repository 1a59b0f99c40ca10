"""Records what commands change in the audit log, under the name of the system's user."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

from receiver.clock import SystemClock
from receiver.engine.audit import Auditor, system_user
from receiver.model.audit import AuditOperation, Via
from receiver.model.redact import Redactor
from receiver.model.timestamps import utc_text
from receiver.settings import Settings
from receiver.store.event_pages import Filter

_WORDS = {"job": "job_id", "event_id": "event", "after": "since", "before": "until", "newer_than": "after"}
_TIMES = ("after", "before")
_INTERNAL = ("older_than",)
"""The end of what there was when the command began."""


def auditor(settings: Settings, operation: AuditOperation) -> Auditor:
    """Makes the recorders of a command."""
    rng = random.Random()  # noqa: S311 - ids need no secrecy
    return Auditor(operation, system_user(), Via.CLI, Redactor(settings.secrets()), SystemClock(), rng)


def describe_filter(filter: Filter) -> dict[str, Any]:
    """What the audit log says of the filter of a command, with the words of the API where it has them."""
    found = {}
    for field in fields(filter):
        value = getattr(filter, field.name)
        if field.name in _TIMES and value is not None:
            value = utc_text(value)
        if field.name == "metadata":
            value = [f"{key}={text}" for key, text in filter.metadata]
        if field.name not in _INTERNAL:
            found[_WORDS.get(field.name, field.name)] = value
    return found
