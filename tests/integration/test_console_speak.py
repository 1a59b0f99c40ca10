"""Synthesizing a line of text in the console, with a provider behind it."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver import Settings
from receiver.simulator import Simulator
from receiver.web.console import speak
from tests.integration.api_support import Api, api
from tests.integration.console_support import TOKENS, USERS, logged_in, send_form
from tests.integration.intake_support import configured
from tests.integration.test_api_jobs import at
from tests.integration.test_console_edit import key_of, textarea
from tests.integration.test_console_event import HOSTILE, csrf_of, foreign_markup

pytestmark = pytest.mark.anyio

PATH = "/console/speak"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim


def with_sources(tmp_path: Path, sim: Simulator, **more: Any) -> Settings:
    sources = {name: at(sim, name) for name in ("aitts", "finevoice")}
    sources["keyless"] = {"provider": "aitts", "signing_secrets": ["some_signing_secret_0123"]}
    return configured(tmp_path, sources=sources, handlers={}, **more)


@pytest.fixture
def settings(tmp_path: Path, sim: Simulator) -> Settings:
    return with_sources(tmp_path, sim)


async def send(client: Api, page: str, **fields: str) -> httpx.Response:
    """The form with these fields."""
    given = {"csrf": csrf_of(page), "key": key_of(page), "source": "aitts", "voice": "alloy", "format": ""}
    return await send_form(client, PATH, **{**given, **fields})


async def test_the_form_offers_sources_voices_and_formats(settings: Settings) -> None:
    async with api(settings) as client:
        assert f'href="{PATH}"' in (await client.get("/console/jobs")).text
        page = (await client.get(PATH)).text
        assert re.findall(r'<option value="(aitts|finevoice|keyless)"', page) == ["aitts", "finevoice"]
        assert '<option value="alloy">' in page
        assert '<option value="mp3">' in page
        assert "has no list of voices" in (await client.get(f"{PATH}?source=finevoice")).text
        assert (await client.get(f"{PATH}?source=nobody")).status_code == 200


async def test_the_list_of_voices_is_kept_for_the_next_page(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(job_seconds=None))
        service = stack.pop_all()
        client = await stack.enter_async_context(api(with_sources(tmp_path, sim)))
        assert '<option value="alloy">' in (await client.get(PATH)).text
        await service.aclose()
        assert '<option value="alloy">' in (await client.get(PATH)).text


async def test_a_service_that_says_nothing_does_not_keep_the_form_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speak, "WAIT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = {
            "provider": "aitts", "api_key": "some_api_key_0123456789", "signing_secrets": ["some_signing_secret_0123"],
            "base_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "allow_private_addresses": True,
        }  # fmt: skip
        async with api(configured(tmp_path, source=source, handlers={})) as client:
            page = (await client.get(PATH)).text
            assert "No list: the service did not answer within 0.3 s." in page
            assert 'name="voice"' in page


async def test_a_line_is_submitted_once_and_its_job_plays_the_audio(settings: Settings, sim: Simulator) -> None:
    async with api(settings) as client:
        page = (await client.get(PATH)).text
        answers = [await send(client, page, text="Hello\r\nworld", format="mp3") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 303], answers[0].text
        assert answers[0].headers["location"] == answers[1].headers["location"]
        path, _, query = answers[0].headers["location"].partition("?")
        assert query == "play=1"
        job = await client.json(path.replace("/console", "/v1"))
        assert job["request"] == {"text": "Hello\nworld", "voice": "alloy", "format": "mp3"}
        assert len(client.up.rows("jobs")) == 1
        assert 'data-live="audio" data-play' in (await client.get(answers[0].headers["location"])).text
        (entry,) = (await client.json("/v1/changes"))["items"]
        assert (entry["operation"], entry["via"], entry["actor"]) == ("speak", "console", "local")


async def test_a_refusal_is_shown_with_all_that_was_typed(settings: Settings) -> None:
    async with api(settings) as client:
        page = (await client.get(PATH)).text
        text = f"{HOSTILE}</textarea>"
        for fields, status in (
            ({"voice": "nobody-of-this-name"}, 422),
            ({"format": "tape"}, 422),
            ({"voice": "x" * 501}, 400),
            ({"source": "nobody"}, 404),
        ):
            answer = await send(client, page, text=text, **fields)
            assert answer.status_code == status, answer.text
            assert 'role="alert"' in answer.text
            assert ("Correct what is marked." in answer.text) == (status == 400)
            assert foreign_markup(answer.text) == []
            if "source" not in fields:
                assert textarea(answer.text).startswith("<script>alert(1)</script>")
                assert f'name="voice" value="{fields.get("voice", "alloy")}"' in answer.text
        page = (await client.get(PATH)).text
        answer = await send(client, page, text="Hello", voice="nobody-of-this-name")
        assert re.search(r'href="/console/jobs/job_\w+"', answer.text)


async def test_an_unknown_result_is_said(settings: Settings, sim: Simulator) -> None:
    async with api(settings) as client:
        page = (await client.get(f"{PATH}?source=finevoice")).text
        sim.force("lost_answer", 10)
        answer = await send(client, page, source="finevoice", voice="james", text="Hello")
        assert answer.status_code == 502
        assert "charged twice" in answer.text
        found = re.search(r'href="(/console/jobs/job_\w+)"', answer.text)
        assert found is not None
        assert "state-unknown" in (await client.get(found[1])).text
        assert key_of(answer.text) != key_of(page), "the next one is another job"


async def test_a_viewer_and_a_forged_form_submit_nothing(tmp_path: Path, sim: Simulator) -> None:
    settings = with_sources(tmp_path, sim, console={"users": USERS}, api={"tokens": TOKENS})
    async with api(settings) as client:
        await logged_in(client, "ben")
        jobs = await client.get("/console/jobs")
        assert PATH not in jobs.text
        assert (await client.get(PATH)).status_code == 403
        fields = {"key": "k", "source": "aitts", "voice": "alloy", "text": "Hello"}
        assert (await send_form(client, PATH, csrf=csrf_of(jobs.text), **fields)).status_code == 403
        await logged_in(client, "anna")
        page = (await client.get(PATH)).text
        assert (await send_form(client, PATH, csrf="0", **fields)).status_code == 403
        assert (await send_form(client, PATH, "https://evil.test", csrf=csrf_of(page), **fields)).status_code == 403
        assert client.up.rows("jobs") == []
