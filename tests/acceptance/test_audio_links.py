"""A handler passes a file's link on, and the private API serves the file there."""

from __future__ import annotations

import hashlib
import http.client
import urllib.parse
from contextlib import closing

import pytest

from tests.acceptance.support import Provider, Site, completed, deliver
from tests.patience import PATIENCE

TELLS = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def tells(event: JobCompleted, ctx: Context[None]) -> dict[str, str | None]:
    audio = await ctx.audio()
    return {"link": audio.link, "sha256": audio.sha256}
"""


@pytest.mark.parametrize(
    ("server", "prefix"),
    [
        ("port = 0\nprivate_port = 0", ""),
        ('port = 0\nprivate_port = 0\nroot_path = "/tts"', "/tts"),
        ('port = 0\nprivate_port = 0\nprivate_host = "0.0.0.0"', ""),
    ],
    ids=["plain", "prefix", "everywhere"],
)
def test_the_private_listener_serves_the_file_at_its_link(
    site: Site, provider: Provider, server: str, prefix: str
) -> None:
    site.plugin("tells", TELLS)
    token = "a-token-of-the-application"
    tokens = f'[api]\ntokens = ["{token}"]\n' if "private_host" in server else ""
    site.configure(
        f'{tokens}[plugins]\ndirectory = "plugins"', handlers="", base_url=provider.sim.base_url, server=server
    )
    running = site.start()
    job = provider.completed_job()
    answer = deliver(running.public, completed(job.id))
    assert answer is not None
    run = site.wait_for_state(answer[1]["event"], "tells", "succeeded")
    result = run["result"]
    port = urllib.parse.urlsplit(running.private).port
    assert result["link"] == f"http://127.0.0.1:{port}{prefix}/v1/events/{answer[1]['event']}/audio?n=0"
    parts = urllib.parse.urlsplit(result["link"])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        assert response.status == 200
        assert hashlib.sha256(response.read()).hexdigest() == result["sha256"]
