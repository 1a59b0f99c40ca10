"""A pay-as-you-go account in real processes: few requests in a window, counted in buckets, and polls that last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.acceptance.support import Provider, Server, Site, get, until
from tests.acceptance.test_without_webhooks import VOICE, polled, post

LIMIT = 10


@contextmanager
def account(**settings: Any) -> Iterator[Provider]:
    provider = Provider(**settings)
    try:
        yield provider
    finally:
        provider.close()


def submit(server: Server, text: str = "Hello there.") -> None:
    status, answer = post(server.private, "/v1/speech", {"source": "aitts", "text": text, "voice": VOICE})
    assert status in (201, 202), answer


def ended(site: Site) -> list[dict[str, Any]]:
    return site.rows("SELECT * FROM jobs WHERE state = 'completed' ORDER BY id")


@pytest.mark.parametrize("rate_buckets", ["account", "endpoints"])
@pytest.mark.parametrize("rate_reset", ["unix", "iso"])
def test_a_job_is_known_soon_by_10_requests_in_a_window_and_what_is_left_is_shown(
    site: Site, rate_buckets: str, rate_reset: str
) -> None:
    """At a tenth of the time: jobs of 4 seconds, and a window of a minute and a half."""
    settings = {"rate_limit": LIMIT, "rate_window": 90.0, "rate_buckets": rate_buckets, "rate_reset": rate_reset}
    with account(job_seconds=4.0, **settings) as provider:
        polled(site, provider.sim.base_url)
        servers = [site.start(), site.start()]  # which share the requests
        submit(servers[0])
        [row] = until("its end is known", lambda: ended(site))
        site.wait_for_state(row["event_id"], "save_audio", "succeeded")
        assert row["ended_at"] - row["submitted_at"] < 30
        assert row["polls"] <= 5
        requests = provider.sim.requests
        assert sum(requests[f"aitts.{name}"] for name in ("submit", "status", "audio")) <= LIMIT

        found = json.loads(get(f"{servers[1].private}/v1/sources")[1])["items"][0]["rate_limits"]
        assert {of["bucket"] for of in found} == ({"account"} if rate_buckets == "account" else {"submit", "status"})
        assert {request for of in found for request in of["requests"]} == {"submit", "status"}
        assert all(of["limit"] == LIMIT and 0 < of["remaining"] < LIMIT and of["reset_at"] for of in found)
        listed = json.loads(site.command("sources", "list", "--json").stdout)["items"][0]["rate_limits"]
        assert listed == found
        assert f"/{LIMIT} " in site.command("status").stdout
        assert f"/{LIMIT} " in site.command("sources", "list").stdout
        metrics = get(f"{servers[0].private}/metrics")[1]
        for of in found:
            labels = f'{{bucket="{of["bucket"]}",source="aitts"}}'
            assert f"tts_receiver_rate_limit_left{labels} {float(of['remaining'])}" in metrics
            assert f"tts_receiver_rate_limit_requests{labels} {float(LIMIT)}" in metrics


def test_a_used_up_bucket_of_submits_does_not_stop_polls(site: Site) -> None:
    """Nor are more requests sent than are left; what could not be submitted is submitted after the reset."""
    limit, window = 8, 45.0
    with account(job_seconds=0.5, rate_limit=limit, rate_window=window, rate_buckets="endpoints") as provider:
        polled(site, provider.sim.base_url)
        site.config.write_text(site.config.read_text().replace("[handlers.save_audio]\n", ""))
        server = site.start()
        for number in range(limit + 2):
            submit(server, f"Number {number}.")
        until("those that were submitted have ended", lambda: len(ended(site)) == limit)
        waiting = site.rows("SELECT * FROM jobs WHERE state = 'submitting'")
        assert len(waiting) == 2
        assert ended(site)[-1]["ended_at"] - ended(site)[0]["submitted_at"] < window
        until("the others have, too", lambda: len(ended(site)) == limit + 2)
        assert 'tts_receiver_polls_total{outcome="provider_rate_limited"' not in get(f"{server.private}/metrics")[1]
