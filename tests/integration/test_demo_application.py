"""The application of the demo: what it says is wrong, if it does not receive what it should."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from receiver.cli.demo_application import DemoApplication
from receiver.model.scheme import mismatch
from receiver.signing import sign_standard_webhooks
from receiver.simulator.serving import LoopServer

pytestmark = pytest.mark.anyio

AUDIO = b"audio of the job"


def event(number: int) -> dict[str, Any]:
    return {"id": f"evt_{number}", "job_id": f"job_{number}", "type": "job.completed"}


def message(number: int, **data: Any) -> bytes:
    of = event(number)
    data = {"event_id": of["id"], "source": "aitts", "type": of["type"], "job_id": of["job_id"]} | data
    return json.dumps(
        {"specversion": "1.0", "id": of["id"], "source": "/x", "type": data["type"], "data": data}
    ).encode()


def audio(link: str | None, content: bytes = AUDIO) -> list[dict[str, Any]]:
    sha256 = hashlib.sha256(content).hexdigest()
    return [{"n": 0, "format": "wav", "bytes": len(content), "sha256": sha256, "link": link}]


async def post(application: DemoApplication, body: bytes, secret: str | None = None) -> int:
    [table] = tomllib.loads(application.table)["handlers"].values()
    assert table["url"] == application.url
    headers = sign_standard_webhooks(body, secret or table["secrets"], message_id="m")
    headers["Content-Type"] = "application/cloudevents+json"
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return (await client.post(application.url, content=body, headers=headers)).status_code


async def test_it_says_what_did_not_arrive_as_it_should() -> None:
    storage = Starlette(routes=[Route("/audio", lambda request: Response(AUDIO))])
    async with LoopServer(storage, "127.0.0.1", 0) as server, DemoApplication() as application:
        link = f"{server.url}/audio"
        assert await post(application, message(1, audio=audio(link))) == 204
        await application.fetch_audio()
        assert list(application.problems([event(1)])) == []
        assert application.summary([event(1)]) == (
            f"1 of 1 events were forwarded to {application.url}, each with a valid signature; "
            "1 audio files were fetched by their links."
        )

        await post(application, message(2, audio=audio(link, b"other audio")))
        await post(application, message(3, audio=audio(None, b"audio without a link")))
        await post(application, message(4))
        await post(application, message(5, job_id="job_50"))
        assert await post(application, message(6), "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE=") == 401
        await application.fetch_audio()
        assert list(application.problems([event(number) for number in range(1, 7)])) == [
            "job_4: the application received no audio",
            "job_5: the application received job.completed job_50 instead",
            "job_6: the application did not receive its event",
            f"the application refused a request: mismatch: {mismatch()}",
            f"the link {link} did not lead to the audio that was announced",
            "the link None did not lead to the audio that was announced",
        ]
