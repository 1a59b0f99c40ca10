"""One store, two processes: an intake that stores deliveries, and a worker that does all other work."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from typing import Any

from tests.acceptance.proxies import free_port
from tests.acceptance.support import Provider, Site, completed, deliver, get, is_open
from tests.patience import PATIENCE

HANDLERS = "[handlers.save_audio]\n[handlers.log]"


def post(url: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.status, json.load(answer)


def unusable_folder(site: Site) -> str:
    """An audio folder that cannot be made: its parent is a file."""
    (site.folder / "file").write_text("")
    return str(site.folder / "file" / "audio")


def test_an_intake_stores_without_audio_storage_and_a_worker_does_the_rest(site: Site, provider: Provider) -> None:
    site.configure(base_url=provider.sim.base_url, handlers=HANDLERS)
    broken = unusable_folder(site)
    intake = site.start("--only", "intake", TTS_RECEIVER_AUDIO__URL=broken)
    assert intake.wait_for("receiver.started")["role"] == "intake"
    assert get(f"{intake.public}/readyz") == (200, '{"ready":true,"missing":{}}')
    job = provider.completed_job()
    answer = deliver(intake.public, completed(job.id))
    assert answer is not None
    assert answer[0] == 202
    event = answer[1]["event"]
    assert site.run_of(event, "log")["state"] == "pending", "an intake runs no handler"

    worker = site.start("--only", "worker")
    assert worker.wait_for("receiver.started")["role"] == "worker"
    assert get(f"{worker.private}/readyz") == (200, '{"ready":true,"missing":{}}')
    site.wait_for_state(event, "log", "succeeded")
    site.wait_for_state(event, "save_audio", "succeeded")
    assert len(site.final_files()) == 1
    status, job_row = post(f"{intake.private}/v1/speech", {"source": "aitts", "text": "Hello.", "voice": "alloy"})
    assert (status, job_row["state"]) == (202, "watching"), "the worker has submitted it while the intake waited"
    assert list(intake.lines("run.succeeded")) == []
    assert [server.stop() for server in (worker, intake)] == [0, 0]


def test_a_worker_has_no_public_listener_but_a_private_one(site: Site) -> None:
    port = free_port()
    site.configure(server=f"port = {port}\nprivate_port = 0")
    worker = site.start("--only", "worker")
    assert "public" not in worker.wait_for("listening")
    assert not is_open(f"http://127.0.0.1:{port}")
    status, metrics = get(f"{worker.private}/metrics")
    assert status == 200
    assert "tts_receiver_runs_open" in metrics
    assert worker.stop() == 0


def test_an_option_of_a_listener_that_a_worker_does_not_have_is_wrong_usage(site: Site) -> None:
    site.configure()
    done = site.command("serve", "--only", "worker", "--port", "0")
    assert done.returncode == 2
    assert "A worker has no public listener: remove --host and --port." in done.stderr


def test_check_tests_the_audio_storage_only_for_a_process_that_uses_it(site: Site) -> None:
    site.configure()
    broken = unusable_folder(site)
    intake, worker = site.together(
        ["check", "--only", "intake"], ["check", "--only", "worker"], TTS_RECEIVER_AUDIO__URL=broken
    )
    assert intake.returncode == 0, intake.stderr
    assert "  audio  " not in intake.stdout
    assert worker.returncode == 1
    assert "audio.url" in worker.stderr


def test_a_public_socket_that_is_passed_to_a_worker_is_refused(site: Site) -> None:
    site.configure()
    with socket.create_server(("127.0.0.1", 0)) as passed:
        worker = site.launch("--only", "worker", sockets=[passed])
        assert worker.wait() == 1
    assert "LISTEN_FDS" in worker.text()
    assert "a worker has no public listener" in worker.text()


def test_an_intake_that_stops_accepts_until_a_balancer_has_noticed(site: Site) -> None:
    site.configure(server="port = 0\nprivate_port = 0\ndrain_seconds = 300")
    intake = site.start("--only", "intake")
    intake.send_signal(signal.SIGTERM)
    intake.wait_for("receiver.stopping")
    assert get(f"{intake.public}/readyz")[0] == 503
    for n in range(3):
        answer = deliver(intake.public, completed(f"job_{n}"))
        assert answer is not None
        assert answer[0] == 202
    intake.send_signal(signal.SIGTERM)
    assert intake.wait() == 0
    assert len(site.rows("SELECT 1 FROM events")) == 3
