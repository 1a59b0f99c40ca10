"""The deliveries of a provider that shares no code with us: made of `openssl dgst` and `curl` alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.acceptance.support import (
    SECRET,
    Provider,
    Server,
    Site,
    clean_environment,
    completed,
    sha256_at_the_origin,
    sha256_of,
    until,
)
from tests.patience import PATIENCE

MISSING = [name for name in ("sh", "openssl", "curl", "xargs") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}")

COPIES = 50

# $1 the receiver, $2 the file with the body, $3 how many copies at once, $4 a folder for the answers, a file each.
# The secret comes by the environment. Prints a line for each copy: its number and its status.
SCRIPT = r"""
set -eu
t=$(date +%s)
v1=$({ printf '%s.' "$t"; cat "$2"; } | openssl dgst -sha256 -hmac "$SECRET" | sed 's/^.*= *//')
seq "$3" | xargs -P "$3" -I{} curl --silent --show-error --max-time 30 \
  --header 'Content-Type: application/json' \
  --header "X-TTS-Signature: t=$t,v1=$v1" \
  --header 'X-TTS-Event: job.completed' \
  --header 'X-TTS-Delivery-ID: 7d9d9a34-5a77-4e0e-9c52-0a8f5f1c2b3d' \
  --data-binary "@$2" --output "$4/{}" --write-out '{} %{http_code}\n' "$1/webhooks/aitts"
"""

COUNTING = """
import os
from pathlib import Path

from receiver import Context, JobCompleted, handler

JOURNAL = Path(__file__).parent.parent / "counted"


def count(name: str) -> None:
    file = os.open(JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{name}\\n".encode())
    os.close(file)


@handler(on=JobCompleted)
async def one(event: JobCompleted, ctx: Context[None]) -> None:
    count("one")


@handler(on=JobCompleted)
def two(event: JobCompleted, ctx: Context[None]) -> None:
    count("two")
"""


def shell(server: Server, body: Path, copies: int = 1, secret: str = SECRET) -> list[tuple[int, str]]:
    """Run the script; (status, answer) of each copy."""
    with tempfile.TemporaryDirectory() as answers:
        done = subprocess.run(
            ["sh", "-c", SCRIPT, "sh", server.public, str(body), str(copies), answers],
            env=clean_environment(SECRET=secret),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        return [(int(status), Path(answers, number).read_text()) for number, status in lines]


def serving(site: Site, provider: Provider, handlers: str) -> Server:
    more = '[plugins]\ndirectory = "plugins"' if (site.folder / "plugins").is_dir() else ""
    return site.configure(more, base_url=provider.sim.base_url, handlers=handlers).start()


def test_a_delivery_made_by_openssl_and_curl_is_accepted_and_its_audio_is_the_origins(
    site: Site, provider: Provider, tmp_path: Path
) -> None:
    job = provider.completed_job("Signed by a shell script.")
    body = tmp_path / "body.json"
    body.write_bytes(completed(job.id))
    server = serving(site, provider, "[handlers.save_audio]")

    ((status, answer),) = shell(server, body)

    assert (status, '"status":"accepted"' in answer) == (202, True), answer
    until("the audio is saved", lambda: site.rows("SELECT 1 FROM runs WHERE state = 'succeeded'"))
    (artifact,) = site.rows("SELECT * FROM artifacts")
    (file,) = site.final_files()
    assert file == Path(artifact["address"])
    assert sha256_of(file) == artifact["sha256"] == sha256_at_the_origin(job)
    assert file.stat().st_size == job.audio.size


def test_a_delivery_signed_with_another_secret_is_refused_without_a_reason(
    site: Site, provider: Provider, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(completed("somebody-elses-job"))
    server = serving(site, provider, "[handlers.log]")

    assert shell(server, body, secret="not-the-secret") == [(401, '{"error":"unauthorized"}')]

    assert site.rows("SELECT * FROM events") == []
    assert server.wait_for("delivery.refused")["outcome"] == "mismatch"


def test_fifty_copies_at_once_are_one_event_and_one_run_of_each_handler(
    site: Site, provider: Provider, tmp_path: Path
) -> None:
    job = provider.completed_job("Fifty copies of one delivery.")
    body = tmp_path / "body.json"
    body.write_bytes(completed(job.id))
    site.plugin("counting", COUNTING)
    server = serving(site, provider, "[handlers.save_audio]")

    answers = shell(server, body, COPIES)

    assert [status for status, _ in answers] == [202] * COPIES
    words = sorted(answer.split('"')[3] for _, answer in answers)
    assert words == ["accepted"] + ["duplicate"] * (COPIES - 1)
    assert len({answer.split('"')[7] for _, answer in answers}) == 1, "all name the same event"
    (event,) = site.rows("SELECT * FROM events")
    assert event["duplicates"] == COPIES - 1
    until(
        "each handler succeeded",
        lambda: [row["state"] for row in site.rows("SELECT state FROM runs")] == ["succeeded"] * 3,
    )
    assert server.stop() == 0  # nothing is on its way any more
    assert sorted((site.folder / "counted").read_text().split()) == ["one", "two"]
    attempts = site.rows("SELECT handler, outcome FROM attempts ORDER BY handler")
    assert [(row["handler"], row["outcome"]) for row in attempts] == [
        ("one", "succeeded"),
        ("save_audio", "succeeded"),
        ("two", "succeeded"),
    ]
    assert provider.sim.job_requests["storage", job.id] == 1, "the audio was fetched once"
