"""A page of the history ends whatever has ended by it, due or not; as long as pages do so, the next is looked at."""

from __future__ import annotations

import pytest

from receiver.engine.jobs.claiming import MIN_JOBS_FOR_HISTORY
from receiver.engine.jobs.loop import MAX_HISTORY_PAGES
from receiver.engine.jobs.source import LEASE_SECONDS
from receiver.providers.types import HISTORY_PAGE
from receiver.store import job_leases, usage
from receiver.store.leases import Lease
from tests.integration.engine_support import NOW
from tests.unit.engine.jobs.support import Polling
from tests.unit.engine.jobs.test_history import Audixa, audixa, names, said, states

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

FAR = NOW + 3000


def put_off(up: Polling, ids: list[str]) -> None:
    """Not due for a long time, as after many polls."""
    with up.writing() as database:
        for job in ids:
            [held] = database.transact(job_leases.claim_named, "audixa", [job], NOW, Lease("other", NOW + 1))
            assert database.transact(job_leases.release, held, FAR, NOW)


async def test_jobs_that_are_not_due_are_ended_by_a_page_that_was_asked_for_anyway(up: Polling) -> None:
    due, later = names(MIN_JOBS_FOR_HISTORY), names(MIN_JOBS_FOR_HISTORY, 50)
    up.watch(*due, *later, source="audixa")
    put_off(up, later)
    service = Audixa(up, **dict.fromkeys([*due, *later], "COMPLETED"))
    await audixa(up)
    await up.until_idle()
    assert states(up, [*due, *later]) == {"completed"}
    assert (service.pages, service.polled) == ([0], [])
    assert len(up.events()) == 2 * MIN_JOBS_FOR_HISTORY


def reconcile(up: Polling) -> None:
    with up.writing() as database:
        database.transact(usage.reconcile, "audixa")


async def test_one_that_is_not_due_and_runs_on_stays_as_it_was(up: Polling) -> None:
    due = names(MIN_JOBS_FOR_HISTORY)
    up.watch(*due, "later", source="audixa")
    put_off(up, ["later"])
    reconcile(up)
    before = up.job("later", "audixa")
    Audixa(up, **dict.fromkeys(due, "COMPLETED") | {"later": "GENERATING"})
    await audixa(up)
    await up.until_idle()
    assert states(up, due) == {"completed"}
    assert up.job("later", "audixa") == before


async def test_one_that_somebody_else_polls_is_left_to_him(up: Polling) -> None:
    due = names(MIN_JOBS_FOR_HISTORY)
    up.watch(*due, "held", source="audixa")
    with up.writing() as database:
        assert database.transact(job_leases.claim_named, "audixa", ["held"], NOW, Lease("other", NOW + LEASE_SECONDS))
    reconcile(up)
    before = up.job("held", "audixa")
    Audixa(up, **dict.fromkeys([*due, "held"], "COMPLETED"))
    await audixa(up)
    await up.until_idle()
    assert states(up, due) == {"completed"}
    assert up.job("held", "audixa") == before


async def test_as_long_as_pages_end_jobs_the_next_is_looked_at_however_far_it_goes(up: Polling) -> None:
    ids = names(HISTORY_PAGE * (MAX_HISTORY_PAGES + 3))
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    await audixa(up, rate=1.0)
    await up.pass_time(MAX_HISTORY_PAGES + 5)
    assert states(up, ids) == {"completed"}
    assert len(service.pages) in (MAX_HISTORY_PAGES + 3, MAX_HISTORY_PAGES + 4)
    assert service.polled == []
    assert len(up.events()) == len(ids)


async def test_while_pages_are_looked_at_nothing_is_asked_about_alone_and_submits_go_on(up: Polling) -> None:
    ids = names(HISTORY_PAGE * 3)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    up.server.behave = lambda request: (
        said({"generation_id": "own"}) if request.method == "POST" else service.behave(request)
    )
    await audixa(up, rate=0.5)
    await up.until_idle()
    up.submit(source="audixa")
    await up.pass_time(7)
    assert up.job("own", "audixa")["state"] == "watching"
    assert states(up, ids) == {"completed"}
    assert len(service.pages) == 3
    assert service.polled == []


async def test_a_history_that_ends_too_few_is_left_after_some_pages(up: Polling) -> None:
    old, ended = names(MIN_JOBS_FOR_HISTORY), names(MIN_JOBS_FOR_HISTORY - 1, 50)
    strangers = names(HISTORY_PAGE * (MAX_HISTORY_PAGES + 2), 1000)
    up.watch(*old, *ended, source="audixa")
    words = dict.fromkeys([*old, *strangers, *ended], "COMPLETED")
    service = Audixa(up, **words)
    await audixa(up, rate=10)
    await up.pass_time(5)
    assert states(up, [*old, *ended]) == {"completed"}
    assert len(service.pages) == MAX_HISTORY_PAGES
    assert sorted(service.polled) == old
