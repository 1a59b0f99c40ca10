"""How long a test waits for what it wants to see before it has failed: long enough for the slowest machine."""

from __future__ import annotations

PATIENCE = 120.0
"""Seconds. Only a guard: nothing that works waits for it, however loaded the machine."""
