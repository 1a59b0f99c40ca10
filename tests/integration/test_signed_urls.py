"""`artifact.signed_url()`: an address of the object store from which anybody can read the file, for a while."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from receiver import Context, JobCompleted, handler
from receiver.errors import NoSignedUrl, NotFound
from receiver.outbound.storage import open_storage
from receiver.outbound.storage_types import Storage
from receiver.testing import completed, run_handler, wav

pytestmark = pytest.mark.anyio


async def stored(storage: Storage, folder: Path, name: str) -> str:
    part = folder / "x.part"
    part.write_bytes(wav())
    return (await storage.publish(part, name, "audio/wav")).address


@pytest.mark.parametrize("name", ["aitts/j~1.wav", "aitts/of a job (ü).wav"])
async def test_whoever_has_the_address_can_read_the_file_and_only_that(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    url = await storage.signed_url(await stored(storage, tmp_path, name), 3600)
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(url)
        assert (response.status_code, response.content) == (200, wav())
        assert response.headers["content-type"] == "audio/wav"
        for other in (url.replace("/speech/", "/speech/x/"), url.replace("Expires=3600", "Expires=604800")):
            assert (await client.get(other)).status_code == 403


async def test_it_is_valid_for_as_long_as_asked(storage: Storage, tmp_path: Path) -> None:
    address = await stored(storage, tmp_path, "aitts/j.wav")
    assert "X-Amz-Expires=90&" in await storage.signed_url(address, 90)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(await storage.signed_url(address, 0))).status_code == 403, "it has expired"


async def test_what_is_not_in_the_storage_is_not_signed(storage: Storage) -> None:
    with pytest.raises(NotFound):
        await storage.signed_url("s3://another/speech/aitts/j.wav", 60)


@pytest.mark.parametrize("url", ["audio", "memory://"])
async def test_a_folder_and_memory_have_no_signed_addresses(tmp_path: Path, url: str) -> None:
    storage = open_storage(url, tmp_path)
    address = await stored(storage, tmp_path, "aitts/j.wav")
    with pytest.raises(NoSignedUrl, match="has no signed addresses"):
        await storage.signed_url(address, 60)


@handler(on=JobCompleted)
async def signs(event: JobCompleted, ctx: Context[None]) -> str:
    return await (await ctx.audio()).signed_url()


def test_in_a_test_of_a_handler_the_audio_is_in_a_folder() -> None:
    outcome = run_handler(signs, completed(), audio=wav())
    assert outcome.state == "dead"
    assert isinstance(outcome.error, NoSignedUrl)
    assert "they need an object store in [audio] url" in str(outcome.error)


@pytest.mark.parametrize("seconds", [0, -1, 604_801, float("nan")])
def test_the_time_is_bounded(seconds: float) -> None:
    @handler(on=JobCompleted)
    async def signs(event: JobCompleted, ctx: Context[None]) -> str:
        return await (await ctx.audio()).signed_url(seconds)

    outcome = run_handler(signs, completed(), audio=wav())
    assert str(outcome.error) == "A signed address is valid for 1 to 604800 seconds."
