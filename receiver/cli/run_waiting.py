"""Wait for runs that were made due, and say how they ended: `runs replay --wait`."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from receiver.cli.bulk_changes import StatusLine
from receiver.cli.run_changes import Key
from receiver.cli.text_output import echo, echo_error
from receiver.clock import Clock, SystemClock
from receiver.store import views
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.database import Database

POLL_SECONDS = 0.1
PAGE = 500
"""Runs of one query. They start about in this order, so that the first page says how far they are."""
ASK_SECONDS = 5.0
"""How often it is asked whether a receiver is running."""


def wait_for_runs(database: Database, keys: Sequence[Key]) -> None:
    """Return when each of these runs has ended, or has failed and waits for its next attempt; print how many did.

    Raises:
        typer.Exit: not all succeeded (1).
    """
    counts: Counter[str] = Counter()
    status = StatusLine("Waiting")
    try:
        with status.shown:
            waited = asyncio.run(_count_outcomes(database, keys, counts, status, SystemClock()))
    except KeyboardInterrupt:
        echo_error(f"Not waiting any more. {_summary(counts)}. The receiver goes on.")
        raise
    echo(f"{_summary(counts)}.")
    if not waited:
        echo_error("No receiver is running; the next one starts the others.")
    else:
        for outcome, state in ((str(RunState.DEAD), RunState.DEAD), (views.AGAIN, RunState.PENDING)):
            if counts[outcome]:
                echo_error(f"Why: tts-receiver runs errors --state {state}")
    if counts[RunState.SUCCEEDED] < len(keys):
        raise typer.Exit(1)


async def _count_outcomes(
    database: Database, keys: Sequence[Key], counts: Counter[str], status: StatusLine, clock: Clock
) -> bool:
    """Whether all have an outcome; False if no receiver is running that could start them."""
    open_ = list(keys)
    ask_at = -math.inf
    while open_:
        page = open_[:PAGE]
        outcomes = database.query_list(views.outcomes_of_runs, page)
        left = [key for key in page if outcomes[key] is None]
        open_[:PAGE] = left
        counts.update(outcome for outcome in outcomes.values() if outcome is not None)
        status.update(_summary(counts))
        if len(left) < len(page):
            continue
        if clock.monotonic() >= ask_at:
            if not database.any_process_lives():
                return False
            ask_at = clock.monotonic() + ASK_SECONDS
        await clock.wait(asyncio.Event(), POLL_SECONDS)
    return True


def _summary(counts: Counter[str]) -> str:
    words = [f"{count:,} {outcome}" for outcome, count in counts.most_common()]
    return f"Runs: {', '.join(words) or 'none ended'}"
