"""`--json` of a command is what the API answers to the same question."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from receiver import Settings
from receiver.web.api.openapi import document
from receiver.web.api.routes import ROUTES
from tests.integration.api_support import api
from tests.integration.intake_support import configured
from tests.patience import PATIENCE
from tests.stores import execute

pytestmark = pytest.mark.anyio

SECRET = "a-long-secret-0123"
ERROR = f"It failed with {SECRET}: https://example.org/x?signature=1"
PATHS = {
    "events list": ("/v1/events", "EventPage"),
    "events list --source aitts --limit 1": ("/v1/events?source=aitts&limit=1", "EventPage"),
    "events show EVENT": ("/v1/events/EVENT", "EventDetail"),
    "runs list": ("/v1/runs", "RunPage"),
    "runs list --state dead --limit 1": ("/v1/runs?state=dead&limit=1", "RunPage"),
    "runs errors": ("/v1/runs/errors", "RunErrors"),
    "jobs list": ("/v1/jobs", "JobPage"),
    "jobs list --limit 1": ("/v1/jobs?limit=1", "JobPage"),
    "jobs show JOB": ("/v1/jobs/JOB", "Job"),
    "changes list": ("/v1/changes", "ChangePage"),
    **{
        f"{name} list --oldest --limit 1": (f"/v1/{name}?order=oldest&limit=1", page)
        for name, page in (
            ("events", "EventPage"),
            ("runs", "RunPage"),
            ("jobs", "JobPage"),
            ("changes", "ChangePage"),
            ("operations", "BulkOperationPage"),
        )
    },
    "operations list": ("/v1/operations", "BulkOperationPage"),
    "audit": ("/v1/audio/audit", "AudioAudit"),
    "audit --since 2027-01-15": ("/v1/audio/audit?since=2027-01-15T00:00:00Z", "AudioAudit"),
}
"""A command, the same in the API, and the schema of both."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    source = {"api_key": "the-key-of-the-account", "signing_secrets": [SECRET]}
    (tmp_path / "receiver.toml").write_text(
        f'[sources.aitts]\nprovider = "aitts"\napi_key = "{source["api_key"]}"\nsigning_secrets = ["{SECRET}"]\n'
        '[handlers.log]\n[store]\nurl = "sqlite:///receiver.db"\n'
    )
    return configured(tmp_path, source=source, store={"url": "sqlite:///receiver.db"})


def shown(settings: Settings, words: str) -> str:
    command = [sys.executable, "-m", "receiver", *words.split(), "--config", str(settings.base / "receiver.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode in ((0, 1) if words.startswith("audit") else (0,)), done.stderr
    return done.stdout


def check(schema: str, value: Any) -> None:
    """Validate by a schema of the API's document."""
    components = document(ROUTES, tokens=False)["components"]
    jsonschema_rs.validate({"$ref": f"#/components/schemas/{schema}", "components": components}, value)


async def test_every_json_is_that_of_the_api(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await client.add(*range(1, 4), handlers=("gone", "log_of_another"))
        await client.give_audio(ids[0], b"RIFF")
        job = (await client.post("/v1/jobs", {"source": "aitts", "job_id": "elsewhere"})).json()["id"]
        other = (await client.post("/v1/jobs", {"source": "aitts", "job_id": "another"})).json()["id"]
        for id_ in (job, other):  # so that no poll changes them meanwhile
            assert (await client.client.delete(f"/v1/jobs/{id_}")).status_code == 200
        failed = "UPDATE runs SET state = 'dead', finished_at = 9, error = :error WHERE handler = 'gone'"
        await asyncio.to_thread(execute, settings.base / "receiver.db", failed, error=ERROR)
        for words, (path, schema) in PATHS.items():
            words = words.replace("EVENT", ids[0]).replace("JOB", job)
            text = await asyncio.to_thread(shown, settings, f"{words} --json")
            printed = json.loads(text)
            check(schema, printed)
            assert SECRET not in text
            assert "signature=1" not in text
            answered = await client.json(path.replace("EVENT", ids[0]).replace("JOB", job))
            assert printed == answered, words


async def test_pages_of_the_api_and_of_a_command_continue_each_other(settings: Settings) -> None:
    async with api(settings) as client:
        await client.add(*range(1, 6), handlers=("one", "two"))
        for words, path in (("events list", "/v1/events"), ("runs list", "/v1/runs")):
            whole = (await client.json(path))["items"]
            first = await client.json(f"{path}?limit=2")
            rest = json.loads(await asyncio.to_thread(shown, settings, f"{words} --before {first['next']} --json"))
            assert first["items"] + rest["items"] == whole
            page = json.loads(await asyncio.to_thread(shown, settings, f"{words} --limit 2 --json"))
            assert page == first
            assert (await client.json(f"{path}?cursor={page['next']}"))["items"] == rest["items"]


async def test_runs_of_one_event_are_on_one_page(settings: Settings) -> None:
    async with api(settings) as client:
        ids = await client.add(1, 2, handlers=("a", "b", "c"))
        page = await client.json("/v1/runs?limit=1")
        assert [(row["event_id"], row["handler"]) for row in page["items"]] == [(ids[1], name) for name in "abc"]
        page = await client.json(f"/v1/runs?limit=1&cursor={page['next']}")
        assert [(row["event_id"], row["handler"]) for row in page["items"]] == [(ids[0], name) for name in "abc"]
        assert page["next"] is None
        assert (await client.json("/v1/runs?handler=b&state=pending"))["items"][0]["handler"] == "b"
        assert (await client.get("/v1/runs?handler=nobody")).status_code == 404
