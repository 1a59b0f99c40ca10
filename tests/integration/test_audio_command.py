"""`audio get` saves what was fetched, from a folder and from S3, and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from receiver import Settings
from receiver.cli.commands import build
from tests.integration.api_support import api
from tests.integration.intake_support import configured
from tests.integration.s3_support import serving_bucket

pytestmark = pytest.mark.anyio

FIRST, SECOND = b"RIFF" + b"\0" * 3_000_000, b"ID3"


async def get(settings: Settings, *words: str) -> Result:
    config = settings.base / "receiver.toml"
    config.write_text(
        f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-long-secret-0123"]\n[handlers.log]\n'
        f'[store]\nurl = "sqlite:///receiver.db"\n[audio]\nurl = "{settings.audio.url}"\n'
        f"[search]\nmetadata = {json.dumps(settings.search.metadata)}\n"
    )
    return await asyncio.to_thread(CliRunner().invoke, build(), ["audio", "get", *words, "--config", str(config)])


@pytest.mark.parametrize("url", ["data/audio", "s3://bucket/audio"])
async def test_the_files_of_an_event_are_saved(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        settings = configured(tmp_path, store={"url": "sqlite:///receiver.db"}, audio={"url": url})
        async with api(settings) as client:
            id_, other = await client.add(1, 2)
            digest = await client.give_audio(id_, FIRST)
            await client.give_audio(id_, SECOND, n=1)
        target = tmp_path / "out.wav"
        done = await get(settings, id_, "-o", str(target))
        assert done.exit_code == 0, done.output
        assert target.read_bytes() == FIRST
        assert (tmp_path / "out~1.wav").read_bytes() == SECOND
        assert done.stdout.splitlines()[:2] == [f"{target}: wav, {len(FIRST):,} bytes", f"  SHA-256 {digest}"]
        one = await get(settings, id_, "-n", "1", "-o", "-")
        assert one.stdout_bytes == SECOND
        several = await get(settings, id_, "-o", "-")
        assert (several.exit_code, several.stdout_bytes) == (1, b"")
        assert "The event has 2 files; choose one with -n, from 0 to 1." in str(several.exception)
        for words in ((id_, "-n", "7"), (other,)):
            assert "or no handler has fetched it yet" in str((await get(settings, *words, "-o", "x")).exception)


async def test_the_newest_event_that_matches_is_found_by_its_job_or_metadata(tmp_path: Path) -> None:
    store, search = {"url": "sqlite:///receiver.db"}, {"metadata": ["customer"]}
    settings = configured(tmp_path, store=store, search=search)
    async with api(settings) as client:
        older, newer, other = await client.add(1, 2, 3, indexed=(("customer", "acme"),))
        for id_ in (older, newer):
            await client.give_audio(id_, id_.encode())
    target = tmp_path / "out.wav"
    for words, id_ in ((["--job", "job-1"], older), (["--metadata", "customer=acme", "--job", "job-2"], newer)):
        done = await get(settings, *words, "-o", str(target), "--force")
        assert done.exit_code == 0, done.output
        assert done.stderr.splitlines() == [f"Event: {id_}"]
        assert target.read_bytes() == id_.encode()
    newest = await get(settings, "--metadata", "customer=acme", "-o", "x")
    assert f"{other} has no audio" in str(newest.exception), "not that of another job"
    for words in ([], [older, "--job", "job-1"]):
        assert (await get(settings, *words, "-o", "x")).exit_code == 2


async def test_an_existing_file_is_replaced_by_force_only(tmp_path: Path) -> None:
    settings = configured(tmp_path, store={"url": "sqlite:///receiver.db"})
    async with api(settings) as client:
        (id_,) = await client.add(1)
        await client.give_audio(id_, FIRST)
    target = tmp_path / "out.wav"
    target.write_text("mine")
    refused = await get(settings, id_, "-o", str(target))
    assert refused.exit_code == 1
    assert "already exists" in str(refused.exception)
    assert target.read_text() == "mine"
    assert (await get(settings, id_, "-o", str(target), "--force")).exit_code == 0
    assert target.read_bytes() == FIRST


async def test_what_is_not_what_was_fetched_is_not_saved(tmp_path: Path) -> None:
    settings = configured(tmp_path, store={"url": "sqlite:///receiver.db"})
    async with api(settings) as client:
        (id_,) = await client.add(1)
        await client.give_audio(id_, FIRST)
    [stored] = (tmp_path / "data/audio").rglob("*.wav")
    for content, why in ((FIRST[:-1] + b"x", "was changed"), (FIRST[:-1], "instead of"), (None, "no longer")):
        if content is None:
            stored.unlink()
        else:
            stored.write_bytes(content)
        refused = await get(settings, id_, "-o", str(tmp_path / "out.wav"))
        assert refused.exit_code == 1
        assert why in str(refused.exception)
        assert not [path for path in tmp_path.iterdir() if "out" in path.name], "not even a part of it"
        assert (await get(settings, id_, "-o", "-")).exit_code == 1
