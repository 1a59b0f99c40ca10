"""A receiver as an operator finds it: a day of history, and what a real provider has just sent, good and bad."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.support import (
    API_KEY,
    SECRET,
    Provider,
    Sender,
    Server,
    Site,
    completed,
    deliver,
    signed_headers,
    until,
)
from tests.console.history import add_history

CONFIG = """
[server]
port = 0
private_port = 0
[logs]
format = "json"
[plugins]
directory = "plugins"
[search]
metadata = ["customer"]
[handlers.save_audio]
[sources.aitts]
provider = "aitts"
base_url = "{provider}"
allow_private_addresses = true
api_key = "{key}"
signing_secrets = ["{secret}"]
[sources.studio]
provider = "aitts"
base_url = "{provider}"
allow_private_addresses = true
api_key = "{key}"
signing_secrets = ["{secret}"]
[sources.archive]
provider = "aitts"
base_url = "{provider}"
allow_private_addresses = true
api_key = "{key}"
signing_secrets = ["{secret}"]
[sources.audixa]
provider = "audixa"
base_url = "{audixa}"
allow_private_addresses = true
api_key = "{audixa_key}"
{more}
"""
PLUGIN = """
from pathlib import Path
from receiver import Context, Event, JobCompleted, JobFailed, Reject, RetryLater, handler

VOICES = Path(__file__).parent.parent / "voices"

@handler(on=JobCompleted)
async def narrate(event: JobCompleted, ctx: Context) -> dict[str, str]:
    voice = event.metadata.get("voice", "bella")
    if voice not in VOICES.read_text().split():
        raise Reject(f"There is no voice {voice}.", reason="no_such_voice")
    return {"voice": voice}

@handler(on=(JobCompleted, JobFailed), attempts=20)
async def publish_feed(event: Event, ctx: Context) -> dict[str, str]:
    if event.metadata.get("feed") == "closed" and ctx.attempt < 2:
        raise RetryLater("feeds.example.com:443 closed the connection.", after=0.4)
    return {"feed": "https://feeds.example.com/all.xml"}
"""
SPOKEN = (
    "Good morning. Here is the news of the harbour: the ferry runs again, and the tide is at its highest at noon.",
    "Chapter one. The lighthouse had been dark for eleven years when the letter came.",
)


@dataclass(frozen=True)
class Scene:
    """A receiver that runs.

    Attributes:
        ids: of what the pages show: the events `spoken` and `failed`, the job `spoken_job`, and the `operation`.
    """

    site: Site
    server: Server
    provider: Provider
    ids: dict[str, str]

    @property
    def pages(self) -> dict[str, str]:
        """The path of each page beneath the console, by name."""
        return {
            "overview": "",
            "events": "/events",
            "event": f"/events/{self.ids['spoken']}",
            "failed-event": f"/events/{self.ids['failed']}",
            "runs": "/runs?state=dead",
            "jobs": "/jobs",
            "job": f"/jobs/{self.ids['spoken_job']}",
            "audio": "/artifacts",
            "sources": "/sources",
            "changes": "/changes",
            "replay": "/runs/replay?state=dead&reason=no_such_voice",
            "edit": f"/events/{self.ids['failed']}/edit",
            "speak": "/speak",
            "operations": "/operations",
            "operation": f"/operations/{self.ids['operation']}",
        }

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of the API to a request."""
        request = urllib.request.Request(
            self.server.private + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found


@contextmanager
def scene(folder: Path, more: str = "") -> Iterator[Scene]:
    """Make the store, start the receiver and its provider, and let happen what the pages show.

    Args:
        more: of the configuration.
    """
    provider = Provider()
    site = Site(folder).plugin("studio", PLUGIN)
    sim = provider.sim
    try:
        site.config.write_text(
            CONFIG.format(
                provider=sim.base_url, key=API_KEY, secret=SECRET, more=more,
                audixa=sim.base_urls["audixa"], audixa_key=sim.api_keys["audixa"],
            )
        )  # fmt: skip
        site.config.chmod(0o600)
        (folder / "voices").write_text("bella")
        site.start().stop()  # it makes the store
        add_history(site.store, time.time())
        server = site.start()
        sim.webhook_url = f"{server.public}/webhooks/aitts"
        made = Scene(site, server, provider, {})
        _happen(made)
        yield made
    finally:
        site.close()
        provider.close()


def _happen(made: Scene) -> None:
    provider, server = made.provider, made.server
    for number, text in enumerate(SPOKEN):
        metadata = {"customer": "blue-river-radio", "episode": str(number + 1), "voice": "bella", "feed": "closed"}
        job = made.post("/v1/speech", {"source": "aitts", "text": text, "voice": "alloy", "metadata": metadata})
        provider.finish(provider.sim.jobs[job["job_id"]])
        made.ids["spoken_job"] = job["id"]
        made.ids["spoken"] = _event_of(made, job["job_id"])
    failed = provider.completed_job(
        text="Chapter two. Nobody answered.", metadata={"customer": "acme", "voice": "anna", "order": "7301"}
    )
    _event_of(made, failed.id)
    dead = "SELECT event_id FROM runs WHERE error_kind = 'ConnectTimeout' ORDER BY event_id DESC LIMIT 1"
    made.ids["failed"] = str(made.site.rows(dead)[0]["event_id"])
    provider.submit(text="A job that is not done.", metadata={"customer": "tidewater"})
    made.post("/v1/speech", {"source": "aitts", "text": "Chapter three. In progress.", "voice": "alloy"})
    old = int(time.time()) - 7200
    for number in range(2):
        body = completed(f"7d0f{number}a11-late", metadata={"customer": "northwind"})
        deliver(server.public, body, signed_headers(body, old))
    sender = Sender(source="archive")
    for number in range(7):
        body = completed(f"forged-{number}")
        assert (sender.send(server.public, body, signed_headers(body, secret="not-the-secret-0123")) or (0,))[0] == 401
    sender.close()
    made.ids["operation"] = made.post("/v1/runs/replay", {"reason": "no_order", "state": "dead"})["id"]
    finished = "SELECT count(*) AS n FROM operations WHERE state = 'completed'"
    until("the operation is completed", lambda: made.site.rows(finished)[0]["n"])
    open_ = "SELECT count(*) AS n FROM runs WHERE state IN ('pending', 'running')"
    until("all runs have ended", lambda: made.site.rows(open_)[0]["n"] == 0)


def _event_of(made: Scene, job: str) -> str:
    rows = until("its event", lambda: made.site.rows("SELECT id FROM events WHERE job_id = :job", job=job))
    return str(rows[0]["id"])
