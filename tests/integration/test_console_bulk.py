"""Changes of all that a list shows: the dry run, the confirmation, and the operation's page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from receiver import Settings
from receiver.store.schema import runs
from tests.integration.api_support import HOST, Api, api, event_number, until_ended
from tests.integration.console_support import VIEWERS_TOKEN, logged_in, send_form, with_users
from tests.integration.intake_support import configured
from tests.integration.test_console_event import HOSTILE, csrf_of, foreign_markup
from tests.stores import insert_rows

pytestmark = pytest.mark.anyio

DEAD = "state=dead&reason=no_voice"
LINK = re.compile(r'href="(/console/(?:runs|events)/(\w+)\?[^"]*)"')


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={"log": {}}, search={"metadata": ["customer"]})


async def add_runs(client: Api, *numbers: int, **fields: object) -> None:
    """Events with a run; a dead one if nothing else is given."""
    await client.add(*numbers)
    of_run = {"handler": "log", "state": "dead", "attempt": 3, "due_at": 0.0, "finished_at": 1.0, "error": "It broke."}
    why = {"error_kind": "rejected", "reason": "no_voice"}
    rows = [{"event_id": event_number(number), **of_run, **why, **fields} for number in numbers]
    insert_rows(client.up.receiver.database, runs, *rows)


async def offers(client: Api, path: str) -> list[str]:
    """The names of the operations that a list offers."""
    return [name for _, name in LINK.findall((await client.get(f"/console{path}")).text)]


def hidden(page: str) -> list[tuple[str, str]]:
    """The hidden fields of the form that confirms an operation."""
    form = page[page.index('class="confirm"') :]
    return re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)


async def confirm(client: Api, path: str, page: str) -> httpx.Response:
    """Send the form of a dry run."""
    content = urlencode(hidden(page))
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": HOST}
    return await client.client.post(f"/console{path}", content=content, headers=form)


async def test_a_list_offers_what_its_filters_select_and_nothing_more(settings: Settings) -> None:
    async with api(settings) as client:
        assert await offers(client, "/runs") == [], "without any filter"
        assert await offers(client, "/runs?state=dead") == ["replay"]
        assert await offers(client, "/runs?handler=log&metadata=customer%3Dacme") == ["replay"]
        assert await offers(client, "/runs?state=pending") == ["cancel"]
        assert await offers(client, "/runs?state=pending&handler=log") == ["retry", "cancel"]
        assert await offers(client, "/runs?state=running") == ["cancel"]
        assert await offers(client, "/events?state=quarantined") == []
        assert await offers(client, "/events?state=quarantined&source=aitts") == ["release"]
        assert await offers(client, "/events?since=1h") == ["replay"]
        assert await offers(client, "/events?error_text=voice") == [], "the operation would select more than is shown"
        assert await offers(client, "/jobs?state=unknown") == []


async def test_a_dry_run_shows_what_would_change_and_changes_nothing(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1, 2, 3)
        await add_runs(client, 4, reason="other")
        page = (await client.get(f"/console/runs/replay?{DEAD}")).text
        assert "Replay 3 runs?" in page
        assert re.findall(r'<tr data-row="(\w+) log"', page) == [event_number(n) for n in (1, 2, 3)]
        assert page.count("It broke.") == 3
        assert len((await client.json("/v1/runs?state=dead"))["items"]) == 4
        assert (await client.json("/v1/operations"))["items"] == []
        nothing = (await client.get("/console/runs/replay?state=dead&reason=unheard_of")).text
        assert "No run matches" in nothing
        assert 'class="confirm"' not in nothing


async def test_a_dry_run_counts_no_further_than_a_page_can_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.web.console.bulk.MAX_COUNTED_AT_ONCE", 2)
    async with api(settings) as client:
        await add_runs(client, 1, 2)
        assert "Replay 2 runs?" in (await client.get(f"/console/runs/replay?{DEAD}")).text
        await add_runs(client, 3, 4)
        assert "Replay 2+ runs?" in (await client.get(f"/console/runs/replay?{DEAD}")).text


async def test_a_confirmed_operation_is_done_and_its_page_shows_it(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1, 2, 3)
        await add_runs(client, 4, reason="other")
        page = (await client.get(f"/console/runs/replay?{DEAD}")).text
        answer = await confirm(client, "/runs/replay", page)
        assert answer.status_code == 303
        path = answer.headers["location"]
        assert path.startswith("/console/operations/chg_")
        found = await until_ended(client, path.rpartition("/")[2])
        assert (found["state"], found["changed"], found["actor"]) == ("completed", 3, "local")
        shown = (await client.get(path)).text
        assert "<b>3</b> of 3 runs" in shown
        assert "state-completed" in shown
        assert "Matching now" in shown
        listed = (await client.get("/console/operations")).text
        assert path in listed
        (entry,) = (await client.json("/v1/changes"))["items"]
        assert (entry["operation"], entry["via"], entry["changed"]) == ("replay_runs", "console", 3)
        assert [item["event_id"] for item in (await client.json("/v1/runs?state=dead"))["items"]] == [event_number(4)]


async def test_what_is_confirmed_is_what_the_dry_run_counted_not_a_later_age(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1)
        page = (await client.get("/console/runs/replay?since=2h&metadata=customer%3Da&metadata=customer%3Db")).text
        assert "No run matches" in page
        page = (await client.get("/console/runs/replay?until=2099-01-01T00:00:00Z&handler=log&since=99999d")).text
        fields = dict(hidden(page))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", fields["since"])
        assert {"csrf", "since", "until", "handler"} == set(fields)


async def test_an_operation_can_be_stopped_and_resumed(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1, 2)
        await client.up.receiver.operations.stop()
        answer = await confirm(client, "/runs/replay", (await client.get(f"/console/runs/replay?{DEAD}")).text)
        path = answer.headers["location"]
        page = (await client.get(path)).text
        assert "state-unfinished" in page
        assert "<b>0</b> of 2 runs" in page
        assert f'action="{path}/stop"' in page
        assert f'action="{path}/resume"' not in page
        assert 'data-every="1000"' in page
        token = csrf_of(page)
        assert (await send_form(client, f"{path}/stop", csrf="")).status_code == 403
        assert (await send_form(client, f"{path}/stop", csrf=token)).headers["location"] == path
        page = (await client.get(path)).text
        assert "state-stopped" in page
        assert f'action="{path}/stop"' not in page
        assert (await send_form(client, f"{path}/resume", csrf=token)).headers["location"] == path
        assert "state-unfinished" in (await client.get(path)).text
        changes = (await client.json("/v1/changes"))["items"]
        assert [(entry["operation"], entry["via"]) for entry in changes] == [
            ("resume_operation", "console"),
            ("stop_operation", "console"),
        ]


async def test_events_are_replayed_with_the_chosen_handlers(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1, 2)
        page = (await client.get("/console/events/replay?state=dead")).text
        assert "Replay 2 events?" in page
        assert '<input type="checkbox" name="handlers" value="log">' in page
        answer = await send_form(client, "/console/events/replay", csrf=csrf_of(page), state="dead", handlers="log")
        assert answer.status_code == 303, answer.text
        found = await until_ended(client, answer.headers["location"].rpartition("/")[2])
        assert found["filter"] == {"state": "dead", "handlers": ["log"]}


async def test_a_form_without_a_condition_or_with_another_one_is_refused(settings: Settings) -> None:
    async with api(settings) as client:
        await add_runs(client, 1)
        token = csrf_of((await client.get(f"/console/runs/replay?{DEAD}")).text)
        for fields in ({}, {"error_text": "x"}, {"state": "dead", "dry_run": "true"}, {"state": "running"}):
            answer = await send_form(client, "/console/runs/replay", csrf=token, **fields)
            assert answer.status_code in (400, 422), fields
        assert (await send_form(client, "/console/runs/replay", csrf="0" * 64, state="dead")).status_code == 403
        for query in ("error_text=x", "state=dead&dry_run=false", "state=dead&count_up_to=5"):
            assert (await client.get(f"/console/runs/replay?{query}")).status_code == 400, query
        assert (await client.get("/console/runs/replay")).status_code == 422
        assert (await client.json("/v1/operations"))["items"] == []


async def test_a_viewer_sees_no_buttons_and_is_refused(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        await add_runs(client, 1)
        await logged_in(client, "ben")
        assert await offers(client, "/runs?state=dead") == []
        assert (await client.get(f"/console/runs/replay?{DEAD}")).status_code == 403
        token = csrf_of((await client.get("/console")).text)
        assert (await send_form(client, "/console/runs/replay", csrf=token, state="dead")).status_code == 403
        page = (await client.get("/console/operations")).text
        assert "Nobody has changed all that matches" in page
        operation = "chg_" + "0" * 32
        for change in ("stop", "resume"):
            path = f"/console/operations/{operation}/{change}"
            assert (await send_form(client, path, csrf=token)).status_code == 403
        found = await client.get("/v1/operations", Authorization=f"Bearer {VIEWERS_TOKEN}")
        assert found.json()["items"] == []


async def test_the_audit_log_names_the_user(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        await add_runs(client, 1)
        await logged_in(client, "anna")
        page = (await client.get(f"/console/runs/replay?{DEAD}")).text
        answer = await confirm(client, "/runs/replay", page)
        assert answer.status_code == 303
        shown = await client.get(answer.headers["location"])
        assert "for anna" in shown.text


async def test_text_from_outside_is_data_in_dry_runs_and_operations(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(1, job_id=HOSTILE)
        run = {"handler": "log", "state": "dead", "attempt": 1, "due_at": 0.0, "finished_at": 1.0, "error": HOSTILE}
        insert_rows(client.up.receiver.database, runs, {"event_id": event_number(1), **run, "error_kind": "x"})
        query = urlencode({"state": "dead", "job_id": HOSTILE})
        answer = await client.get(f"/console/runs/replay?{query}")
        assert answer.status_code == 200
        page = answer.text
        assert foreign_markup(page) == []
        assert "\u202e" not in page
        assert "Replay 1 run?" in page
