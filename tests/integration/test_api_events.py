"""Events over the private API: lists by pages, everything about one, replays; and no secret in any of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, JobCompleted, Reject, Settings, handler
from tests.integration.api_support import Api, api, deliver, event_number, problem
from tests.integration.engine_support import Gate, Signal
from tests.integration.intake_support import SECRET, completed, configured
from tests.stores import Store, address_of, execute

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

KEY = "tts_key_0123456789abcdef"


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, source={"api_key": KEY}, handlers={}, store={"url": address_of(store)})


async def pages(client: Api, path: str) -> list[list[str]]:
    """The ids of every page."""
    found = []
    cursor = ""
    while True:
        page = await client.json(path + cursor)
        found.append([item["id"] for item in page["items"]])
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def test_events_come_by_pages_the_newest_first(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await client.add(*range(1, 8))
        assert await pages(client, "/v1/events?limit=3") == [ids[6:3:-1], ids[3:0:-1], ids[:1]]
        assert await pages(client, "/v1/events?limit=7") == [ids[::-1]]
        assert (await client.json("/v1/events"))["items"][0] == {
            "id": event_number(7),
            "source": "aitts",
            "type": "job.completed",
            "job_id": "job-7",
            "origin": "webhook",
            "state": "done",
            "received_at": "2027-01-15T08:00:07Z",
            "duplicates": 0,
            "conflict": None,
        }


async def test_a_page_is_not_moved_by_events_that_come_meanwhile(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await client.add(*range(1, 5))
        first = await client.json("/v1/events?limit=2")
        await client.add(5, 6)
        second = await client.json(f"/v1/events?limit=2&cursor={first['next']}")
        assert [item["id"] for item in second["items"]] == ids[1::-1]


async def test_events_are_found_by_source_type_job_and_state(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, 2, handlers=("nobody",))
        await client.add(3, source="other", key_id="key-1")
        await client.add(4, type="job.failed")
        await client.add(5, quarantined=True)

        async def numbers(query: str) -> list[int]:
            return [int(item["id"][4:], 16) for item in (await client.json(f"/v1/events?{query}"))["items"]]

        assert await numbers("source=other") == [3]
        assert await numbers("type=job.failed") == [4]
        assert await numbers("job_id=job-2") == [2]
        assert await numbers("state=open") == [2, 1]
        assert await numbers("state=quarantined") == [5]
        assert await numbers("source=other&type=job.failed") == []
        assert await numbers("type=voice.created") == []


async def test_a_name_that_means_nothing_is_answered_with_the_nearest(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, type="job.complete", key_id="key-1")
        await client.add(2, source="former", key_id="key-1")
        for path, reason, said in (
            ("/v1/events?source=aits", "no_such_source", "There is no source 'aits'; did you mean 'aitts'?"),
            ("/v1/events?source=formr", "no_such_source", "There is no source 'formr'; did you mean 'former'?"),
            ("/v1/jobs?source=aits", "no_such_source", "There is no source 'aits'; did you mean 'aitts'?"),
            ("/v1/stream?source=aits&seconds=0", "no_such_source", "There is no source 'aits'; did you mean 'aitts'?"),
            ("/v1/voices?source=aits", "no_such_source", "There is no source 'aits'; did you mean 'aitts'?"),
            ("/v1/events?type=job.complet", "no_such_type", "did you mean 'job.completed'?"),
            ("/v1/stream?type=jobcompleted&seconds=0", "no_such_type", "did you mean 'job.completed'?"),
        ):
            answer = await client.get(path)
            assert problem(answer) == (404, reason), path
            assert said in answer.json()["detail"]
        assert [of["id"] for of in (await client.json("/v1/events?type=job.complete"))["items"]] == [event_number(1)]
        assert (await client.json("/v1/jobs?source=former"))["items"] == []


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=+5", "query.limit"),
        ("limit=5.0", "query.limit"),
        ("cursor=nowhere", "query.cursor"),
        ("state=lost", "query.state"),
        ("sauce=aitts", "query.sauce"),
        ("source=a&source=b", "query.source"),
        ("type=", "query.type"),
    ],
)
async def test_a_query_that_is_wrong_is_answered_with_where_and_what(
    settings: Settings, query: str, where: str
) -> None:
    async with api(settings) as client:
        answer = await client.get(f"/v1/events?{query}")
        assert problem(answer) == (400, "invalid_request")
        assert [wrong["where"] for wrong in answer.json()["errors"]] == [where]


@handler(on=JobCompleted)
async def publish(event: JobCompleted, ctx: Context[Any]) -> dict[str, Any]:
    return {"published": event.job_id}


@handler(on=JobCompleted)
async def refuse(event: JobCompleted, ctx: Context[Any]) -> None:
    raise Reject(f"never, says https://example.test/why?key={KEY}", reason="no_such_voice")


@handler(on=JobCompleted, attempts=1)
async def stumble(event: JobCompleted, ctx: Context[Any]) -> None:
    raise KeyError(KEY)


async def until_done(client: Api, event_id: str) -> dict[str, Any]:
    """The event once none of its runs is open."""
    signal = Signal()
    while True:
        received: dict[str, Any] = await client.json(f"/v1/events/{event_id}")
        if received["state"] != "open":
            return received
        await signal._loop.run_in_executor(None, lambda: None)


async def test_an_event_is_shown_with_its_runs_attempts_and_audio(settings: Settings) -> None:
    async with api(settings, publish, refuse) as client:
        id = await deliver(client.up, completed("job_1", metadata={"episode": 7}))
        digest = await client.give_audio(id, b"RIFF....WAVE")
        received = await until_done(client, id)
        assert (received["state"], received["job_id"], received["signature"]) == ("dead", "job_1", "valid")
        assert received["payload"]["metadata"] == {"episode": 7}
        assert received["document"] == json.loads(received["body"])
        assert received["document"] == json.loads(completed("job_1", metadata={"episode": 7}))
        runs = {run["handler"]: run for run in received["runs"]}
        assert (runs["publish"]["state"], runs["publish"]["result"]) == ("succeeded", {"published": "job_1"})
        assert (runs["refuse"]["state"], runs["refuse"]["attempts"]) == ("dead", 1)
        assert sorted(attempt["outcome"] for attempt in received["attempts"]) == ["rejected", "succeeded"]
        (audio,) = received["artifacts"]
        assert (audio["audio"], audio["sha256"], audio["bytes"]) == (f"/v1/events/{id}/audio?n=0", digest, 12)


async def test_why_a_run_failed_is_shown(settings: Settings) -> None:
    async with api(settings, publish, refuse, stumble) as client:
        id = await deliver(client.up, completed("job_1"))
        received = await until_done(client, id)
        runs = {run["handler"]: run for run in received["runs"]}
        whys = {name: (run["error_kind"], run["reason"]) for name, run in runs.items()}
        assert whys == {
            "publish": (None, None), "refuse": ("rejected", "no_such_voice"), "stumble": ("KeyError", None)
        }  # fmt: skip
        attempts = {one["handler"]: (one["error_kind"], one["reason"]) for one in received["attempts"]}
        assert attempts == whys
        assert [runs[name]["traceback"] for name in ("publish", "refuse")] == [None, None]
        assert runs["stumble"]["traceback"]["attempt"] == 1
        assert runs["stumble"]["traceback"]["text"].endswith("raise KeyError(KEY)\nKeyError: '[redacted]'")


async def test_no_secret_is_in_what_is_shown(settings: Settings) -> None:
    body = completed(
        "job_1",
        audio_url="https://cdn.test/a.wav?signature=deadbeef",
        note=f"{KEY} and {SECRET}",
        metadata={"mine": "https://me.test/?id=1", "oops": KEY},
    )
    async with api(settings, refuse, stumble) as client:
        id = await deliver(client.up, body, **{"user-agent": "Provider/1"})
        await until_done(client, id)
        answer = await client.get(f"/v1/events/{id}")
        assert KEY not in answer.text
        assert SECRET not in answer.text
        assert "deadbeef" not in answer.text
        received = answer.json()
        assert received["payload"]["audio_url"] == "https://cdn.test/a.wav?[redacted]"
        assert received["payload"]["metadata"] == {"mine": "https://me.test/?id=1", "oops": "[redacted]"}
        assert {line["name"]: line["value"] for line in received["headers"]} == {
            "x-tts-signature": "[redacted]",
            "user-agent": "Provider/1",
        }


async def test_a_row_that_was_changed_is_shown_as_such_and_not_replayed(settings: Settings) -> None:
    async with api(settings, publish) as client:
        id = await deliver(client.up, completed("job_1"))
        await until_done(client, id)
        execute(client.up.receiver.database, "UPDATE events SET body = :body", body=b'{"event":"job.completed"}')
        assert (await client.json(f"/v1/events/{id}"))["signature"] == "invalid"
        assert problem(await client.post(f"/v1/events/{id}/replay")) == (409, "not_replayable")


async def test_a_replay_runs_the_handlers_again(settings: Settings) -> None:
    gate = Gate(Signal())
    gate.open()

    @handler(on=JobCompleted)
    async def counted(event: JobCompleted, ctx: Context[Any]) -> None:
        await gate.wait_open()

    async with api(settings, counted, publish) as client:
        id = await deliver(client.up, completed("job_1"))
        await until_done(client, id)
        answer = await client.post(f"/v1/events/{id}/replay")
        assert (answer.status_code, answer.json()) == (202, {"event": id, "handlers": ["counted", "publish"]})
        await gate._signal.until(lambda: gate.entered == 2 and gate.inside == 0)
        await until_done(client, id)
        answer = await client.post(f"/v1/events/{id}/replay", {"handlers": ["counted"]})
        assert answer.json()["handlers"] == ["counted"]
        await gate._signal.until(lambda: gate.entered == 3)


async def test_what_cannot_be_replayed_is_refused_with_why(settings: Settings) -> None:
    async with api(settings, publish) as client:
        (waiting,) = await client.add(1, quarantined=True)
        (id,) = await client.add(2)
        assert problem(await client.post(f"/v1/events/{waiting}/replay")) == (409, "not_replayable")
        assert problem(await client.post(f"/v1/events/{id}/replay", {"handlers": ["nobody"]})) == (
            409,
            "not_replayable",
        )
        (other,) = await client.add(3, type="job.failed")
        of_another_type = await client.post(f"/v1/events/{other}/replay", {"handlers": ["publish"]})
        assert problem(of_another_type) == (409, "not_replayable")
        assert "which is no JobCompleted" in of_another_type.json()["detail"]
        assert problem(await client.post(f"/v1/events/{event_number(9)}/replay")) == (404, "not_found")
        assert problem(await client.post(f"/v1/events/{id}/replay", {"handler": "publish"})) == (400, "invalid_request")
        assert problem(await client.post(f"/v1/events/{id}/replay", ["publish"])) == (400, "not_an_object")


@pytest.mark.parametrize("id", [event_number(1), "evt_1", "EVT_" + "0" * 32, "evt_" + "0" * 33, "%00", "..%2f"])
async def test_an_event_that_is_not_there_is_not_found(settings: Settings, id: str) -> None:
    async with api(settings) as client:
        assert (await client.get(f"/v1/events/{id}")).status_code == 404
        assert (await client.get(f"/v1/events/{id}/audio")).status_code == 404


async def test_failed_runs_are_counted_by_their_errors_and_found_by_them(settings: Settings) -> None:
    async with api(settings, publish, refuse, stumble) as client:
        ids = [await deliver(client.up, completed(f"job_{number}")) for number in range(3)]
        for id in ids:
            await until_done(client, id)
        found = await client.json("/v1/runs/errors")
        names = ("handler", "error_kind", "reason", "count")
        assert [[group[name] for name in names] for group in found["items"]] == [
            ["refuse", "rejected", "no_such_voice", 3],
            ["stumble", "KeyError", None, 3],
        ]
        assert (found["groups"], found["runs"]) == (2, 6)
        example = found["items"][1]["example"]
        assert example["event_id"] in ids
        assert KEY not in example["error"]
        assert len((await client.json("/v1/runs/errors?limit=1"))["items"]) == 1
        for query, runs in (
            ("reason=no_such_voice", 3), ("reason=", 3), ("error_kind=KeyError&handler=stumble", 3),
            ("handler=publish", 0), ("state=cancelled", 0), ("source=aitts&type=job.failed", 0),
        ):  # fmt: skip
            assert (await client.json(f"/v1/runs/errors?{query}"))["runs"] == runs, query
        for path, reason in (("handler=refuze", "no_such_handler"), ("source=aits", "no_such_source")):
            assert problem(await client.get(f"/v1/runs/errors?{path}")) == (404, reason)
        for query in ("state=succeeded", "limit=0", "reason=" + "x" * 65):
            assert problem(await client.get(f"/v1/runs/errors?{query}")) == (400, "invalid_request")
        for query, events in (("reason=no_such_voice", 3), ("error_kind=KeyError&state=dead", 3), ("reason=none", 0)):
            assert len((await client.json(f"/v1/events?{query}"))["items"]) == events, query
