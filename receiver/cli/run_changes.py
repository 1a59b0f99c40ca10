"""Change many runs: what `runs replay`, `runs cancel` and `runs retry-now` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from receiver.cli.output import REPEAT, confirm
from receiver.cli.text_output import echo
from receiver.model.audit import AuditOperation
from receiver.store.states import RunState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.engine.batch_writer import BatchWriter
    from receiver.store.database import Database
    from receiver.store.event_pages import Filter

Key = tuple[str, str]
"""A run: the event's id, and the handler."""


@dataclass(frozen=True, slots=True)
class RunAction:
    """A change of many runs.

    Attributes:
        verb, past, participle: for the messages, such as `Cancel`, `Runs cancelled` and `cancelled`.
        operation: its name in the audit log.
        states: of the runs that it can change; the first is the example in a message.
        change: changes some runs in one transaction; returns those that it changed.
        resume_hint: how to continue after a stop; `{last}` stands for the last event that was changed.
        report: says at the end what was done, given the runs that were changed.
    """

    verb: str
    past: str
    participle: str
    operation: AuditOperation
    states: tuple[RunState, ...]
    change: Callable[[Connection, list[Key], float], list[Key]]
    resume_hint: str
    report: Callable[[Database, Sequence[Key]], None]

    @property
    def example(self) -> str:
        """A filter, for a message."""
        return f"--state {self.states[0]}" if len(self.states) > 1 else "--handler NAME"


class _Progress:
    """Collects what is committed, and shows how much."""

    def __init__(self, action: RunAction) -> None:
        from receiver.cli.bulk_changes import StatusLine

        self._action = action
        self._last = ""
        self.changed: list[Key] = []
        self.status = StatusLine(action.verb)

    def add(self, committed: tuple[str, list[Key]]) -> None:
        self._last, changed = committed
        self.changed += changed
        self.status.update(self.summary())

    def summary(self) -> str:
        """See `BulkProgress.summary`."""
        return f"{self._action.past}: {len(self.changed):,}"

    def resume_hint(self) -> str:
        """See `BulkProgress.resume_hint`."""
        return self._action.resume_hint.format(last=self._last) if self._last else REPEAT


def change_runs(config: Path | None, event: str | None, filter: Filter, yes: bool, action: RunAction) -> None:
    """Change each run that matches, and report it."""
    from receiver.cli import counting
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.cli.ids import find_event_id, resolve_ids
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_handler, check_names, hint_unknown_error, open_session
    from receiver.engine import matching
    from receiver.store.event_pages import Filter

    if event is None and filter == Filter():
        raise typer.BadParameter(f"Name an event, or filter the runs, as in {action.example}.")
    if filter.state is not None and filter.state not in action.states:
        *others, last = action.states
        raise typer.BadParameter(
            f"--state: a run that is {filter.state} cannot be {action.participle}; "
            f"one that is {', '.join(others)} or {last} can."
        )
    with open_session(config) as (settings, database):
        check_names(settings, database, filter.source, filter.type, filter.metadata)
        if event is not None:
            filter = replace(filter, event_id=find_event_id(database, event))
        filter = resolve_ids(database, filter)
        described = matching.describe_filter(filter)
        states = tuple(state for state in action.states if filter.state in (None, state))
        filter = counting.up_to_now(database, filter)
        number = counting.count(counting.runs(database, filter, states))
        if not number:
            check_handler(settings, filter.handler)
            hint_unknown_error(database, filter)
        echo(f"Matching runs: {matching.format_count(number)}.")
        if not number:
            action.report(database, ())
            return
        if event is None:
            confirm(f"{action.verb} {matching.format_count(number)} runs?", yes)
        progress = _Progress(action)

        def change(connection: Connection, by_event: Sequence[list[Key]]) -> tuple[str, list[Key]]:
            keys = [key for keys_of_event in by_event for key in keys_of_event]
            return keys[-1][0], action.change(connection, keys, time.time())

        async def work(writer: BatchWriter) -> None:
            async for page in matching.pages_of_runs(writer, filter, states):
                await writer.write(change, page, progress.add)

        recorder = auditor(settings, action.operation).bulk(**described)
        run_in_batches(database, recorder, lambda done: len(done[1]), work, progress, progress.status.shown)
        action.report(database, progress.changed)
