"""The public side as a provider sees it, over a real store: every status, and what is in the log, metrics and rows."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, update
from starlette.applications import Starlette
from starlette.routing import Mount

from receiver.engine.key_notes import key_notes
from receiver.store import database as database_module
from receiver.store import views
from receiver.store.event_pages import Filter
from receiver.store.schema import events
from tests.faults import limit_pages
from tests.integration.engine_support import Signal
from tests.integration.intake_support import (
    SECRET,
    UNAUTHORIZED,
    Lines,
    Running,
    completed,
    configured,
    running,
    signature,
    until_waiting,
)
from tests.patience import PATIENCE
from tests.stores import WriteLock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def up(lines: Lines, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configured(tmp_path)) as up:
        yield up


def not_stored(up: Running) -> bool:
    return up.rows() == []


# accepted


async def test_a_signed_delivery_is_answered_202_and_is_a_row_by_then(up: Running, lines: Lines) -> None:
    body = completed(chars_charged=42)
    answer = await up.post(body, x_tts_delivery_id="d-1", user_agent="AITTS/1", authorization="Bearer nobody")
    [row] = up.rows()
    assert answer.status_code == 202
    assert answer.json() == {"status": "accepted", "event": row["id"]}
    assert (row["source"], row["type"], row["job_id"], row["body"]) == ("aitts", "job.completed", "job_1", body)
    assert (row["status"], row["origin"], row["duplicates"], row["conflict"]) == ("accepted", "webhook", 0, None)
    kept = dict(row["headers"])
    assert kept["x-tts-signature"] == signature(body, at=float(kept["x-tts-signature"][2:12]))
    assert (kept["x-tts-delivery-id"], kept["user-agent"]) == ("d-1", "AITTS/1")
    assert "authorization" not in kept
    assert [run["handler"] for run in up.rows("runs")] == ["log"]
    assert up.counted("accepted") == 1
    [line] = lines.of("delivery.accepted")
    assert (line["event"], line["source"], line["type"], line["job"]) == (row["id"], "aitts", "job.completed", "job_1")


async def test_a_duplicate_is_answered_202_with_the_first_ones_id_and_counted(up: Running) -> None:
    first = (await up.post(completed())).json()
    for _ in range(3):
        answer = await up.post(completed())
        assert (answer.status_code, answer.json()) == (202, {"status": "duplicate", "event": first["event"]})
    [row] = up.rows()
    assert row["duplicates"] == 3
    assert len(up.rows("runs")) == 1
    assert up.counted("duplicate") == 3
    assert 'tts_receiver_events_total{origin="webhook",source="aitts",type="job.completed"} 1.0' in (
        up.receiver.metrics.render().decode()
    )


async def test_a_copy_that_differs_only_in_its_signed_addresses_is_no_conflict(up: Running, lines: Lines) -> None:
    await up.post(completed(audio_url="https://s.example/1?sig=a", audio_url_expires_at="2026-11-03T10:00:00Z"))
    await up.post(completed(audio_url="https://s.example/1?sig=b", audio_url_expires_at="2026-11-03T11:00:00Z"))
    assert up.rows()[0]["conflict"] is None
    assert lines.of("event.conflict") == []


async def test_a_copy_that_says_something_else_is_flagged_and_logged(up: Running, lines: Lines) -> None:
    first = (await up.post(completed(chars_charged=1))).json()
    answer = await up.post(completed(chars_charged=2))
    assert (answer.status_code, answer.json()["status"]) == (202, "duplicate")
    assert up.rows()[0]["conflict"] == "duplicate_differs"
    [line] = lines.of("event.conflict")
    assert (line["event"], line["conflict"], line["job"]) == (first["event"], "duplicate_differs", "job_1")


async def test_a_job_that_fails_after_it_was_completed_is_a_second_event_flagged_and_logged(
    up: Running, lines: Lines
) -> None:
    await up.post(completed())
    answer = await up.post(b'{"event":"job.failed","data":{"job_id":"job_1","error":"late"}}')
    assert answer.json()["status"] == "accepted"
    assert {row["type"]: row["conflict"] for row in up.rows()} == {
        "job.completed": None,
        "job.failed": "completed_and_failed",
    }
    assert lines.of("event.conflict")[0]["event"] == answer.json()["event"]


async def test_fifty_copies_at_once_are_one_event_and_one_run(up: Running) -> None:
    answers = await asyncio.gather(*(up.post(completed()) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["status"] for answer in answers) == ["accepted"] + ["duplicate"] * 49
    [row] = up.rows()
    assert {answer.json()["event"] for answer in answers} == {row["id"]}
    assert row["duplicates"] == 49
    assert len(up.rows("runs")) == 1


@pytest.mark.parametrize(
    "value", [b"9" * 5000, b"-" + b"9" * 4301, b"1e999", b"[" * 190 + b"]" * 190, b'"\\u0000"', b'"\xf0\x9f\x98\x80"']
)
async def test_no_value_in_a_body_stops_its_copies_its_handlers_or_its_listing(
    up: Running, lines: Lines, value: bytes
) -> None:
    body = b'{"event":"job.completed","data":{"job_id":"odd","metadata":{"n":' + value + b"}}}"
    statuses = [(await up.post(body)).status_code for _ in range(3)]
    assert statuses in ([202] * 3, [400] * 3)
    assert (await up.post(completed("plain"))).status_code == 202
    jobs = [row["job_id"] for row in await up.receiver.database.read(views.list_events, Filter(), 9)]
    assert jobs == ["plain", "odd"][: len(jobs)]
    for id_ in [row["id"] for row in up.rows()]:
        assert await up.receiver.database.read(views.get_event, id_)
    ready = await up.client.get("/readyz")
    assert ready.json() == {"ready": True, "missing": {}}


async def test_a_test_event_is_stored_and_answered_2xx(up: Running) -> None:
    body = b'{"event":"test","test_id":"t-1"}'
    answer = await up.post(body, x_tts_event="test", x_tts_delivery_id="d-1")
    [row] = up.rows()
    assert (answer.status_code, row["type"], row["key"]) == (202, "test", hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("body", [b'{"event":"test"}', b'{"event":"job.paused","data":{"job_id":"j"}}', b'{"hi":1}'])
async def test_a_recorded_delivery_is_one_event_whatever_unsigned_headers_it_is_sent_with(
    up: Running, body: bytes
) -> None:
    answers = [await up.post(body, x_tts_event="test", x_tts_delivery_id=f"d-{n}") for n in range(5)]
    assert [answer.json()["status"] for answer in answers] == ["accepted"] + ["duplicate"] * 4
    [row] = up.rows()
    assert row["duplicates"] == 4


@pytest.mark.parametrize("word", ["job.completed", "job.failed", "job.paused"])
async def test_an_unsigned_header_never_says_what_happened(up: Running, word: str) -> None:
    answer = await up.post(b'{"data":{"job_id":"job_1"}}', x_tts_event=word)
    assert (answer.status_code, answer.json(), up.rows()) == (400, {"error": "no_event"}, [])
    answer = await up.post(b'{"data":{"job_id":"job_1","status":"failed"}}', x_tts_event=word)
    assert (answer.status_code, up.rows()[0]["type"]) == (202, "job.failed")


async def test_white_space_around_and_in_the_signature_is_accepted(up: Running) -> None:
    body = completed()
    time_, mac = signature(body).split(",")
    answer = await up.post(body, x_tts_signature=f" {time_} ,\t{mac}\t")
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")


async def test_a_test_event_is_known_by_its_header_where_the_body_names_none(up: Running) -> None:
    answer = await up.post(b'{"hello":"world"}', x_tts_event="test")
    assert (answer.status_code, up.rows()[0]["type"]) == (202, "test")


async def test_an_unknown_event_word_is_stored_answered_2xx_and_bounds_no_label(up: Running, lines: Lines) -> None:
    answer = await up.post(b'{"event":"job.paused","data":{"job_id":"job_1"}}')
    assert answer.status_code == 202
    [row] = up.rows()
    assert (row["type"], row["job_id"]) == ("job.paused", "job_1")
    assert row["payload"] == {"event": "job.paused", "data": {"job_id": "job_1"}}
    assert lines.of("delivery.unexpected")[0]["note"] == "unknown_event"
    assert "job.paused" not in up.receiver.metrics.render().decode()
    assert 'type="other"' in up.receiver.metrics.render().decode()


async def test_an_event_header_that_contradicts_the_body_is_logged_and_the_body_wins(up: Running, lines: Lines) -> None:
    answer = await up.post(completed(), x_tts_event="job.failed")
    assert (answer.status_code, up.rows()[0]["type"]) == (202, "job.completed")
    assert lines.of("delivery.unexpected")[0]["note"] == "event_header_mismatch"


# refused


_GOOD = signature(completed())


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "missing_header"),
        ([("x-tts-signature", "")], "malformed_header"),
        ([("x-tts-signature", _GOOD), ("x-tts-signature", _GOOD)], "repeated_header"),
        ([("x-tts-signature", "t=x,v1=" + "0" * 64)], "malformed_header"),
        ([("x-tts-signature", "t=1,v1=" + "0" * 63)], "malformed_header"),
        ([("x-tts-signature", "t=1,v2=" + "0" * 64)], "no_known_version"),
        ([("x-tts-signature", "t=1,v1=" + "0" * 64)], "mismatch"),
        ([("x-tts-signature", signature(completed(), "another secret, with spaces"))], "mismatch"),
        ([("x-tts-signature", signature(completed("job_2")))], "mismatch"),
    ],
)
async def test_every_bad_signature_is_401_with_one_same_body_and_the_reason_is_ours_alone(
    up: Running, lines: Lines, headers: list[tuple[str, str]], reason: str
) -> None:
    answer = await up.client.post("/webhooks/aitts", content=completed(), headers=headers)
    assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)
    assert set(answer.headers) == {"content-type", "content-length"}
    assert not_stored(up)
    assert up.counted(reason) == 1
    [line] = lines.of("delivery.refused")
    assert (line["outcome"], line["source"], line["level"]) == (reason, "aitts", "warning")
    assert SECRET not in lines.text


async def test_a_signature_outside_ascii_is_401(up: Running) -> None:
    headers = [(b"x-tts-signature", "t=１,v1=".encode() + b"0" * 64)]
    answer = await up.client.post("/webhooks/aitts", content=completed(), headers=headers)
    assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)


async def test_a_malformed_body_with_a_bad_signature_is_401_not_400(up: Running) -> None:
    answer = await up.post(b"{", x_tts_signature="t=1,v1=" + "0" * 64)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"[]", "not_an_object"),
        (b"{}", "no_event"),
        (b'{"event":"job.completed"}', "no_job_id"),
    ],
)
async def test_what_is_verified_but_cannot_be_read_is_400(up: Running, lines: Lines, body: bytes, reason: str) -> None:
    answer = await up.post(body)
    assert (answer.status_code, answer.json()) == (400, {"error": reason})
    assert not_stored(up)
    assert up.counted(reason) == 1
    assert lines.of("delivery.refused")[0]["outcome"] == reason


async def test_an_unknown_source_is_404(up: Running) -> None:
    for path in (
        "/webhooks/other",
        "/webhooks",
        "/",
        "/webhooks/aitts/",
        "//webhooks/aitts",
        "/livez/",
        "/webhooks/aitts/more",
        "/webhooks/%00",
    ):
        answer = await up.post(completed(), path=path)
        assert (answer.status_code, answer.json()) == (404, {"error": "not_found"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_a_wrong_method_is_405(up: Running, method: str) -> None:
    answer = await up.client.request(method, "/webhooks/aitts")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert answer.json() == {"error": "method_not_allowed"}


async def test_a_body_over_the_limit_is_413_announced_or_streamed(tmp_path: Path, lines: Lines) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    async with running(configured(tmp_path, server={"max_body_bytes": 2048})) as up:
        for content in (b" " * 2049, stream()):
            answer = await up.client.post("/webhooks/aitts", content=content)
            assert (answer.status_code, answer.json()) == (413, {"error": "too_large"})
            assert answer.headers["connection"] == "close"
        assert up.counted("too_large") == 2
        assert (await up.post(completed().ljust(2048))).status_code == 202


async def test_a_slow_sender_is_408(tmp_path: Path, lines: Lines) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with running(configured(tmp_path, server={"body_seconds": 0.01})) as up:
        answer = await up.client.post("/webhooks/aitts", content=stream())
        assert (answer.status_code, answer.json()) == (408, {"error": "too_slow"})
        assert up.counted("too_slow") == 1
        assert not_stored(up)


async def test_a_sender_that_goes_away_is_counted_and_gets_nothing(up: Running) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/webhooks/aitts", "headers": [], "query_string": b""}
    await up.receiver.public(scope, receive, send)
    assert sent == []
    assert up.counted("sender_gone") == 1


# where it listens


async def test_a_sources_own_path_replaces_the_default_one(tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path, source={"path": "/tts-webhook"})) as up:
        assert (await up.post(completed(), path="/tts-webhook")).status_code == 202
        assert (await up.post(completed())).status_code == 404
        assert (await up.client.get("/tts-webhook")).status_code == 405


async def test_mounted_in_another_application_it_answers_below_its_prefix(tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path)) as up:
        outer = Starlette(routes=[Mount("/speech", app=up.receiver.public)])
        transport = httpx.ASGITransport(app=outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://outer.test") as client:
            signed = {"x-tts-signature": signature(completed())}
            answer = await client.post("/speech/webhooks/aitts", content=completed(), headers=signed)
            assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
            assert (await client.get("/speech/webhooks/aitts")).status_code == 405
            assert (await client.post("/speech/webhooks/other", content=b"")).json() == {"error": "not_found"}
            assert (await client.post("/webhooks/aitts", content=completed(), headers=signed)).status_code == 404


async def test_each_source_has_its_own_secret(tmp_path: Path, lines: Lines) -> None:
    sources = {
        name: {"provider": "aitts", "signing_secrets": [secret]}
        for name, secret in (("one", SECRET), ("two", "another secret, with spaces"))
    }
    async with running(configured(tmp_path, sources=sources)) as up:
        assert (await up.post(completed(), path="/webhooks/one")).status_code == 202
        assert (await up.post(completed(), path="/webhooks/two")).status_code == 401
        other = signature(completed(), "another secret, with spaces")
        assert (await up.post(completed(), path="/webhooks/two", x_tts_signature=other)).status_code == 202
        assert sorted(row["source"] for row in up.rows()) == ["one", "two"]


async def test_the_public_side_shows_health_and_no_metrics(up: Running) -> None:
    assert (await up.client.get("/livez")).json() == {"alive": True}
    ready = await up.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": {}})
    assert (await up.client.get("/metrics")).status_code == 404
    up.receiver.drain()
    assert (await up.client.get("/readyz")).status_code == 503


# stale


@pytest.mark.parametrize(("seconds", "reason"), [(-301, "too_old"), (302, "too_new")])
async def test_an_authentic_but_stale_delivery_is_quarantined(
    up: Running, lines: Lines, seconds: float, reason: str
) -> None:
    answer = await up.post(completed(), at=time.time() + seconds)
    assert (answer.status_code, answer.json()["status"]) == (202, "quarantined")
    [row] = up.rows()
    assert (row["status"], row["id"]) == ("quarantined", answer.json()["event"])
    assert up.rows("runs") == []
    assert up.counted("quarantined") == 1
    assert lines.of("delivery.stale")[0]["reason"] == reason


async def test_a_fresh_copy_of_a_quarantined_delivery_dispatches_it(up: Running) -> None:
    first = (await up.post(completed(), at=time.time() - 1000)).json()
    answer = await up.post(completed())
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "event": first["event"]})
    assert len(up.rows("runs")) == 1


@pytest.mark.parametrize(("seconds", "reason"), [(-301, "too_old"), (302, "too_new")])
async def test_a_source_can_reject_stale_deliveries_like_any_bad_signature(
    tmp_path: Path, lines: Lines, seconds: float, reason: str
) -> None:
    async with running(configured(tmp_path, source={"stale": "reject"})) as up:
        answer = await up.post(completed(), at=time.time() + seconds)
        assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)
        assert not_stored(up)
        assert up.counted(reason) == 1
        assert lines.of("delivery.refused")[0]["outcome"] == reason


async def test_a_full_quarantine_refuses_stale_deliveries_and_takes_every_fresh_one(
    tmp_path: Path, lines: Lines
) -> None:
    old = time.time() - 1000
    async with running(configured(tmp_path, store={"max_quarantined": 2})) as up:
        for job in ("a", "b"):
            assert (await up.post(completed(job), at=old)).json()["status"] == "quarantined"
        answer = await up.post(completed("c"), at=old)
        assert (answer.status_code, answer.json()) == (503, {"error": "unavailable"})
        assert answer.headers["retry-after"] == "10"
        assert sorted(row["job_id"] for row in up.rows()) == ["a", "b"]
        assert up.counted("quarantine_full") == 1
        assert lines.of("delivery.not_stored")[0]["outcome"] == "quarantine_full"
        assert (await up.post(completed("a"), at=old)).json()["status"] == "quarantined", "a copy needs no room"
        assert (await up.post(completed("c"))).json()["status"] == "accepted"
        assert (await up.post(completed("a"))).json()["status"] == "accepted", "released"
        assert (await up.post(completed("d"), at=old)).json()["status"] == "quarantined"
        private = httpx.ASGITransport(app=up.receiver.private)
        async with httpx.AsyncClient(transport=private, base_url="http://127.0.0.1") as client:
            assert 'tts_receiver_events_quarantined{source="aitts"} 2.0' in (await client.get("/metrics")).text


def _make_old(connection: Connection) -> None:
    connection.execute(update(events).values(received_at=1))


async def test_events_in_quarantine_are_removed_when_they_are_older_than_their_days(
    tmp_path: Path, lines: Lines, signal: Signal
) -> None:
    settings = configured(tmp_path, store={"quarantine_days": 1})
    async with running(settings) as up:
        await up.post(completed("a"), at=time.time() - 1000)
        await up.post(completed("b"))
        await up.receiver.database.write(_make_old)
    async with running(settings) as up:
        await up.post(completed("b"))  # its signed time confirms the clock
        await signal.until(lambda: lines.of("quarantine.pruned"))
        assert [row["job_id"] for row in up.rows()] == ["b"]


async def test_the_tolerance_is_the_sources_own(tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path, source={"tolerance_seconds": 4000})) as up:
        assert (await up.post(completed(), at=time.time() - 3600)).json()["status"] == "accepted"


# rotation


async def test_several_secrets_hold_at_once_and_the_last_use_of_each_is_recorded(tmp_path: Path, lines: Lines) -> None:
    secrets = [{"id": "old", "secret": "old-secret-0123456789"}, {"id": "new", "secret": SECRET}]
    settings = configured(tmp_path, source={"signing_secrets": secrets})
    async with running(settings) as up:
        before = time.time()
        old = signature(completed("a"), "old-secret-0123456789")
        assert (await up.post(completed("a"), x_tts_signature=old)).status_code == 202
        assert (await up.post(completed("b"))).status_code == 202
        assert {row["job_id"]: row["key_id"] for row in up.rows()} == {"a": "old", "b": "new"}
        uses = {row["key_id"]: row["last_used_at"] for row in up.rows("signing_keys")}
        assert set(uses) == {"old", "new"}
        assert all(before <= at <= time.time() for at in uses.values())
        recorded = await up.receiver.database.read(views.key_uses)
    source = settings.sources["aitts"]
    window = source.provider.retry_window_seconds
    assert window == 38 * 3600
    last = max(recorded["aitts", "old"][1], recorded["aitts", "new"][0])
    old_note, new_note = key_notes("aitts", source, recorded, last + window - 60)
    assert "secret old: last used" in old_note
    assert not old_note.endswith("can be retired"), "a delivery signed with it may still be tried again"
    old_note, new_note = key_notes("aitts", source, recorded, last + window + 60)
    assert old_note.endswith("can be retired")
    assert "retired" not in new_note


async def test_a_secret_that_is_alone_or_still_the_newest_in_use_cannot_be_retired(tmp_path: Path) -> None:
    secrets = [{"id": "in_use", "secret": "a-secret-0123456789"}, {"id": "next", "secret": "b-secret-0123456789"}]
    source = configured(tmp_path, source={"signing_secrets": secrets}).sources["aitts"]
    now = time.time()
    for uses in ({}, {("aitts", "in_use"): (now - 90 * 86_400, now - 80 * 86_400)}):
        assert "retired" not in key_notes("aitts", source, uses, now)[0]


async def test_the_use_of_a_key_is_recorded_also_if_the_first_try_was_not_stored(tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path, handlers={})) as up:
        await limit_pages(up.receiver.database, 1)
        big = completed(metadata={"text": "x" * 200_000})
        assert (await up.post(big)).status_code == 503
        await limit_pages(up.receiver.database, 1_000_000)
        assert (await up.post(big)).status_code == 202
        assert len(up.rows("signing_keys")) == 1


async def test_a_secret_outside_its_validity_does_not_hold(tmp_path: Path, lines: Lines) -> None:
    secrets = [{"id": "old", "secret": SECRET, "not_after": "2020-01-01T00:00:00Z"}]
    async with running(configured(tmp_path, source={"signing_secrets": secrets})) as up:
        answer = await up.post(completed())
        assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)
        assert up.counted("no_active_key") == 1


# the store in trouble


async def test_at_the_queues_bound_503_and_what_waits_is_answered_only_after_its_commit(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", PATIENCE)
    async with running(configured(tmp_path, server={"max_waiting": 5}, handlers={})) as up:
        lock = WriteLock(up.receiver.database)
        posted = dict[str, asyncio.Task[httpx.Response]]()
        while not any(task.done() for task in posted.values()):  # other parts write, too, and count
            job, before = f"job_{len(posted)}", up.receiver.database.waiting
            posted[job] = asyncio.create_task(up.post(completed(job)))
            while not posted[job].done() and up.receiver.database.waiting == before:
                await asyncio.sleep(0)
        for task in posted.values():
            if task.done():
                assert (task.result().status_code, task.result().json()) == (503, {"error": "unavailable"})
                assert int(task.result().headers["retry-after"]) > 0
        assert not_stored(up)
        lock.release()
        answers = dict(zip(posted, await asyncio.gather(*posted.values()), strict=True))
        stored = {job for job, answer in answers.items() if answer.status_code == 202}
        assert 0 < len(stored) <= 5
        assert {row["job_id"] for row in up.rows()} == stored
        assert up.counted("store_busy") == len(posted) - len(stored)
        assert lines.of("delivery.not_stored")[0]["outcome"] == "store_busy"
        assert (await up.post(completed("after"))).status_code == 202


async def test_a_duplicate_too_is_answered_only_after_its_commit(up: Running) -> None:
    await up.post(completed())
    lock = WriteLock(up.receiver.database)
    copy = asyncio.create_task(up.post(completed()))
    await until_waiting(up.receiver)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not copy.done()
    assert up.rows()[0]["duplicates"] == 0
    lock.release()
    assert (await copy).status_code == 202
    assert up.rows()[0]["duplicates"] == 1


async def test_a_full_store_is_503_with_retry_after_and_nothing_is_acknowledged(tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path, handlers={})) as up:
        await limit_pages(up.receiver.database, 1)
        big = completed(metadata={"text": "x" * 200_000})
        for _ in range(2):
            answer = await up.post(big)
            assert (answer.status_code, answer.json()) == (503, {"error": "unavailable"})
            assert int(answer.headers["retry-after"]) > 0
        assert not_stored(up)
        assert up.counted("store_full") == 2
        assert "full" in lines.of("delivery.not_stored")[0]["detail"]
        await limit_pages(up.receiver.database, 1_000_000)
        answer = await up.post(big)
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")


async def test_what_was_accepted_is_there_after_a_restart_and_a_late_copy_is_a_duplicate(
    tmp_path: Path, lines: Lines
) -> None:
    async with running(configured(tmp_path)) as up:
        first = (await up.post(completed())).json()
    async with running(configured(tmp_path)) as up:
        assert (await up.post(completed())).json() == {"status": "duplicate", "event": first["event"]}


async def test_no_secret_and_no_signed_address_is_in_the_log(up: Running, lines: Lines) -> None:
    await up.post(completed(audio_url="https://storage.example/a?sig=HIDDEN"))
    await up.post(b'{"event":"job.failed","data":{"job_id":"x","error":"see https://s.example/e?token=HIDDEN"}}')
    await up.post(completed(), x_tts_signature="t=1,v1=" + "0" * 64)
    assert SECRET not in lines.text
    assert "HIDDEN" not in lines.text
