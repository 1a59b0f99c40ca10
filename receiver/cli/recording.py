"""Records what commands change in the audit log, under the name of the system's user."""

from __future__ import annotations

import random

from receiver.clock import SystemClock
from receiver.engine.audit import Auditor, system_user
from receiver.model.audit import AuditOperation, Via
from receiver.model.redact import Redactor
from receiver.settings import Settings


def auditor(settings: Settings, operation: AuditOperation) -> Auditor:
    """Makes the recorders of a command."""
    rng = random.Random()  # noqa: S311 - ids need no secrecy
    return Auditor(operation, system_user(), Via.CLI, Redactor(settings.secrets()), SystemClock(), rng)
