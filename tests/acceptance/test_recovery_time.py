"""A few of the kills of `make kills`: work goes on at once, and not when leases have ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.kills import JOB_SECONDS, Plan, measure
from tests.acceptance.support import Provider, Site

RECOVERED_SECONDS = 20.0
"""Far above what it takes on a busy machine, and below a lease."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    it = Provider(job_seconds=JOB_SECONDS)
    yield it
    it.close()


@pytest.mark.timeout(300)
def test_after_a_kill_all_audio_is_there_before_a_lease_could_have_ended(
    site: Site, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    report = measure(site, provider, Plan(kills=3, seconds=0.5, patience=60.0))
    with capsys.disabled():
        print(f"\n  {report}")
    assert report.lost == []
    assert report.dead == []
    assert max(report.recovered) < RECOVERED_SECONDS
