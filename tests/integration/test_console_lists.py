"""The lists of the console: filters in the address, pages by cursor, files of the rows, and the search box."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path
from typing import Any

import pytest

from receiver import Settings
from receiver.store.schema import audit_entries, jobs, operations, runs
from tests.integration.api_support import Api, api, deliver, event_number
from tests.integration.intake_support import completed, configured
from tests.stores import insert_rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={"log": {}}, search={"metadata": ["customer"]})


def shown(page: str) -> list[str]:
    """What stands for each row, in the order of the page."""
    return re.findall(r'<tr data-row="([^"]+)"', page)


async def add_dead(client: Api, *numbers: int, **fields: Any) -> None:
    """Events with a dead run."""
    await client.add(*numbers)
    of_run = {"handler": "log", "state": "dead", "attempt": 3, "due_at": 0.0, "finished_at": 1.0, "error": "It broke."}
    rows = [{"event_id": event_number(number), **of_run, **fields} for number in numbers]
    insert_rows(client.up.receiver.database, runs, *rows)


@pytest.mark.parametrize("path", ["/events", "/runs", "/jobs", "/changes", "/artifacts"])
async def test_a_list_without_rows_says_so(settings: Settings, path: str) -> None:
    async with api(settings) as client:
        answer = await client.get(f"/console{path}")
        assert answer.status_code == 200
        assert re.search("Nothing is stored yet|Nobody has changed|No audio is stored yet", answer.text)
        assert "Nothing matches." in (await client.get(f"/console{path}?since=1h")).text


async def test_filters_are_those_of_the_api(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, 2)
        await add_dead(client, 3, 4, error_kind="rejected", reason="no_voice")
        assert shown((await client.get("/console/events")).text) == [event_number(n) for n in (4, 3, 2, 1)]
        assert shown((await client.get("/console/events?state=done")).text) == [event_number(2), event_number(1)]
        assert shown((await client.get("/console/events?job_id=job-2")).text) == [event_number(2)]
        page = (await client.get("/console/runs?state=dead&reason=no_voice")).text
        assert shown(page) == [f"{event_number(n)} log" for n in (4, 3)]
        assert "Reason: <b>no_voice</b>" in page
        assert shown((await client.get("/console/runs?state=dead&reason=")).text) == []
        assert shown((await client.get("/console/events?since=1h")).text) == [], "they were received in another year"


async def test_states_have_their_counts(settings: Settings) -> None:
    async with api(settings) as client:
        await add_dead(client, 1, 2)
        for name in ("events", "runs"):
            assert re.search(
                r'dead <span class="badge badge-dead">2</span>', (await client.get(f"/console/{name}")).text
            )


async def test_pages_follow_one_another(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(*range(1, 8))
        found, path = [], "/console/events?limit=3&source=aitts"
        while path:
            page = (await client.get(path)).text
            found += shown(page)
            match = re.search(r'rel="next" href="([^"]+)"', page)
            path = match[1].replace("&amp;", "&") if match else ""
        assert found == [event_number(number) for number in range(7, 0, -1)]
        assert 'rel="first"' in page


@pytest.mark.parametrize(
    ("query", "code", "what"),
    [
        ("limit=x", 400, "must be a whole number"),
        ("nothing=1", 400, "is not known"),
        ("since=yesterday", 400, "must be a time such as"),
        ("state=asleep", 400, "input should be"),
        ("source=nobody", 404, "There is no source &#39;nobody&#39;"),
        ("type=job.complete", 404, "did you mean &#39;job.completed&#39;?"),
        ("metadata=voice=x", 422, "is not indexed by"),
        ("cursor=%3Cscript%3E", 400, "should match pattern"),
        ("job_id=%00", 400, "contains a NUL character"),
    ],
)
async def test_a_wrong_filter_is_explained_beside_its_field(
    settings: Settings, query: str, code: int, what: str
) -> None:
    async with api(settings) as client:
        answer = await client.get(f"/console/events?{query}")
        assert answer.status_code == code
        assert what in re.sub(r"metadata is not", "is not", answer.text)
        assert "<h1>Events</h1>" in answer.text, "the list is there to be filtered again"


async def test_a_form_leads_to_an_address_without_its_empty_fields(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/console/runs?form=1&handler=log&source=&reason=&since=24h")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/runs?handler=log&since=24h")


async def test_all_rows_are_a_file(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(*range(1, 251))
        await client.add(300, type="made.of.words", job_id="=HYPERLINK(1)")
        answer = await client.get("/console/events.csv?limit=3")
        assert answer.headers["content-disposition"] == 'attachment; filename="events.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["id"] for row in rows] == [event_number(number) for number in (300, *range(250, 0, -1))]
        assert rows[0]["job_id"] == "'=HYPERLINK(1)", "a spreadsheet does not execute it"
        found = await client.json("/console/events.json?type=made.of.words")
        assert found == {"items": (await client.json("/v1/events?type=made.of.words"))["items"], "next": None}
        assert (await client.get("/console/events.csv?source=nobody")).status_code == 404


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "/events"),
        (event_number(1), f"/events/{event_number(1)}"),
        (f"job_{1:032x}", f"/jobs/job_{1:032x}"),
        ("customer=acme & co", "/events?metadata=customer%3Dacme+%26+co"),
        ("job-2", "/events?job_id=job-2"),
        ("no such voice", "/events?error_text=no+such+voice"),
    ],
)
async def test_the_search_box_finds_what_a_text_stands_for(settings: Settings, text: str, path: str) -> None:
    async with api(settings) as client:
        await client.add(1, 2)
        answer = await client.client.get("/console/search", params={"q": text})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/console{path}")


async def test_the_stream_of_events_is_that_of_the_api(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1)
        answer = await client.get(f"/console/stream?seconds=0&after={event_number(0)}")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert f"id: {event_number(1)}\n" in answer.text


async def test_audio_is_listed_by_event(settings: Settings) -> None:
    async with api(settings) as client:
        first, _, third = await client.add(1, 2, 3)
        await client.give_audio(first, b"RIFF0")
        await client.give_audio(third, b"RIFF11")
        await client.give_audio(third, b"RIFF2222", n=1)
        rows = [f"{third} 0", f"{third} 1", f"{first} 0"]
        assert shown((await client.get("/console/artifacts")).text) == rows
        page = await client.json("/v1/artifacts?limit=1")
        assert [(item["event_id"], item["n"], item["bytes"]) for item in page["items"]] == [
            (third, 0, 6),
            (third, 1, 8),
        ]
        rest = await client.json(f"/v1/artifacts?limit=1&cursor={page['next']}")
        assert ([item["job_id"] for item in rest["items"]], rest["next"]) == (["job-1"], None)
        assert shown((await client.get("/console/artifacts?since=1h")).text) == []


async def test_sources_and_processes_are_those_of_the_api(settings: Settings) -> None:
    async with api(settings) as client:
        page = (await client.get("/console/sources")).text
        assert "/webhooks/aitts" in page
        (source,) = (await client.json("/v1/sources"))["items"]
        assert (source["name"], source["webhook_path"]) == ("aitts", "/webhooks/aitts")
        (process,) = (await client.json("/v1/processes"))["items"]
        assert process["role"] == "all"
        assert process["host"] in page


PAUSE = ("until", "reason", "polls_only")


async def test_no_cell_of_a_file_is_a_formula(settings: Settings) -> None:
    async with api(settings) as client:
        begins = ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(0)"]
        for text in begins:
            await deliver(client.up, completed(text))
        answer = await client.get("/console/events.csv")
        cells = {row["job_id"] for row in csv.DictReader(io.StringIO(answer.text))}
        assert cells == {f"'{text}" for text in begins}
        shown_ids = (await client.get("/console/events")).text
        assert all(f">{text}</a>" in shown_ids for text in begins), "a page shows them as they are"


async def test_sources_are_a_file_as_well(settings: Settings) -> None:
    async with api(settings) as client:
        items = (await client.json("/v1/sources"))["items"]
        assert (await client.json("/console/sources.json"))["items"] == items
        answer = await client.get("/console/sources.csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="sources.csv"'
        (row,) = csv.DictReader(io.StringIO(answer.text))
        names = [f"pause.{of}" if of else name for name in items[0] for of in (PAUSE if name == "pause" else [""])]
        assert (row["name"], list(row)) == ("aitts", names), "as the command has it"


async def test_the_search_box_takes_the_beginning_of_an_id(settings: Settings) -> None:
    async with api(settings) as client:
        id = await deliver(client.up, completed("job-1"))
        for text in (id[:20], id[4:20], id[:30]):
            answer = await client.get(f"/console/search?q={text}")
            assert answer.headers["location"] == f"/console/events/{id}", text
        for text in (f"job_{id[4:20]}", "f" * 16):
            answer = await client.get(f"/console/search?q={text}")
            assert answer.headers["location"] == f"/console/events?error_text={text}"


async def test_an_error_names_what_it_is_about(settings: Settings) -> None:
    async with api(settings) as client:
        for query, name in (("cursor=x", "cursor"), ("limit=0", "limit"), ("utm=1", "utm")):
            answer = await client.get(f"/console/events?{query}")
            assert answer.status_code == 400
            assert f'<p class="verdict bad">{name}: ' in answer.text


async def test_every_other_list_can_begin_with_the_oldest(settings: Settings) -> None:
    async with api(settings) as client:
        store = client.up.receiver.database
        for event in await client.add(1, 2, 3):
            await client.give_audio(event, b"RIFF")
        for number in (1, 2, 3):
            id, at = f"{number:032x}", float(number)
            of_job = {"source": "aitts", "job_id": id, "state": "completed", "due_at": at, "deadline_at": at}
            insert_rows(store, jobs, {"id": f"job_{id}", "created_at": at, **of_job})
            change = {"id": f"chg_{id}", "at": at, "operation": "replay", "changed": 1, "updated_at": at}
            entry = {"actor": "anna", "via": "api", "filter": {}}
            insert_rows(store, audit_entries, {**change, **entry, "state": "completed"})
            insert_rows(
                store, operations, {**change, "state": "completed", "matching": 1, "entry": entry, "criteria": {}}
            )
        for name in ("artifacts", "jobs", "changes", "operations"):
            newest = shown((await client.get(f"/console/{name}")).text)
            page = (await client.get(f"/console/{name}?order=oldest&limit=2")).text
            assert 'aria-sort="ascending"' in page
            (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
            rest = (await client.get(html.unescape(following))).text
            assert [*shown(page), *shown(rest)] == newest[::-1], name
            assert len(newest) == 3


async def test_events_and_runs_can_begin_with_the_oldest(settings: Settings) -> None:
    async with api(settings) as client:
        await add_dead(client, 1, 2, 3)
        for name, row in (("events", "{}"), ("runs", "{} log")):
            page = (await client.get(f"/console/{name}?state=dead&limit=2")).text
            assert shown(page) == [row.format(event_number(n)) for n in (3, 2)]
            assert 'aria-sort="descending"' in page
            (head,) = re.findall(r'class="sort" href="([^"]+)"', page)
            page = (await client.get(html.unescape(head))).text
            assert shown(page) == [row.format(event_number(n)) for n in (1, 2)]
            assert 'aria-sort="ascending"' in page
            assert "Replay all that match" in page
            (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
            page = (await client.get(html.unescape(following))).text
            assert shown(page) == [row.format(event_number(3))]
            assert 'rel="next"' not in page
            rows = (await client.json(f"/v1/{name}?order=oldest"))["items"]
            assert [item.get("event_id", item.get("id")) for item in rows] == [event_number(n) for n in (1, 2, 3)]
        page = (await client.get("/console/events?error_text=broke")).text
        assert 'class="sort"' not in page
        assert (await client.get("/v1/events?error_text=broke&order=oldest")).status_code == 422
