"""The audit log over the private API: every changing operation is in it, with who, what and how many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from receiver import Settings
from receiver.cli.commands import build
from receiver.model.audit import LOCAL, AuditOperation
from receiver.simulator import Simulator
from receiver.store import runs
from receiver.store.schema import runs as runs_table
from receiver.web.api.context import ApiContext
from receiver.web.api.operations import ApiResponse, Operation
from receiver.web.api.routes import ROUTES
from tests.integration.api_support import BEARER, TOKEN, Api, api, problem, until_ended
from tests.integration.intake_support import configured, logged
from tests.stores import Store, address_of

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

CHANGING = [operation for operation in ROUTES if operation.changes]
TEXT = "Hello world, this is confidential"
SPEECH = {"source": "aitts", "text": TEXT, "voice": "alloy"}
VIEWER = {"Authorization": "Bearer token-of-a-viewer-0123456789"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim


@pytest.fixture
def settings(tmp_path: Path, store: Store, sim: Simulator) -> Settings:
    source = {
        "provider": "aitts",
        "base_url": sim.base_urls["aitts"],
        "api_key": sim.api_keys["aitts"],
        "allow_private_addresses": True,
        "signing_secrets": [sim.signing_secret],
    }
    tokens = [{"id": "app", "token": TOKEN}, {"token": VIEWER["Authorization"][7:], "role": "viewer"}]
    where = {"sources": {"aitts": source}, "store": {"url": address_of(store)}, "handlers": {"log": {}}}
    return configured(tmp_path, **where, api={"tokens": tokens})


async def changes(client: Api, query: str = "") -> list[dict[str, Any]]:
    """The items of one page."""
    items: list[dict[str, Any]] = (await client.json(f"/v1/changes{query}"))["items"]
    return items


async def speak(client: Api) -> tuple[str, Any, dict[str, Any]]:
    return "/v1/speech", SPEECH, {"source": "aitts", "voice": "alloy", "characters": len(TEXT)}


async def submit_task(client: Api) -> tuple[str, Any, dict[str, Any]]:
    body = {"source": "aitts", "path": "/api/v1/tts", "body": {"text": TEXT, "voice_id": "alloy"}}
    return "/v1/tasks", body, {"source": "aitts", "path": "/api/v1/tts"}


async def watch_job(client: Api) -> tuple[str, Any, dict[str, Any]]:
    body = {"source": "aitts", "job_id": "elsewhere"}
    return "/v1/jobs", body, body


async def cancel_job(client: Api) -> tuple[str, Any, dict[str, Any]]:
    id = (await client.post("/v1/jobs", {"source": "aitts", "job_id": "elsewhere"})).json()["id"]
    return f"/v1/jobs/{id}", None, {"job": id}


async def replay(client: Api) -> tuple[str, Any, dict[str, Any]]:
    (id,) = await client.add(1)
    return f"/v1/events/{id}/replay", {"handlers": ["log"]}, {"event": id, "handlers": ["log"]}


async def edit(client: Api) -> tuple[str, Any, dict[str, Any]]:
    (id,) = await client.add(1)
    return f"/v1/events/{id}/edit", {"payload": {"n": 1}, "handlers": ["log"]}, {"event": id, "handlers": ["log"]}


async def finished_run(client: Api) -> str:
    """An event with a cancelled run."""
    (id,) = await client.add(1, handlers=("gone",))
    await client.up.receiver.database.write(runs.cancel, [(id, "gone")], 1.0)
    return id


async def replay_runs(client: Api) -> tuple[str, Any, dict[str, Any]]:
    await finished_run(client)
    return "/v1/runs/replay", {"state": "cancelled"}, {"state": "cancelled"}


async def cancel_runs(client: Api) -> tuple[str, Any, dict[str, Any]]:
    await client.add(1, handlers=("gone",))
    return "/v1/runs/cancel", {"handler": "gone"}, {"handler": "gone"}


async def retry_runs(client: Api) -> tuple[str, Any, dict[str, Any]]:
    (id,) = await client.add(1, handlers=("gone",))
    later = update(runs_table).where(runs_table.c.event_id == id).values(due_at=4e9, wait_seconds=60)
    await client.up.receiver.database.write(lambda connection: connection.execute(later).rowcount)
    return "/v1/runs/retry-now", {"handler": "gone"}, {"handler": "gone"}


async def replay_events(client: Api) -> tuple[str, Any, dict[str, Any]]:
    await client.add(1)
    body = {"source": "aitts", "handlers": ["log"]}
    return "/v1/events/replay", body, body


async def release_events(client: Api) -> tuple[str, Any, dict[str, Any]]:
    await client.add(1, quarantined=True)
    return "/v1/events/release", {"source": "aitts"}, {"source": "aitts", "state": "quarantined"}


async def stop_operation(client: Api) -> tuple[str, Any, dict[str, Any]]:
    await client.up.receiver.operations.stop()  # so that it waits
    id = (await client.post("/v1/runs/replay", {"state": "dead"})).json()["id"]
    return f"/v1/operations/{id}/stop", None, {"operation": id}


async def resume_operation(client: Api) -> tuple[str, Any, dict[str, Any]]:
    path, _, filter = await stop_operation(client)
    assert (await client.post(path)).is_success
    return path.replace("/stop", "/resume"), None, filter


REQUESTS: dict[str, Callable[[Api], Any]] = {
    "speak": speak,
    "submit_task": submit_task,
    "watch_job": watch_job,
    "cancel_job": cancel_job,
    "replay": replay,
    "edit": edit,
    "replay_runs": replay_runs,
    "cancel_runs": cancel_runs,
    "retry_runs": retry_runs,
    "replay_events": replay_events,
    "release_events": release_events,
    "stop_operation": stop_operation,
    "resume_operation": resume_operation,
}
"""For each changing operation a request that changes one thing: its path, its body, and the filter of its entry."""


@pytest.mark.parametrize("operation", CHANGING, ids=lambda operation: operation.name)
async def test_every_changing_operation_is_in_the_audit_log(settings: Settings, operation: Operation) -> None:
    async with api(settings, **BEARER) as client:
        path, body, filter = await REQUESTS[operation.name](client)
        before = await changes(client)
        content = {} if body is None else {"json": body}
        answer = await client.client.request(operation.method, path, **content)
        assert answer.is_success, answer.text
        if answer.status_code == 202 and "accepted_at" in answer.json():
            await until_ended(client, answer.json()["id"])
        entry, *rest = await changes(client)
        assert rest == before
        assert (entry["operation"], entry["actor"], entry["via"]) == (operation.audit_operation, "app", "api")
        assert (entry["filter"], entry["changed"], entry["state"]) == (filter, 1, "completed")
        made = {"speak": "{id}", "submit_task": "{id}", "edit": "Made {event}; changed: n."}.get(operation.name)
        assert entry["detail"] == (None if made is None else made.format(**answer.json()))
        assert TEXT not in (await client.get("/v1/changes")).text


async def test_the_command_lists_what_the_api_does(settings: Settings, store: Store) -> None:
    async with api(settings, **BEARER) as client:
        for make in (speak, watch_job, replay):
            path, body, _ = await make(client)
            assert (await client.post(path, body)).is_success
        shown = await changes(client)
    source = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n'
    (settings.base / "receiver.toml").write_text(f'{source}[store]\nurl = "{address_of(store)}"\n')
    command = ["changes", "list", "--json", "--config", str(settings.base / "receiver.toml")]
    done = CliRunner().invoke(build(), command)
    assert json.loads(done.stdout)["items"] == shown


async def test_what_changes_nothing_leaves_no_entry(settings: Settings) -> None:
    async with api(settings, **BEARER) as client:
        (id,) = await client.add(1, handlers=("log",), source="gone")
        key = {"idempotency_key": "mine"}
        first = (await client.post("/v1/speech", SPEECH, **key)).json()
        assert (await client.post("/v1/speech", SPEECH, **key)).json()["id"] == first["id"]
        assert problem(await client.post("/v1/speech", SPEECH | {"voice": "echo"}, **key))[0] == 422
        watched = (await client.post("/v1/jobs", {"source": "aitts", "job_id": "elsewhere"})).json()["id"]
        assert (await client.post("/v1/jobs", {"source": "aitts", "job_id": "elsewhere"})).status_code == 200
        assert (await client.client.delete(f"/v1/jobs/{watched}")).status_code == 200
        assert problem(await client.client.delete(f"/v1/jobs/{watched}")) == (409, "too_late")
        assert problem(await client.client.delete(f"/v1/jobs/job_{1:032x}"))[0] == 404
        assert problem(await client.post(f"/v1/events/{id[:-1]}9/replay"))[0] == 404
        assert problem(await client.post(f"/v1/events/{id}/replay", {"handlers": ["nobody"]}))[0] == 409
        assert [entry["operation"] for entry in await changes(client)] == ["cancel_job", "watch_job", "speak"]


async def test_what_a_viewer_may_not_do_is_in_the_log_and_not_in_the_audit_log(settings: Settings) -> None:
    with logged() as lines:
        async with api(settings) as client:
            answer = await client.post("/v1/speech", SPEECH, **VIEWER)
            assert problem(answer) == (403, "read_only_token")
            assert 'role = "operator"' in answer.json()["detail"]
            assert (await client.get("/v1/changes", **VIEWER)).json() == {"items": [], "next": None}
            assert client.up.rows("jobs") == []
        (line,) = lines.of("api.refused")
        assert (line["outcome"], line["operation"]) == ("read_only_token", "speak")
        assert line["token"].startswith("token-")


async def test_without_tokens_the_actor_is_whoever_uses_this_machine(settings: Settings) -> None:
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"tokens": ()})})
    async with api(settings) as client:
        await client.post("/v1/jobs", {"source": "aitts", "job_id": "elsewhere"})
        assert [entry["actor"] for entry in await changes(client)] == [LOCAL]


async def test_an_entry_has_no_secret(settings: Settings, sim: Simulator) -> None:
    key = sim.api_keys["aitts"]
    async with api(settings, **BEARER) as client:
        for id in (f"by-mistake-{key}", "https://example.com/a?token=abc", "x" * 256):
            assert (await client.post("/v1/jobs", {"source": "aitts", "job_id": id})).status_code == 201
        long, address, secret = (entry["filter"]["job_id"] for entry in await changes(client))
        assert secret == "by-mistake-[redacted]"
        assert address == "https://example.com/a?[redacted]"
        assert (len(long), long[-1]) == (200, "…")


async def test_pages_and_filters(settings: Settings) -> None:
    async with api(settings, **BEARER) as client:
        for number in range(5):
            await client.post("/v1/jobs", {"source": "aitts", "job_id": f"job-{number}"})
        await client.post("/v1/speech", SPEECH)
        every = await changes(client)
        assert [entry["operation"] for entry in every] == ["speak", *["watch_job"] * 5]
        found, cursor = [], ""
        while True:
            page = await client.json(f"/v1/changes?operation=watch_job&limit=2{cursor}")
            found += page["items"]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert found == every[1:]
        since = every[3]["at"]
        assert await changes(client, f"?since={since}&actor=app") == every[:4]
        assert await changes(client, f"?until={since}") == every[4:]
        assert await changes(client, "?actor=nobody") == []


@pytest.mark.parametrize("query", ["operation=nothing", "since=1700000000", "until=yesterday", "actor=", "filter=x"])
async def test_a_filter_that_means_nothing_is_refused(settings: Settings, query: str) -> None:
    async with api(settings, **BEARER) as client:
        answer = await client.get(f"/v1/changes?{query}")
        assert problem(answer) == (400, "invalid_request")
        assert [error["where"] for error in answer.json()["errors"]] == [f"query.{query.partition('=')[0]}"]


async def forget(context: ApiContext) -> ApiResponse:
    """An operation that would change something, and record nothing."""
    raise NotImplementedError


async def unnamed(context: ApiContext, audit: Any) -> ApiResponse:
    """An operation whose name the audit log does not know."""
    raise NotImplementedError


def test_an_operation_that_records_nothing_cannot_be_declared() -> None:
    forget.__name__ = AuditOperation.REPLAY.value
    with pytest.raises(TypeError, match="does not take `audit`"):
        Operation("POST", "/v1/x", forget, "X", "x", {})
    with pytest.raises(ValueError, match="unnamed"):
        Operation("POST", "/v1/x", unnamed, "X", "x", {})
    Operation("GET", "/v1/x", unnamed, "X", "x", {})
