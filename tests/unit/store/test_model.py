"""The store beside its model, at random: few examples in the suite, many by `make model`.

Nothing here depends on which examples hypothesis chooses: it takes constants from all modules that are loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from receiver.store import inbox, leases
from receiver.store.database import Database
from receiver.store.sqlite import claims as sqlite_claims
from receiver.store.sqlite import runs as sqlite_runs
from tests.unit.store.machine_of_jobs import StoreMachine

NewStore = Callable[[], AbstractContextManager[Database]]

EXAMPLES = int(os.environ.get("TTS_MODEL_EXAMPLES", "0"))
LIMITS = settings(
    max_examples=EXAMPLES or 4,
    stateful_step_count=60 if EXAMPLES else 40,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A failing example is printed as it is. To make it small would take minutes.
    phases=[Phase.generate],
)
ENOUGH = settings(LIMITS, max_examples=500)
"""In how many examples a fault has to be found; those below are found in about the first ten."""


@pytest.mark.timeout(300 + 20 * EXAMPLES)
def test_the_store_does_what_the_model_does(new_store: NewStore) -> None:
    run_state_machine_as_test(lambda: StoreMachine(new_store()), settings=LIMITS)


def forget_fencing(patch: pytest.MonkeyPatch) -> None:
    """Any attempt may write the result of a run that its process holds."""
    text = sqlite_runs._finish_statement.__wrapped__
    patch.setattr(
        sqlite_runs, "_finish_statement", lambda *of: text(*of).replace("AND runs.attempt = done.attempt", "")
    )


def forget_the_owner(patch: pytest.MonkeyPatch) -> None:
    """The death of one process ends the leases of all."""
    end_leases = leases.update
    patch.setattr(leases, "update", lambda table: Unfiltered(end_leases(table)))


class Unfiltered:
    """An UPDATE that loses the last of its conditions."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement

    def where(self, *conditions: Any) -> Any:
        return self._statement.where(*conditions[:-1])


def claim_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """The run that became due last is claimed first."""
    statement = sqlite_claims._CLAIM.replace("ORDER BY due_at LIMIT", "ORDER BY due_at DESC LIMIT")
    patch.setattr(sqlite_claims, "_CLAIM", statement)


def count_prefetched_claims(patch: pytest.MonkeyPatch) -> None:
    """A claim that is cancelled before it started costs an attempt."""
    text = sqlite_runs._cancel_statement.__wrapped__
    wrong = "(state = 'running' AND started_at IS NULL)"
    patch.setattr(sqlite_runs, "_cancel_statement", lambda rows: text(rows).replace(wrong, "0"))


def complete_nothing(patch: pytest.MonkeyPatch) -> None:
    """An event does not complete the job that is watched."""
    patch.setattr(inbox, "complete_watched", lambda *_: None)


def complete_by_quarantined_events(patch: pytest.MonkeyPatch) -> None:
    """An event in quarantine completes the job that is watched."""
    build = inbox._terminal_events
    patch.setattr(inbox, "_terminal_events", lambda items: build(item._replace(quarantined=False) for item in items))


FAULTS = [forget_fencing, forget_the_owner, complete_nothing]
if EXAMPLES:  # these take longer
    FAULTS += [complete_by_quarantined_events, claim_in_another_order, count_prefetched_claims]


@pytest.mark.sqlite
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_store_is_found(new_store: NewStore, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(lambda: StoreMachine(new_store()), settings=ENOUGH)
