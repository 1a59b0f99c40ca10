"""What is asked again and again about open jobs goes through the index of open jobs, however many have ended."""

from __future__ import annotations

from collections.abc import Callable

from receiver.store import job_leases
from receiver.store.leases import Lease

NOW = 1_700_000_000.0


def test_claiming_what_is_due_is_one_look_into_the_index(plans: Callable[..., list[str]]) -> None:
    found = plans(job_leases.claim, "aitts", 10, NOW, Lease("me", NOW + 60))
    assert len(found) == 2
    assert all("USING INDEX ix_jobs_due (source=? AND state=? AND due_at<?)" in plan for plan in found)
    assert not any("TEMP B-TREE" in plan for plan in found)


def test_when_the_next_is_due_is_one_look_into_the_index(plans: Callable[..., list[str]]) -> None:
    *due, held = plans(job_leases.next_due, "aitts")
    assert len(due) == 2
    assert all("ix_jobs_due (source=? AND state=?)" in plan for plan in due)
    assert "ix_jobs_lease" in held
