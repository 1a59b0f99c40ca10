"""schemathesis reads /openapi.json of a real server and asks it all that it allows and forbids: no complaints."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.support import Provider, Server, Site, clean_environment, completed, deliver, signature, until
from tests.patience import PATIENCE

TOKEN = "a-token-of-the-private-api-0123456789"
SEED = 20261121

CONFIG = """
# What the store has, so that requests reach further than "there is no such source".
[dictionaries.sources]
values = ["aitts"]
[dictionaries.voices]
values = ["alloy"]
[parameters]
"body.source" = { dictionary = "sources", probability = 0.7 }
"query.source" = { dictionary = "sources", probability = 0.7 }
"body.voice" = { dictionary = "voices", probability = 0.5 }

# 422 is for what no document can say: a voice that the service does not have, a rate that goes with no format, an
# idempotency key that was used for something else. What the document forbids is 400, and never 422.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "416", "422"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404"]

# A stream of new events does not end: it is read for a moment.
[[operations]]
include-path = "/v1/stream"
request-timeout = 0.2
"""


def seeded(site: Site, provider: Provider, *, api: str = "") -> Server:
    """A server with an event that has audio, one that failed, one whose handler is a dead letter, and jobs."""
    site.plugin(
        "dead",
        "from receiver import Event, Reject, handler\n\n\n@handler(on=Event)\ndef dead(event, ctx):\n"
        '    raise Reject("never")\n',
    )
    site.configure(
        f'[plugins]\ndirectory = "plugins"\n{api}',
        base_url=provider.sim.base_url,
        handlers="[handlers.save_audio]\n[handlers.log]",
        source="[sources.aitts.poll]\nrequests_per_second = 1000",
    )
    server = site.start()
    for index in range(3):
        job = provider.completed_job(f"Hello {index}.")
        assert deliver(server.public, completed(job.id))[0] == 202  # type: ignore[index]
    body = json.dumps({"event": "job.failed", "data": {"job_id": "gone", "error": {"code": "X"}}}).encode()
    assert deliver(server.public, body, {"X-TTS-Signature": signature(body, int(time.time()))})[0] == 202  # type: ignore[index]
    for id in ("watched-1", "watched-2"):
        ask(server, "/v1/jobs", {"source": "aitts", "job_id": id})
    until("the audio is fetched", lambda: len(list(server.lines("audio.stored"))) == 3)
    return server


def ask(server: Server, path: str, body: dict[str, Any] | None = None) -> Any:
    """An answer of the private listener, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.private + path, data, {"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["without a token", "with a token"])
def test_schemathesis_finds_nothing(site: Site, provider: Provider, tmp_path: Path, token: str | None) -> None:
    server = seeded(site, provider, api=f'[api]\ntokens = ["{token}"]' if token else "")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)

    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
            f"{server.private}/openapi.json", "--checks", "all",
            "--exclude-checks", "use_after_free",  # DELETE cancels a job, which stays in its state `cancelled`
            "--seed", str(SEED), "--max-examples", "20",
            "--generation-deterministic", "--continue-on-failure",
            "--suppress-health-check", "all", "--warnings", "off",
            *(["--header", f"Authorization: Bearer {token}"] if token else []),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environment(),
        timeout=2 * PATIENCE,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in server.lines() if line["message"] == "api.broken"] == []
    assert TOKEN not in server.text()
