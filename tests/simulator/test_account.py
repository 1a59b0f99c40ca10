"""Registering and testing the account's webhook, over real HTTP."""

from __future__ import annotations

import httpx
import pytest

from receiver.simulator import Simulator
from tests.patience import PATIENCE

from .conftest import Inbox

pytestmark = pytest.mark.anyio
PATH = "/api/user/enterprise/webhook"


def user(sim: Simulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {sim.id_token}"}


async def test_the_secret_is_shown_once_and_again_only_when_made_anew(
    sim: Simulator, api: httpx.AsyncClient, inbox: Inbox
) -> None:
    async def put(**more: object) -> dict[str, str]:
        answer = await api.put(PATH, json={"url": inbox.url, **more}, headers=user(sim))
        assert answer.status_code == 200
        data: dict[str, str] = answer.json()["data"]
        return data

    before = sim.signing_secret
    assert (await put())["secret"] == before
    assert "secret" not in await put()
    renewed = (await put(regenerateSecret=True))["secret"]
    assert renewed == sim.signing_secret != before
    assert "secret" not in await put()


async def test_the_api_key_is_not_good_for_the_account(api: httpx.AsyncClient) -> None:
    assert (await api.put(PATH, json={"url": "https://example.com"})).status_code == 401
    assert (await api.post(f"{PATH}/test")).status_code == 401


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://localhost/hook",
        "https://127.0.0.1/hook",
        "http://127.0.0.1:8000/hook",
        "https://10.1.2.3/hook",
        "https://192.168.0.1/hook",
        "https://169.254.169.254/",
        "https://[::1]/hook",
        "https://[fd00::1]/hook",
        "https://printer.local/hook",
        "https://a.internal/hook",
        "https://a.INTERNAL./hook",
        "https://[broken/hook",
        "https://example.com:99999/",
        "https://",
        "ftp://example.com/",
        None,
        7,
    ],
)
async def test_an_address_that_is_not_public_https_is_refused(url: object) -> None:
    async with (
        Simulator(allow_loopback_webhooks=False) as sim,
        httpx.AsyncClient(base_url=sim.base_url, headers=user(sim), trust_env=False, timeout=PATIENCE) as client,
    ):
        answer = await client.put(PATH, json={"url": url})
        assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
        assert sim.webhook_url is None
        assert (await client.put(PATH, json={"url": "https://example.com/h"})).status_code == 200


async def test_even_with_loopback_allowed_private_networks_are_refused(sim: Simulator, api: httpx.AsyncClient) -> None:
    for url in ("https://10.0.0.1/", "http://example.com/", "https://a.local/"):
        assert (await api.put(PATH, json={"url": url}, headers=user(sim))).status_code == 400


async def test_the_test_event_is_sent_signed_and_its_answer_decides(
    sim: Simulator, api: httpx.AsyncClient, inbox: Inbox
) -> None:
    good = await api.post(f"{PATH}/test", headers=user(sim))
    assert good.status_code == 200
    assert good.json()["data"]["test_id"]
    assert inbox.headers[0]["x-tts-event"] == "test"
    assert inbox.headers[0]["x-tts-signature"].startswith("t=")
    inbox.answers = [500]
    assert (await api.post(f"{PATH}/test", headers=user(sim))).status_code == 422
    assert [d.kind for d in sim.deliveries] == ["test", "test"]


async def test_there_is_nothing_to_test_before_an_address_is_registered(sim: Simulator, api: httpx.AsyncClient) -> None:
    sim.webhook_url = None
    assert (await api.post(f"{PATH}/test", headers=user(sim))).status_code == 400
