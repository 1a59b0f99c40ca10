"""Reports what became of attempts, after the commit of their results."""

from __future__ import annotations

from collections.abc import Callable

from receiver.engine.attempt_result import AttemptResult
from receiver.telemetry.hooks import LEASE_LOST, Telemetry, Token


class RunReports:
    """Reports to the telemetry.

    Args:
        on_storage_wait: called after a run was stored that waits for the audio storage.
    """

    def __init__(self, telemetry: Telemetry, on_storage_wait: Callable[[], None]) -> None:
        self._telemetry = telemetry
        self._on_storage_wait = on_storage_wait

    def report(self, results: list[AttemptResult], held: list[bool], tokens: list[Token]) -> None:
        """Report each result; one that was no longer held was not written."""
        storage_wait = False
        for result, still_held, token in zip(results, held, tokens, strict=True):
            row, seconds, trace = result
            if still_held:
                self._telemetry.run_finished(token, row, seconds, trace)
                storage_wait = storage_wait or row.waits_for is not None
            else:
                self._telemetry.run_discarded(token, row.claim, row.outcome, seconds, LEASE_LOST)
        if storage_wait:
            self._on_storage_wait()
