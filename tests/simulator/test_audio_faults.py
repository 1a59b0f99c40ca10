"""Each way in which fetching audio can go wrong."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import httpx
import pytest

from receiver.simulator import Faults, Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job(sim: Simulator) -> str:
    job_id = await sim.submit("Hello")
    await sim.wait_until(lambda: sim.jobs[job_id].ended)
    return job_id


async def location(api: httpx.AsyncClient, job_id: str) -> str:
    return (await api.get(f"/api/v1/tts/{job_id}/audio")).headers["Location"]


async def test_an_expired_address_is_403_and_the_next_one_is_good(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.faults = replace(sim.faults, expired_url=1.0)
    expired = await web.get(await location(api, job))
    assert (expired.status_code, "expired" in expired.text) == (403, True)
    assert (await web.get(await location(api, job))).status_code == 200


async def test_truncated_audio_ends_early_and_a_range_resumes_it(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    url = await location(api, job)
    whole = (await web.get(url)).content
    sim.faults = replace(sim.faults, truncated_audio=1.0)
    got = b""
    with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
        async with web.stream("GET", url) as answer:
            assert int(answer.headers["Content-Length"]) == len(whole)
            async for piece in answer.aiter_bytes():
                got += piece
    assert 0 < len(got) < len(whole)
    rest = await web.get(url, headers={"Range": f"bytes={len(got)}-"})
    assert got + rest.content == whole


async def test_truncated_audio_can_be_cut_at_a_given_byte(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("truncated_audio", value=1000)
    with pytest.raises(httpx.RemoteProtocolError, match="received 1000 bytes"):
        await web.get(await location(api, job))


async def test_slow_audio_comes_in_many_pieces(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("slow_audio", value=0.2)
    async with web.stream("GET", await location(api, job)) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert len(pieces) > 5
    assert len(b"".join(pieces)) == sim.jobs[job].audio.size


async def test_a_redirect_loop_never_ends(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("redirect_loop")
    with pytest.raises(httpx.TooManyRedirects):
        await web.get(await location(api, job), follow_redirects=True)
    assert sim.requests["loop"] > 2


async def test_redirects_into_private_networks_name_both_kinds(
    sim: Simulator, api: httpx.AsyncClient, job: str
) -> None:
    sim.force("redirect_private", times=2)
    hosts = {httpx.URL(await location(api, job)).host for _ in range(2)}
    assert hosts == {"10.0.0.1", "169.254.169.254"}


async def test_a_redirect_goes_where_it_was_forced_to(sim: Simulator, api: httpx.AsyncClient, job: str) -> None:
    sim.force("redirect_to", value="https://elsewhere.example/x.wav")
    assert await location(api, job) == "https://elsewhere.example/x.wav"
    assert (await location(api, job)).startswith(sim.storage_url)


async def test_an_error_page_comes_as_200_text_html(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("html_audio")
    answer = await web.get(await location(api, job))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_a_wrong_checksum_is_not_that_of_the_bytes(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("wrong_checksum")
    answer = await web.get(await location(api, job))
    true = base64.b64encode(hashlib.md5(answer.content, usedforsecurity=False).digest()).decode()
    assert answer.status_code == 200
    assert answer.headers["Content-MD5"] != true
    assert true not in answer.headers["x-goog-hash"]


async def test_audio_may_come_without_a_length(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("no_content_length")
    answer = await web.get(await location(api, job))
    assert "Content-Length" not in answer.headers
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert len(answer.content) == sim.jobs[job].audio.size


async def test_audio_that_is_gone_is_404_at_the_api_or_at_storage(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("audio_gone")
    assert (await api.get(f"/api/v1/tts/{job}/audio")).status_code == 404
    sim.force("object_gone")
    answer = await web.get(await location(api, job))
    assert (answer.status_code, "NoSuchKey" in answer.text) == (404, True)


async def test_storage_may_be_too_busy(
    sim: Simulator, api: httpx.AsyncClient, web: httpx.AsyncClient, job: str
) -> None:
    sim.force("storage_503")
    url = await location(api, job)
    assert [(await web.get(url)).status_code for _ in range(2)] == [503, 200]


async def test_an_error_can_be_forced_for_one_job_alone(sim: Simulator, api: httpx.AsyncClient, job: str) -> None:
    other = await sim.submit("Other")
    sim.force("error_500", at="status", job_id=other)
    assert (await api.get(f"/api/v1/tts/{job}")).status_code == 200
    assert (await api.get(f"/api/v1/tts/{other}")).status_code == 500


async def test_an_answer_that_is_still_being_sent_does_not_delay_the_end(
    web: httpx.AsyncClient,
) -> None:
    async with Simulator(job_seconds=0.0) as sim:
        job_id = await sim.submit("Hello")
        await sim.wait_until(lambda: sim.jobs[job_id].ended)
        sim.force("slow_audio", value=3600)
        headers = {"Authorization": f"Bearer {sim.api_key}"}
        answer = await web.get(f"{sim.base_url}/api/v1/tts/{job_id}/audio", headers=headers)
        url = answer.headers["Location"]
        stream = await web.send(web.build_request("GET", url), stream=True)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await stream.aread()
    await stream.aclose()


def test_rates_are_from_0_to_1_and_fault_names_are_checked() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Faults(forged=2.0)
    with pytest.raises(ValueError, match="no fault 'typo'"):
        Simulator().force("typo")
