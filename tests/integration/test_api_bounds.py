"""No request of a few kilobytes holds the private listener: what it has many of is bounded, and read in linear time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receiver import Settings
from tests.cost import max_cpu_seconds
from tests.integration.api_support import api, deliver, event_number, problem
from tests.integration.intake_support import configured

pytestmark = pytest.mark.anyio

CPU_SECONDS = 5.0
"""Many times what each of these takes, and a fraction of what quadratic work on them takes."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={})


@pytest.mark.parametrize("last", ["0", "2edf", "2ee0"], ids=["first again", "last again", "all distinct"])
async def test_more_query_parameters_than_any_operation_has_are_refused_unread(settings: Settings, last: str) -> None:
    query = "&".join([*(f"{number:x}" for number in range(12_000)), last])
    async with api(settings) as client:
        with max_cpu_seconds(CPU_SECONDS):
            answer = await client.get(f"/v1/events?{query}")
        assert problem(answer) == (400, "invalid_request")
        assert answer.json()["errors"] == [{"where": "query", "what": "has more than 64 parameters"}]


async def test_a_repeated_query_parameter_is_named(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/v1/events?limit=1&source=a&source=b&limit=2")
        assert answer.json()["errors"] == [{"where": "query.source", "what": "is given more than once"}]
        answer = await client.get(f"/v1/events?{'n' * 5000}=1&{'n' * 5000}=1")
        assert answer.json()["errors"] == [{"where": f"query.{'n' * 99}…", "what": "is given more than once"}]


async def test_a_filter_with_a_nul_character_is_refused_whatever_the_database_makes_of_it(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/v1/events?job_id=a%00b")
        assert problem(answer) == (400, "invalid_request")
        assert answer.json()["errors"] == [{"where": "query.job_id", "what": "contains a NUL character"}]


async def test_a_body_with_very_many_unknown_names_is_answered_with_some_of_them(settings: Settings) -> None:
    body = json.dumps({"source": 5, **{f"{number:x}": 1 for number in range(80_000)}})
    async with api(settings) as client:
        with max_cpu_seconds(CPU_SECONDS):
            answer = await client.client.post("/v1/jobs", content=body)
        assert problem(answer) == (400, "invalid_request")
        errors = answer.json()["errors"]
        assert len(errors) == 20
        assert {wrong["where"] for wrong in errors[:2]} == {"body.source", "body.job_id"}
        assert {"where": "body.0", "what": "is not known"} in errors
        assert len(answer.content) < 4096


@pytest.mark.parametrize("item", ['"a"', "1", "[]"])
async def test_a_list_that_is_too_long_is_one_error(settings: Settings, item: str) -> None:
    body = f'{{"handlers":[{",".join([item] * 250_000)}]}}'
    async with api(settings) as client:
        with max_cpu_seconds(CPU_SECONDS):
            answer = await client.client.post(f"/v1/events/{event_number(1)}/replay", content=body)
        assert problem(answer) == (400, "invalid_request")
        assert len(answer.json()["errors"]) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("range", "bytes=" + ",".join(f"{number}-{number}" for number in range(8000))),
        ("range", "bytes=" + " \t" * 30_000 + "0-1x"),
        ("idempotency-key", "a " * 30_000 + "\t"),
        ("last-event-id", "evt_" * 15_000),
        ("host", "[" + ":" * 60_000 + "]"),
        ("accept", ",".join(["*/*;q=0.1"] * 6000)),
    ],
    ids=["ranges", "spaces in a range", "key", "event id", "host", "accept"],
)
async def test_a_long_header_is_read_in_linear_time(settings: Settings, name: str, value: str) -> None:
    speech = {"source": "aitts", "text": "x", "voice": "v"}
    async with api(settings) as client:
        with max_cpu_seconds(CPU_SECONDS):
            answers = [
                await client.client.get(f"/v1/events/{event_number(1)}/audio", headers={name: value}),
                await client.client.get("/v1/stream?seconds=0", headers={name: value}),
                await client.client.post("/v1/speech", json=speech, headers={name: value}),
            ]
        assert {answer.status_code for answer in answers} <= {200, 400, 403, 404, 422}
        assert all(len(answer.content) < 4096 for answer in answers)


async def test_a_stored_text_is_shown_in_linear_time(settings: Settings) -> None:
    """A signed delivery's own words: each letter of `a.a.a` could begin the scheme of an address."""
    async with api(settings) as client:
        body = json.dumps({"event": "test", "data": {"about": "http://a.example/ " + "a." * 40_000}}).encode()
        event = await deliver(client.up, body)
        with max_cpu_seconds(CPU_SECONDS):
            assert (await client.get(f"/v1/events/{event}")).status_code == 200
