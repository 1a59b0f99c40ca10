"""Which handlers get an event: decided when it is stored, by webhook or poll, when it is released, or replayed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from receiver.engine.jobs.commands import new_job, submit_job
from receiver.engine.replay import ReplayResult, release_events, replay_events
from receiver.providers.types import Speech
from receiver.simulator import Simulator
from receiver.store import runs
from tests.integration.engine_support import Signal
from tests.integration.intake_support import Lines, Running, completed, configured, running
from tests.recording import recorder

pytestmark = pytest.mark.anyio

HANDLERS = {
    "acme": {"use": "log", "where": {"metadata": {"customer": "acme"}}},
    "globex": {"use": "log", "where": {"metadata": {"customer": ["globex", "globex-*"]}, "source": "*"}},
    "ends": {"use": "log", "where": {"type": "job.*"}},
}


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configured(tmp_path, handlers=HANDLERS)) as up:
        yield up


def of(customer: str, job: str = "job_1") -> bytes:
    return completed(job, metadata={"customer": customer})


def handlers_of(up: Running, event: str) -> list[str]:
    return sorted(run["handler"] for run in up.rows("runs") if run["event_id"] == event)


async def event_of(up: Running, body: bytes, **kwargs: Any) -> str:
    answer = await up.post(body, **kwargs)
    assert answer.status_code == 202
    return str(answer.json()["event"])


async def replayed(up: Running, ids: list[str], only: Iterable[str] = ()) -> list[ReplayResult]:
    receiver = up.receiver
    parts = (receiver.settings, receiver.registry)
    return await receiver.database.write(replay_events, *parts, ids, list(only), time.time())


# a webhook


async def test_a_delivery_makes_runs_only_of_the_handlers_whose_conditions_it_meets(up: Running) -> None:
    assert handlers_of(up, await event_of(up, of("acme", "1"))) == ["acme", "ends"]
    assert handlers_of(up, await event_of(up, of("globex-eu", "2"))) == ["ends", "globex"]
    assert handlers_of(up, await event_of(up, of("initech", "3"))) == ["ends"]
    assert handlers_of(up, await event_of(up, completed("4"))) == ["ends"]
    assert handlers_of(up, await event_of(up, json.dumps({"event": "test", "data": {}}).encode())) == []


async def test_a_copy_of_an_event_adds_no_runs_whatever_its_metadata_says(up: Running) -> None:
    event = await event_of(up, of("acme"))
    assert await event_of(up, of("globex")) == event
    assert handlers_of(up, event) == ["acme", "ends"]


# quarantine


async def test_a_released_event_goes_to_the_handlers_whose_conditions_it_meets(up: Running) -> None:
    old = time.time() - 1000
    ids = [await event_of(up, of(name, name), at=old) for name in ("acme", "globex", "initech")]
    assert up.rows("runs") == []
    receiver = up.receiver
    outcomes = await receiver.database.write(release_events, receiver.settings, receiver.registry, ids, time.time())
    assert [outcome.handlers for outcome in outcomes] == [["acme", "ends"], ["globex", "ends"], ["ends"]]
    assert [handlers_of(up, event) for event in ids] == [["acme", "ends"], ["ends", "globex"], ["ends"]]


async def test_an_event_that_a_fresh_copy_releases_is_routed_by_its_own_metadata(up: Running) -> None:
    """The handlers get the stored event, so what the copy says must not choose them."""
    event = await event_of(up, of("acme"), at=time.time() - 1000)
    assert await event_of(up, of("globex")) == event
    assert handlers_of(up, event) == ["acme", "ends"]


# a poll


async def test_a_polled_job_is_routed_by_the_metadata_it_was_submitted_with(
    tmp_path: Path, signal: Signal, lines: Lines
) -> None:
    async with Simulator(job_seconds=0, audixa_poll_seconds=None) as sim:
        source = {
            "provider": "audixa",
            "base_url": sim.base_urls["audixa"],
            "api_key": sim.api_keys["audixa"],
            "allow_private_addresses": True,
            "poll": {"requests_per_second": 1000, "first_seconds": 0},
        }
        async with running(configured(tmp_path, sources={"audixa": source}, handlers=HANDLERS)) as up:
            for name in ("acme", "globex"):
                speech = Speech(text="Hello", voice="v", metadata={"customer": name})
                loop = up.receiver.jobs.sources["audixa"]
                job = new_job(loop, speech, None, time.time(), random.Random(name))
                await up.receiver.database.write(submit_job, recorder(), job)
            await signal.until(lambda: len(lines.of("job.ended")) == 2)
            by_customer = {row["payload"]["metadata"]["customer"]: handlers_of(up, row["id"]) for row in up.rows()}
    assert by_customer == {"acme": ["acme", "ends"], "globex": ["ends", "globex"]}


# a replay


async def test_a_replay_of_many_events_gives_no_handler_an_event_it_does_not_match(up: Running) -> None:
    """Otherwise the events of one customer would reach another's target."""
    ids = [await event_of(up, of(name, str(n))) for n, name in enumerate(("acme", "globex", "initech") * 3)]
    outcomes = await replayed(up, ids, ["acme"])
    refused = [outcome for outcome in outcomes if outcome.error is not None]
    assert {outcome.event_id for outcome in refused} == set(ids) - set(ids[::3])
    assert str(refused[0].error) == (
        f'{ids[1]} is not for the handler acme: its metadata.customer is "globex", not "acme".'
    )
    assert {run["event_id"] for run in up.rows("runs") if run["handler"] == "acme"} == set(ids[::3])


async def test_a_replay_without_names_creates_runs_of_the_matching_handlers(tmp_path: Path) -> None:
    async with running(configured(tmp_path, handlers={})) as up:
        ids = [await event_of(up, of(name, name)) for name in ("acme", "globex", "initech")]
        assert up.rows("runs") == []
    async with running(configured(tmp_path, handlers=HANDLERS)) as up:
        assert [outcome.handlers for outcome in await replayed(up, ids)] == [
            ["acme", "ends"], ["globex", "ends"], ["ends"],
        ]  # fmt: skip


async def test_a_replay_to_a_handler_of_other_types_is_refused(up: Running) -> None:
    event = await event_of(up, json.dumps({"event": "job.failed", "data": {"job_id": "1", "error": "x"}}).encode())
    test = await event_of(up, json.dumps({"event": "test", "data": {}}).encode())
    [failed, tested] = await replayed(up, [event, test], ["ends"])
    assert (failed.error, str(tested.error)) == (
        None,
        f'{test} is not for the handler ends: its type is "test", not "job.*".',
    )


async def test_a_run_that_exists_is_replayed_though_its_event_no_longer_matches(
    tmp_path: Path, signal: Signal, lines: Lines
) -> None:
    async with running(configured(tmp_path, handlers={"acme": {"use": "log"}})) as up:
        event = await event_of(up, of("globex"))
        await signal.until(lambda: lines.of("run.succeeded"))
    async with running(configured(tmp_path, handlers=HANDLERS)) as up:
        assert (await replayed(up, [event], ["acme"]))[0].error is not None
        assert await up.receiver.database.write(runs.replay, [(event, "acme")], time.time()) == [(event, "acme")]
