"""The recorder that what changes the store takes, for tests that are about something else."""

from __future__ import annotations

import random

from receiver.clock import SystemClock
from receiver.engine.audit import Auditor, ChangeRecorder
from receiver.model.audit import AuditOperation, Via
from receiver.model.redact import Redactor


def recorder(operation: AuditOperation = AuditOperation.SPEAK) -> ChangeRecorder:
    """Of a new change."""
    return Auditor(operation, "a test", Via.API, Redactor(), SystemClock(), random.Random()).single()
