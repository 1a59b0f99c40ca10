"""Four providers in one world: addresses, keys, counts, and the faults of status answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urljoin

import httpx
import pytest

from receiver.simulator import PROVIDERS, Faults, Simulator
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio
POLLED = ("audixa", "finevoice", "miragic")
everywhere = pytest.mark.parametrize("provider", PROVIDERS)
where_polled = pytest.mark.parametrize("provider", POLLED)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None, audixa_poll_seconds=None) as sim:
        yield sim


def keyed(sim: Simulator, provider: str) -> dict[str, str]:
    key = sim.api_keys[provider]
    named = {"audixa": ("x-api-key", key), "miragic": ("X-API-Key", key)}
    return dict([named.get(provider, ("Authorization", f"Bearer {key}"))])


async def ask(sim: Simulator, provider: str, job_id: str) -> httpx.Response:
    path = {
        "aitts": f"/api/v1/tts/{job_id}",
        "audixa": f"/v2/status?generation_id={job_id}",
        "finevoice": f"/v1/task/{job_id}",
        "miragic": f"/api/v1/text-to-speech/jobs/{job_id}",
    }[provider]
    async with httpx.AsyncClient(headers=keyed(sim, provider), trust_env=False, timeout=PATIENCE) as client:
        return await client.get(sim.base_urls[provider] + path)


def word(answer: httpx.Response) -> str:
    body = answer.json()
    return str(body.get("data", body)["status"])


def address(answer: httpx.Response) -> str:
    data = answer.json().get("data", answer.json())
    return str(data.get("audio_url") or data.get("url") or data.get("audioUrl"))


async def test_each_provider_has_its_own_base_url_and_key(sim: Simulator) -> None:
    assert sim.base_urls == {name: f"{sim.base_url}/{name}" for name in PROVIDERS}
    assert len(set(sim.api_keys.values())) == 4
    assert sim.api_keys["aitts"] == sim.api_key
    async with Simulator(api_keys={"audixa": "mine"}) as other:
        assert other.api_keys["audixa"] == "mine"


@everywhere
async def test_a_job_is_known_to_its_own_provider_alone(sim: Simulator, provider: str) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    assert sim.jobs[job_id].provider == provider
    assert [job.id for job in sim.jobs.of(provider)] == [job_id]
    for other in PROVIDERS:
        assert (await ask(sim, other, job_id)).status_code == (200 if other == provider else 404)
        assert sim.requests[f"{other}.status"] == 1
    assert sim.requests["status"] == 1
    assert sim.requests[f"{provider}.submit"] == 1


@everywhere
async def test_a_job_ends_by_itself_or_fails_by_its_text(provider: str) -> None:
    async with Simulator(job_seconds=0.01, audixa_poll_seconds=None) as sim:
        good = await sim.submit("Hello", provider=provider)
        bad = await sim.submit("[fail]", provider=provider)
        await sim.wait_until(lambda: sim.jobs[good].ended and sim.jobs[bad].ended)
        assert word(await ask(sim, provider, good)).lower() in ("completed", "200")
        assert word(await ask(sim, provider, bad)).lower() in ("failed", "500")


async def test_a_provider_that_is_not_there_is_named() -> None:
    async with Simulator() as sim:
        with pytest.raises(ValueError, match="no provider 'typo'"):
            await sim.submit("Hello", provider="typo")


@pytest.mark.parametrize("addresses", ["absolute", "relative"])
async def test_aitts_under_its_prefix_gives_addresses_that_resolve(addresses: str) -> None:
    async with Simulator(job_seconds=None, addresses=addresses) as sim:  # type: ignore[arg-type]
        base = sim.base_urls["aitts"]
        async with httpx.AsyncClient(headers=keyed(sim, "aitts"), trust_env=False, timeout=PATIENCE) as client:
            answer = await client.post(f"{base}/api/v1/tts", json={"text": "Hello", "voice_id": "alloy"})
            data = answer.json()["data"]
            sim.finish(data["job_id"])
            derived = f"{base}/api/v1/tts/{data['job_id']}/audio"
            assert urljoin(base, data["audio_endpoint"]) == derived
            assert (await client.get(derived)).status_code == 307
            assert (await client.get(urljoin(base, data["poll_url"]))).status_code == 200


async def test_only_aitts_sends_webhooks(sim: Simulator) -> None:
    sim.webhook_url = "http://127.0.0.1:9/none"
    for provider in POLLED:
        sim.finish(await sim.submit("Hello", provider=provider))
    job_id = await sim.submit("Hello")
    sim.finish(job_id)
    await sim.wait_until(lambda: sim.deliveries)
    assert {delivery.job_id for delivery in sim.deliveries} == {job_id}


@where_polled
async def test_no_provider_s_key_may_reach_the_storage(sim: Simulator, provider: str, web: httpx.AsyncClient) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    sim.finish(job_id)
    url = address(await ask(sim, provider, job_id))
    assert (await web.get(url)).status_code == 200
    assert sim.leaks == []
    assert (await web.get(url, headers=keyed(sim, provider))).status_code == 400
    assert (await web.get(f"{url}&key={sim.api_keys[provider]}")).status_code == 400
    assert len(sim.leaks) == 2


@where_polled
async def test_the_first_address_may_have_expired_and_the_next_is_good(
    sim: Simulator, provider: str, web: httpx.AsyncClient
) -> None:
    sim.faults = Faults(expired_url=1.0)
    job_id = await sim.submit("Hello", provider=provider)
    sim.finish(job_id)
    answers = [await web.get(address(await ask(sim, provider, job_id))) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [403, 200]


@everywhere
@pytest.mark.parametrize(("fault", "status"), [("error_429", 429), ("error_500", 500), ("error_503", 503)])
async def test_errors_come_where_they_were_asked_for(sim: Simulator, provider: str, fault: str, status: int) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    sim.force(fault, at=f"{provider}.status", value=None if status == 500 else 3)
    other = next(name for name in PROVIDERS if name != provider)
    assert (await ask(sim, other, "none")).status_code == 404
    answer = await ask(sim, provider, job_id)
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == (None if status == 500 else "3")
    assert (await ask(sim, provider, job_id)).status_code == 200


@everywhere
async def test_a_status_answer_can_be_slow_lost_garbage_or_of_an_unknown_word(sim: Simulator, provider: str) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    usual = word(await ask(sim, provider, job_id))
    sim.force("lost_status", at=provider)
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(sim, provider, job_id)
    sim.force("garbage_json", at="status")
    with pytest.raises(ValueError, match="Unterminated"):
        (await ask(sim, provider, job_id)).json()
    sim.force("unknown_status", job_id=job_id)
    assert word(await ask(sim, provider, job_id)) in ("WarmingUp", "102")
    sim.force("slow_status", value=0.1)
    slow = await ask(sim, provider, job_id)
    assert (slow.elapsed.total_seconds() >= 0.1, word(slow)) == (True, usual)


@pytest.mark.parametrize("provider", ["aitts", "audixa", "miragic"])
async def test_a_status_word_may_come_in_the_other_case(sim: Simulator, provider: str) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    usual = word(await ask(sim, provider, job_id))
    sim.force("odd_case")
    odd = word(await ask(sim, provider, job_id))
    assert (odd != usual, odd.lower()) == (True, usual.lower())


@where_polled
async def test_an_id_can_be_made_to_expire_and_a_submit_s_answer_be_lost(sim: Simulator, provider: str) -> None:
    job_id = await sim.submit("Hello", provider=provider)
    sim.force("expired_id")
    assert [(await ask(sim, provider, job_id)).status_code for _ in range(2)] == [404, 200]
    sim.force("lost_answer", at=provider)
    with pytest.raises(httpx.RemoteProtocolError):
        await sim.submit("Hello", provider=provider)
    assert len(sim.jobs) == 2


async def test_one_seed_decides_the_ids_of_all_providers() -> None:
    async def story(seed: int) -> list[str]:
        async with Simulator(seed) as sim:
            return [await sim.submit("a", provider=provider) for provider in PROVIDERS]

    assert await story(3) == await story(3)
    assert not set(await story(3)) & set(await story(4))
