"""The pages of one event and of one job, the audio, and the forms that change something."""

from __future__ import annotations

import re
import time
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from receiver import Settings
from receiver.store import schema
from tests.integration.api_support import Api, api, deliver, event_number
from tests.integration.intake_support import completed, configured
from tests.stores import execute, insert_rows

pytestmark = pytest.mark.anyio

JOB = f"job_{1:032x}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\x07\u202e\u2066\u200b\ufeffü音&amp;"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={"log": {}}, search={"metadata": ["customer"]})


def csrf_of(page: str) -> str:
    """The hidden field of the page's forms."""
    match = re.search(r'name="csrf" value="(\w+)"', page)
    assert match is not None
    return match[1]


def foreign_markup(page: str) -> list[str]:
    """Elements and attributes that no page of the console has."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(name for name, _ in attrs if name.startswith("on") or name == "style")
            if tag in ("img", "style", "iframe", "object") or (tag == "script" and "src" not in dict(attrs)):
                found.append(tag)

    Reader().feed(page)
    return found


async def post(client: Api, path: str, **fields: str) -> httpx.Response:
    """A form as a browser sends it."""
    return await client.client.post(f"/console{path}", data=fields)


async def add_run(client: Api, id: str, **fields: Any) -> None:
    """A dead run with two attempts and a traceback."""
    database = client.up.receiver.database
    run = {"event_id": id, "handler": "log", "state": "dead", "attempt": 2, "due_at": 0.0, "finished_at": 9.0}
    insert_rows(database, schema.runs, {**run, "error": "It broke.", "error_kind": "KeyError", **fields})
    of_attempt = {"event_id": id, "handler": "log", "outcome": "failed", "error": "It broke.", "error_kind": "KeyError"}
    base = 1_800_000_001.0
    insert_rows(
        database,
        schema.attempts,
        {**of_attempt, "number": 1, "started": base + 0.5, "ended": base + 1.75},
        {**of_attempt, "number": 2, "started": base + 31.75, "ended": base + 32.0},
    )
    traced = {"event_id": id, "handler": "log", "attempt": 2, "text": 'File "x.py", line 3\n  KeyError'}
    insert_rows(database, schema.run_tracebacks, traced)


async def test_an_event_has_its_attempts_and_the_waits_between_them(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_run(client, id)
        page = (await client.get(f"/console/events/{id}")).text
        assert re.findall(r'<td class="num sub-cell">([^<]+)</td>', page) == ["500 ms", "30 s"]
        assert "worked 1.5 s, waited 30 s" in page
        assert "Traceback of attempt 2" in page
        assert "File &#34;x.py&#34;, line 3\n  KeyError" in page, "its lines are kept"


async def test_the_fetch_of_the_audio_is_a_bar_of_the_timeline(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_run(client, id)
        assert 'class="fetch"' not in (await client.get(f"/console/events/{id}")).text
        await client.give_audio(id, b"RIFF0")
        await client.give_audio(id, b"RIFF1", n=1)
        received = (await client.json(f"/v1/events/{id}"))["received_at"]
        at = datetime.fromisoformat(received).timestamp()
        files = update(schema.artifacts).where(schema.artifacts.c.event_id == id)
        execute(client.up.receiver.database, files.values(fetched_at=at + 8, fetch_seconds=4.0))
        execute(client.up.receiver.database, files.where(schema.artifacts.c.n == 1).values(fetched_at=at + 16))
        page = (await client.get(f"/console/events/{id}")).text
        assert "fetched in 12 s" in page
        bars = re.findall(r'<rect class="fetch" x="([\d.]+)" y="0" width="([\d.]+)"', page)
        lasts = 32.0  # until the end of the last attempt
        assert [(round(float(x)), round(float(width))) for x, width in bars] == [
            (round(1000 * begin / lasts), round(1000 * 4 / lasts)) for begin in (4, 12)
        ]


async def test_a_delivery_is_shown_as_it_was_received_and_verified(settings: Settings) -> None:
    async with api(settings) as client:
        id = await deliver(client.up, completed("job-7"), **{"user-agent": "a provider"})
        page = (await client.get(f"/console/events/{id}")).text
        assert '<span class="state state-done">valid</span>' in page
        assert "a provider" in page
        assert "[redacted]" in page
        assert "&#34;job.completed&#34;" in page
        execute(client.up.receiver.database, update(schema.events).values(body=b'{"event":"job.failed"}'))
        assert '<span class="state state-dead">invalid</span>' in (await client.get(f"/console/events/{id}")).text


async def test_files_that_are_not_audio_are_not_named_audio(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_job(client, state="completed", event_id=id, kind="task", ended_at=time.time())
        await client.give_audio(id, b"RIFF0")
        for path in (f"events/{id}", f"jobs/{JOB}"):
            assert "<h2>Audio</h2>" in (await client.get(f"/console/{path}")).text
        await client.give_audio(id, b"1", n=1, content_type="application/x-subrip", format="srt", duration=None)
        for path in (f"events/{id}", f"jobs/{JOB}"):
            page = (await client.get(f"/console/{path}")).text
            assert "<h2>Files</h2>" in page
            assert page.count("<audio") == 1
        assert '<span class="word">task</span>' in (await client.get("/console/jobs")).text


async def test_audio_is_played_from_beneath_the_console(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        assert "<audio" not in (await client.get(f"/console/events/{id}")).text
        await client.give_audio(id, b"RIFF0123456789")
        page = (await client.get(f"/console/events/{id}")).text
        (source,) = re.findall(r'<audio[^>]+src="([^"]+)"', page)
        answer = await client.get(source, range="bytes=4-7")
        assert (answer.status_code, answer.content) == (206, b"0123")
        assert answer.headers["content-type"] == "audio/wav"
        assert (await client.client.head(source)).headers["content-length"] == "14"
        assert (await client.get(f"/console/events/{event_number(2)}/audio")).status_code == 404


async def test_a_replay_makes_runs_due_and_is_in_the_audit_log(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_run(client, id)
        page = (await client.get(f"/console/events/{id}")).text
        answer = await post(client, f"/events/{id}/replay", csrf=csrf_of(page), handler="log")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/console/events/{id}?replayed=1")
        assert "1 run is due again." in (await client.get(answer.headers["location"])).text
        (change,) = (await client.json("/v1/changes"))["items"]
        assert (change["operation"], change["via"], change["actor"]) == ("replay", "console", "local")
        assert "replay" in (await client.get("/console/changes")).text


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "ü"])
async def test_a_form_from_elsewhere_is_refused(settings: Settings, csrf: str | None) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_run(client, id)
        fields = {"handler": "log"} if csrf is None else {"csrf": csrf}
        assert (await post(client, f"/events/{id}/replay", **fields)).status_code == 403
        page = (await client.get(f"/console/events/{id}")).text
        sent = {"csrf": csrf_of(page)}
        answer = await client.client.post(f"/console/events/{id}/replay", json=sent)
        assert answer.status_code == 415
        answer = await client.client.post(
            f"/console/events/{id}/replay", data=sent, headers={"origin": "https://evil.test"}
        )
        assert answer.status_code == 403
        assert client.up.rows("audit_entries") == []


async def test_what_cannot_be_replayed_says_why(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        await add_run(client, id)
        csrf = csrf_of((await client.get(f"/console/events/{id}")).text)
        answer = await post(client, f"/events/{id}/replay", csrf=csrf, handler="nobody")
        assert answer.status_code == 409
        assert "nobody" in answer.text


@pytest.mark.parametrize("path", [f"/events/{event_number(9)}", "/events/x", f"/jobs/{JOB}", "/jobs/%3Cscript%3E"])
async def test_what_does_not_exist_is_404(settings: Settings, path: str) -> None:
    async with api(settings) as client:
        answer = await client.get(f"/console{path}")
        assert answer.status_code == 404
        assert "<script>" not in answer.text


async def add_job(client: Api, **fields: Any) -> None:
    """A job that is watched."""
    now = time.time()
    times = {"created_at": now, "due_at": now + 900, "deadline_at": now + 9000}
    row = {"id": JOB, "source": "aitts", "job_id": "job-1", "state": "watching", "polls": 3, **times, **fields}
    insert_rows(client.up.receiver.database, schema.jobs, row)


async def test_a_job_has_its_request_its_event_and_its_cost(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1, payload='{"chars_charged": 1234}')
        request = {"text": "Good morning.\nAgain.", "voice": "alloy"}
        await add_job(client, state="completed", event_id=id, ended_at=time.time(), progress=100, request=request)
        page = (await client.get(f"/console/jobs/{JOB}")).text
        assert "<blockquote>Good morning.\nAgain.</blockquote>" in page
        assert "1234" in page
        assert f'href="/console/events/{id}"' in page
        assert "Stop watching it" not in page
        assert f'href="/console/jobs/{JOB}"' in (await client.get(f"/console/events/{id}")).text


async def test_a_job_without_its_event_has_the_cost_that_was_stored(settings: Settings) -> None:
    async with api(settings) as client:
        at = {"created_at": 1.0, "due_at": 1.0, "deadline_at": 1.0, "ended_at": 2.0}
        of_job = {"id": JOB, "source": "aitts", "job_id": "job-1", "state": "completed", "event_id": event_number(1)}
        insert_rows(client.up.receiver.database, schema.jobs, {**of_job, **at, "chars_charged": 4321})
        page = (await client.get(f"/console/jobs/{JOB}")).text
        assert re.search(r"<dt>Cost</dt><dd>4321 ", page)
        assert "deleted" in page
        change = update(schema.jobs).values(chars_charged=None, credits_used="0.5")
        execute(client.up.receiver.database, change)
        assert re.search(r"<dt>Cost</dt><dd>0.5 ", (await client.get(f"/console/jobs/{JOB}")).text)


async def test_a_job_can_be_cancelled(settings: Settings) -> None:
    async with api(settings) as client:
        await add_job(client)
        page = (await client.get(f"/console/jobs/{JOB}")).text
        answer = await post(client, f"/jobs/{JOB}/cancel", csrf=csrf_of(page))
        assert (answer.status_code, answer.headers["location"]) == (303, f"/console/jobs/{JOB}")
        assert "state-cancelled" in (await client.get(answer.headers["location"])).text


async def test_text_from_outside_is_data_on_every_page(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1, type="made.of.words")
        await add_run(client, id, error=HOSTILE, reason=HOSTILE[:64], error_kind=HOSTILE[:64], result=HOSTILE)
        await add_job(
            client, job_id=HOSTILE, state="failed", ended_at=time.time(), error=HOSTILE, error_code=HOSTILE,
            event_id=id, request={"text": HOSTILE, "voice": HOSTILE, "metadata": {HOSTILE: HOSTILE}},
        )  # fmt: skip
        await client.give_audio(id, b"RIFF", content_type=HOSTILE, format=HOSTILE)
        database = client.up.receiver.database
        texts = dict.fromkeys(("type", "job_id", "key_id", "conflict"), HOSTILE)
        payload = {"metadata": {HOSTILE: HOSTILE, "nested": [HOSTILE]}, "chars_charged": HOSTILE}
        headers = [[HOSTILE, HOSTILE], ["user-agent", HOSTILE]]
        execute(
            database, update(schema.events).values(payload=payload, headers=headers, body=HOSTILE.encode(), **texts)
        )
        execute(database, update(schema.attempts).values(error=HOSTILE, reason=HOSTILE[:64]))
        execute(database, update(schema.run_tracebacks).values(text=HOSTILE))
        entry = {"id": f"chg_{1:032x}", "at": 1.0, "actor": HOSTILE, "via": "cli", "operation": "replay", "changed": 1}
        more = {"state": "completed", "updated_at": 1.0, "detail": HOSTILE, "filter": {HOSTILE: HOSTILE}}
        insert_rows(database, schema.audit_entries, entry | more)
        pages = [
            "", "/events", "/runs", "/jobs", "/changes", "/artifacts", "/sources", f"/events/{id}", f"/jobs/{JOB}",
            "/events?job_id=%3Cscript%3Ealert(1)%3C/script%3E%1B%E2%80%AE", "/runs?reason=%3Cscript%3E",
        ]  # fmt: skip
        for path in pages:
            answer = await client.get(f"/console{path}")
            assert answer.status_code == 200, path
            text = answer.text
            assert [char for char in text if not char.isprintable() and char != "\n"] == [], path
            assert foreign_markup(text) == [], path
        assert "\\u202e" in (await client.get(f"/console/events/{id}")).text, "what was there is still seen"
