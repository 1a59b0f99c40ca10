"""A store with a long history and planted trouble, and a running receiver on it: what `night` is about.

The history is filled in. The trouble is what a receiver itself stored: real deliveries, a handler that rejects, a
sender without the secret, audio fetched from a simulated provider. Only the silence is stored: it takes hours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.history_fill import History, fill
from receiver.simulator import Job
from tests.acceptance.support import API_KEY, SECRET, Provider, Sender, Site, completed, signed_headers, until
from tests.stores import execute, query

DEAD = {"no_such_voice": 361, "no_order": 40}
"""Dead runs by their reason."""
FORGED = 12
SILENT_HOURS = 5
SENDERS = 4

CONFIG = """
[server]
port = 0
private_port = 0
[store]
url = "{url}"
retention_days = 3650
[plugins]
directory = "plugins"
[search]
metadata = ["customer"]
[handlers.save_audio]
where = {{ metadata = {{ customer = "acme" }} }}
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
signing_secrets = ["{secret}"]
[sources.voices]
provider = "aitts"
signing_secrets = ["{secret}"]
"""

PLUGIN = """
from pathlib import Path
from receiver import Context, JobCompleted, Reject, handler

VOICES = Path(__file__).parent.parent / "voices"

@handler(on=JobCompleted)
async def narrate(event: JobCompleted, ctx: Context) -> None:
    voice = event.metadata.get("voice")
    if voice not in VOICES.read_text().split():
        raise Reject(f"There is no voice {voice}.", reason="no_such_voice")
    if "order" not in event.metadata:
        raise Reject("The job carries no order number.", reason="no_order")
"""

_SILENT_JOB = """
INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, wait_seconds)
VALUES ('job_00000000000000000000000000000001', 'studio', 'silent', 'watching', :created, :later, :later, 86400)
"""


@dataclass(frozen=True)
class Night:
    """A receiver that runs.

    Attributes:
        audio: the job of the customer acme, at its provider.
        fill_seconds: how long filling the store took.
    """

    site: Site
    url: str
    audio: Job
    fill_seconds: float

    def mend(self) -> None:
        """Remove the cause of the runs that found no voice."""
        (self.site.folder / "voices").write_text("bella anna")


@contextmanager
def night(folder: Path, url: str, events: int) -> Iterator[Night]:
    """Fill the empty store at `url`, and plant the trouble; at the end stop the receiver."""
    began = time.perf_counter()
    fill(url, History(events, handler="narrate", indexes_customers=True))
    fill_seconds = time.perf_counter() - began
    provider = Provider()
    site = Site(folder).plugin("narrate", PLUGIN)
    try:
        site.config.write_text(CONFIG.format(url=url, provider=provider.sim.base_url, key=API_KEY, secret=SECRET))
        site.config.chmod(0o600)
        (site.folder / "voices").write_text("bella")
        job = _plant(site, url, provider)
        site.start()
        yield Night(site, url, job, fill_seconds)
    finally:
        site.close()
        provider.close()


def _plant(site: Site, url: str, provider: Provider) -> Job:
    server = site.start()
    now = time.time()
    execute(url, _SILENT_JOB, created=now - SILENT_HOURS * 3600, later=now + 86_400)
    job = provider.completed_job(metadata={"customer": "acme"})
    metadata = [{"customer": f"customer-{n}", "voice": "anna", "order": n} for n in range(DEAD["no_such_voice"])]
    metadata += [{"customer": f"customer-{n}", "voice": "bella"} for n in range(DEAD["no_order"])]
    bodies = [completed(f"night-{n}", metadata=of) for n, of in enumerate(metadata)]
    bodies.append(completed(job.id, metadata={"customer": "acme", "voice": "bella", "order": 7}))

    def send(some: list[bytes]) -> None:
        sender = Sender()
        for body in some:
            assert (sender.send(server.public, body) or (0,))[0] == 202
        sender.close()

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, [bodies[part::SENDERS] for part in range(SENDERS)]))
    sender = Sender(source="archive")
    for number in range(FORGED):
        body = completed(f"forged-{number}")
        assert (sender.send(server.public, body, signed_headers(body, secret="not-the-secret-0123")) or (0,))[0] == 401
    sender.close()
    open_ = "SELECT count(*) AS n FROM runs WHERE state IN ('pending', 'running') AND due_at < :soon"
    until("all runs have ended", lambda: query(url, open_, soon=now + 3600)[0]["n"] == 0)
    server.stop()  # which stores its counts
    return job
