"""`audit` finds what is not there: files that are gone or of another size, jobs without audio, unknown jobs."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from receiver import JobCompleted, Reject, Settings, handler
from receiver.cli.commands import build
from receiver.model.ids import event_id
from receiver.store import jobs
from receiver.store.states import JobState
from receiver.web.api import fields
from receiver.web.api.audio_audit import AudioAudit
from tests.integration.api_support import T0, Api, api, problem
from tests.integration.engine_support import Signal
from tests.integration.intake_support import SECRET, Lines, completed, configured
from tests.stores import Store, address_of, execute

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

SINCE = "2027-01-15T08:00:00"
"""`T0` of the tests."""


@handler(on=JobCompleted)
async def refuse(event: Any, ctx: Any) -> None:
    raise Reject("There is no such bucket.")


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, handlers={}, store={"url": address_of(store)})


@pytest.fixture
def config(tmp_path: Path, store: Store) -> Path:
    file = tmp_path / "receiver.toml"
    file.write_text(
        f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n'
        f'[handlers.log]\n[store]\nurl = "{address_of(store)}"\n'
    )
    return file


def audited(config: Path, *options: str) -> Result:
    return CliRunner().invoke(build(), ["audit", "--config", str(config), *options])


def findings(config: Path, since: str = SINCE) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """The counts, and the kind and id of each finding; whether the exit code agrees is checked."""
    result = audited(config, "--since", since, "--json")
    found = AudioAudit.model_validate_json(result.stdout)
    assert found.next is None
    assert result.exit_code == (1 if found.items else 0), result.output
    return found.examined.model_dump(), {(finding.kind, finding.id) for finding in found.items}


async def pages_of(client: Api, limit: int) -> list[Any]:
    """All pages of the API's comparison."""
    found, cursor = [], ""
    while True:
        found.append(await client.json(f"/v1/audio/audit?since={SINCE}Z&limit={limit}{cursor}"))
        if found[-1]["next"] is None:
            return found
        cursor = f"&cursor={found[-1]['next']}"


async def add_event(client: Api, number: int) -> str:
    """An event that was received so many seconds after `T0`; its id."""
    at = T0 + number
    [id] = await client.add(number, event_id=event_id(at, 0), received_at=at)
    return id


async def test_what_is_missing_is_found(
    settings: Settings, store: Store, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "MAX_ITEMS", 2)  # several pages
    async with api(settings) as client:
        ids = [await add_event(client, number) for number in range(1, 8)]
        for number, id in enumerate(ids[:5]):
            await client.give_audio(id, b"audio" * (number + 1))
        await client.give_audio(ids[4], b"second file", n=1)
        await add_event(client, -60)
        folder = client.up.receiver.storage.folder
        assert folder is not None
        (folder / "aitts" / f"{ids[1]}-0.wav").unlink()
        (folder / "aitts" / f"{ids[4]}-1.wav").write_bytes(b"cut")
        database = client.up.receiver.database
        await database.write(jobs.watch, "job_" + "1" * 32, "aitts", "watched", T0 + 9, T0, T0 + 99)
        execute(store, "UPDATE jobs SET state = :state", state=str(JobState.UNKNOWN))
        pages = await pages_of(client, limit=3)
    assert [len(page["items"]) for page in pages] == [1, 1, 1]
    assert [page["examined"]["events"] for page in pages] == [2, 3, 2]  # and an unknown job
    printed = json.loads((await asyncio.to_thread(audited, config, "--since", SINCE, "--json")).stdout)
    assert printed["items"] == [item for page in pages for item in page["items"]]
    for name, count in printed["examined"].items():
        assert count == sum(page["examined"][name] for page in pages)
    counts, found = await asyncio.to_thread(findings, config)
    assert found == {("missing", ids[1]), ("other_size", ids[4]), ("unknown_job", "job_" + "1" * 32)}
    assert counts == {"events": 7, "files": 6, "open": 0, "without_audio": 2}
    text = (await asyncio.to_thread(audited, config, "--since", SINCE)).output
    assert "has 3 bytes, and had 11 when stored." in text
    assert "missing: tts-receiver events replay EVENT" in text
    later = await asyncio.to_thread(findings, config, "2027-01-15T09:00:00")
    assert later == ({"events": 0, "files": 0, "open": 0, "without_audio": 0}, set())


async def test_a_completed_job_whose_run_is_dead_has_no_audio(
    settings: Settings, config: Path, lines: Lines, signal: Signal
) -> None:
    async with api(settings, refuse) as client:
        answer = await client.up.post(completed("one"))
        await signal.until(lambda: lines.of("run.dead"))
        stale = await client.up.post(completed("two"), at=time.time() - 4000)
        assert stale.json()["status"] == "quarantined"
    counts, found = await asyncio.to_thread(findings, config, "1h")
    assert found == {("no_audio", answer.json()["event"]), ("no_audio", stale.json()["event"])}
    assert counts["events"] == 2


async def test_a_storage_that_cannot_be_read_is_a_problem_and_another_exit_code(
    settings: Settings, config: Path
) -> None:
    async with api(settings) as client:
        ids = [await add_event(client, number) for number in range(1, 40)]
        for id in ids:
            await client.give_audio(id, b"audio")
        folder = client.up.receiver.storage.folder
        assert folder is not None
        (folder / "aitts").rename(folder / "moved")
        (folder / "aitts").symlink_to(folder / "moved")
        answer = await client.get(f"/v1/audio/audit?since={SINCE}Z")
        assert problem(answer) == (502, "storage_failed")
    found = await asyncio.to_thread(audited, config, "--since", SINCE)
    assert found.exit_code == 2
    assert "cannot be read" in found.stderr


async def test_nothing_is_missing(settings: Settings, config: Path) -> None:
    async with api(settings) as client:
        id = await add_event(client, 1)
        await client.give_audio(id, b"audio")
    result = await asyncio.to_thread(audited, config, "--since", SINCE)
    assert result.exit_code == 0
    assert result.output.splitlines() == ["✓ Nothing is missing.", "Examined: 1 completed jobs and 1 files."]


async def test_nothing_to_examine_is_said_as_such(settings: Settings, config: Path) -> None:
    async with api(settings) as client:
        id = await add_event(client, 1)
        await client.give_audio(id, b"audio")
    result = await asyncio.to_thread(audited, config, "--since", "2099-01-01")
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "Nothing to examine: no job has completed since then."


def test_a_store_that_cannot_be_read_is_another_exit_code(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("url = ", f'url = "sqlite:///{tmp_path}/none.db"\n# '))
    found = audited(config)
    assert found.exit_code == 2
    assert "There is no store" in found.stderr
