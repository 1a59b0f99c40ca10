"""`GET /v1/series` and `GET /v1/handlers/stats`: what was counted, as points over time and by handler."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from receiver import Settings
from receiver.model.timestamps import utc
from receiver.store import rollups
from receiver.store.rollups import Kind
from receiver.web.api.series import SeriesList
from tests.integration.api_support import Api, api, problem
from tests.integration.engine_support import Signal
from tests.integration.intake_support import Lines, completed, configured, signature
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

DAY = 1_700_006_400.0  # 2023-11-15T00:00:00Z


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, store={"url": address_of(store)})


@pytest.fixture
async def counted(settings: Settings) -> AsyncIterator[Api]:
    """A receiver whose store has counts of two sources and two handlers, in three hours."""
    async with api(settings) as client:
        await add(client, 0, {(Kind.DELIVERIES, "aitts", "accepted"): 3, (Kind.DELIVERIES, "aitts", "mismatch"): 1})
        await add(client, 60, {(Kind.DELIVERIES, "aitts", "accepted"): 2, (Kind.DELIVERIES, "other", "accepted"): 7})
        await add(client, 660, {(Kind.DELIVERIES, "aitts", "accepted"): 1})
        await add(client, 7200, {(Kind.DELIVERIES, "aitts", "accepted"): 9})
        await add(
            client, 120,
            {
                (Kind.RUNS, "log", "succeeded"): 6, (Kind.RUNS, "log", "failed"): 2, (Kind.RUNS, "log", "postponed"): 5,
                (Kind.RUN_SECONDS, "log", "0.05"): 7, (Kind.RUN_SECONDS, "log", "inf"): 1,
                (Kind.RUNS, "gone", "succeeded"): 1, (Kind.RUN_SECONDS, "gone", "2.5"): 1,
            },
        )  # fmt: skip
        yield client


async def add(client: Api, minute: float, counts: Mapping[tuple[Kind, str, str], int]) -> None:
    series = {rollups.Series(*key): count for key, count in counts.items()}
    await client.up.receiver.database.write(rollups.add, [(DAY + minute, series)])


async def found(client: Api, query: str) -> dict[tuple[str | None, ...], list[int]]:
    """The counts of each series by source, handler and label."""
    page = SeriesList.model_validate(await client.json(f"/v1/series?{query}"))
    assert page.series == len(page.items)
    for item in page.items:
        assert sum(item.counts) == item.total
    return {(item.source, item.handler, item.label): item.counts for item in page.items}


async def test_counts_are_points_of_a_time_by_name_and_label(counted: Api) -> None:
    minutes = "kind=deliveries&since=2023-11-15T00:00:59Z&until=2023-11-15T00:03:00Z"
    assert await found(counted, minutes) == {
        ("other", None, "accepted"): [0, 7, 0], ("aitts", None, "accepted"): [3, 2, 0],
        ("aitts", None, "mismatch"): [1, 0, 0],
    }  # fmt: skip
    assert await found(counted, f"{minutes}&by=label") == {
        (None, None, "accepted"): [3, 9, 0], (None, None, "mismatch"): [1, 0, 0],
    }  # fmt: skip
    assert await found(counted, f"{minutes}&by=name&source=aitts") == {("aitts", None, None): [4, 2, 0]}
    assert await found(counted, f"{minutes}&by=none") == {(None, None, None): [4, 9, 0]}
    handled = "kind=runs&handler=log&since=2023-11-15T00:00:00Z&until=2023-11-15T00:03:00Z"
    assert await found(counted, handled) == {
        (None, "log", "succeeded"): [0, 0, 6], (None, "log", "postponed"): [0, 0, 5], (None, "log", "failed"): [0, 0, 2]
    }  # fmt: skip


async def test_longer_steps_add_up_minutes_and_hours(counted: Api) -> None:
    since = "kind=deliveries&source=aitts&by=none&since=2023-11-15T00:05:00Z"
    tens = await counted.json(f"/v1/series?{since}&until=2023-11-15T00:20:00Z&step=10m")
    assert (tens["since"], tens["until"]) == ("2023-11-15T00:00:00Z", "2023-11-15T00:20:00Z")
    assert tens["step_seconds"] == 600
    assert [item["counts"] for item in tens["items"]] == [[6, 1]]
    hours = await counted.json(f"/v1/series?{since}&until=2023-11-15T02:00:01Z&step=1h")
    assert [item["counts"] for item in hours["items"]] == [[7, 0, 9]]


async def test_only_the_largest_series_are_in_a_response_and_the_points_are_bounded(counted: Api) -> None:
    page = await counted.json(
        "/v1/series?kind=deliveries&since=2023-11-15T00:00:00Z&until=2023-11-15T00:03:00Z&limit=1"
    )
    assert [(item["source"], item["total"]) for item in page["items"]] == [("other", 7)]
    assert page["series"] == 3
    longest = "kind=deliveries&step=1h&since=2023-09-16T00:00:00Z&until=2023-11-15T00:00:00Z"
    assert await found(counted, longest) == {}
    for query in ("kind=deliveries&since=2023-11-15T00:00:00Z", longest.replace("09-16", "09-15")):
        answer = await counted.get(f"/v1/series?{query}")
        assert problem(answer) == (422, "invalid_request")
        assert "the limit is 1,440" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (400, "invalid_request")),
        ("kind=deliveries&handler=log", (422, "invalid_request")),
        ("kind=runs&source=aitts", (422, "invalid_request")),
        ("kind=runs&step=2m", (400, "invalid_request")),
        ("kind=deliveries&source=aits", (404, "no_such_source")),
        ("kind=runs&handler=lok", (404, "no_such_handler")),
    ],
)
async def test_a_query_that_can_find_nothing_is_refused(counted: Api, query: str, expected: tuple[int, str]) -> None:
    assert problem(await counted.get(f"/v1/series?{query}")) == expected


async def test_failures_and_durations_by_handler(counted: Api) -> None:
    stats = await counted.json("/v1/handlers/stats?since=2023-11-15T00:30:00Z&until=2023-11-15T01:00:00Z")
    assert stats["since"] == "2023-11-15T00:00:00Z"  # by the hour, so long ago
    log = {"name": "log", "succeeded": 6, "failed": 2, "failure_rate": 0.25, "p50_seconds": 0.05, "p95_seconds": None}
    gone = {"name": "gone", "succeeded": 1, "failed": 0, "failure_rate": 0.0, "p50_seconds": 2.5, "p95_seconds": 2.5}
    assert stats["items"] == [gone, log]
    later = await counted.json("/v1/handlers/stats?since=2023-11-15T01:00:00Z&until=2023-11-15T02:00:00Z")
    assert later["items"] == []


async def test_what_a_running_receiver_counts_is_in_its_series(
    settings: Settings, lines: Lines, signal: Signal
) -> None:
    async with api(settings) as client:
        now = time.time()
        assert (await client.up.post(completed("one"))).status_code == 202
        forged = signature(completed("two"), "another-secret-0123456789")
        assert (await client.up.post(completed("two"), x_tts_signature=forged)).status_code == 401
        await signal.until(lambda: lines.of("run.succeeded"))
        await client.up.receiver.rollups.stop()
        later = f"until={_time(now + 120)}"
        deliveries = await found(client, f"kind=deliveries&{later}")
        assert {key: sum(counts) for key, counts in deliveries.items()} == {
            ("aitts", None, "accepted"): 1, ("aitts", None, "mismatch"): 1,
        }  # fmt: skip
        assert len(next(iter(deliveries.values()))) in (60, 61)
        [log] = (await client.json(f"/v1/handlers/stats?{later}"))["items"]
        assert (log["name"], log["succeeded"], log["failure_rate"]) == ("log", 1, 0.0)
        usual = await client.json("/v1/series?kind=deliveries")
        assert usual["until"] <= _time(time.time() - 10)


def _time(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
