"""SIGTERM and Ctrl-C: the handlers' grace, the rest given back, no more deliveries, exit code 0."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.parse
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.support import (
    SOURCE,
    Sender,
    Server,
    Site,
    completed,
    deliver,
    get,
    is_open,
    signed_headers,
    until,
)
from tests.patience import PATIENCE
from tests.stores import WriteLock

# Handlers that work until the test opens a gate: a file.
GATED = """
import asyncio
import time
from pathlib import Path

from receiver import Context, JobCompleted, handler

HERE = Path(__file__).parent.parent


def note(ctx: Context[None], what: str) -> None:
    with (HERE / "notes").open("a") as file:
        file.write(f"{what} {ctx.attempt}\\n")


async def on_the_loop(event: JobCompleted, ctx: Context[None]) -> str:
    note(ctx, "start")
    while not (HERE / "gate").exists():
        await asyncio.sleep(0.01)
    note(ctx, "done")
    return "done"


def in_a_thread(event: JobCompleted, ctx: Context[None]) -> str:
    note(ctx, "start")
    while not (HERE / "gate").exists():
        time.sleep(0.01)
    note(ctx, "done")
    return "done"


async def in_a_thread_of_asyncios(event: JobCompleted, ctx: Context[None]) -> str:
    return await asyncio.to_thread(in_a_thread, event, ctx)


gated = handler(on=JobCompleted, name="gated")(KIND)
"""
KINDS = ["on_the_loop", "in_a_thread", "in_a_thread_of_asyncios"]


def notes(site: Site) -> list[str]:
    file = site.folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


def working(site: Site, kind: str, grace: float) -> tuple[Server, str]:
    """A server whose one handler is at work, and the event it works on."""
    site.plugin("gated", GATED.replace("KIND", kind))
    site.configure('[plugins]\ndirectory = "plugins"', handlers="", dispatch=f"grace_seconds = {grace}")
    server = site.start()
    answer = deliver(server.public, completed("a-long-job"))
    assert answer is not None
    assert answer[0] == 202
    until("the handler works", lambda: notes(site) == ["start 1"])
    return server, answer[1]["event"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_ends_within_the_grace_is_recorded(site: Site, kind: str) -> None:
    server, event = working(site, kind, 60)

    server.send_signal(signal.SIGTERM)
    server.wait_for("dispatch.waiting_for_handlers")
    status, text = get(f"{server.private}/readyz")
    assert (status, json.loads(text)) == (503, {"ready": False, "missing": {"receiver": "is stopping"}})
    assert get(f"{server.private}/livez")[0] == 200
    assert server.wait_for("dispatch.waiting_for_handlers")["running"] == 1
    late = deliver(server.public, completed("meanwhile"))
    assert late is not None
    assert late[0] == 202, "deliveries are taken in for as long as handlers are waited for"
    assert server.process.poll() is None, "it waits for the handler"
    (site.folder / "gate").touch()

    assert server.wait() == 0
    run = site.run_of(event, "gated")
    assert (run["state"], run["attempt"], run["forgiven"], run["result"]) == ("succeeded", 1, 0, "done")
    assert notes(site) == ["start 1", "done 1"]
    assert site.run_of(late[1]["event"], "gated")["state"] == "pending", "it is the next process's"
    assert not is_open(server.public)
    assert not is_open(server.private)


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_takes_longer_is_given_back_and_done_by_the_next_process(site: Site, kind: str) -> None:
    server, event = working(site, kind, 0.3)

    assert server.stop() == 0

    run = site.run_of(event, "gated")
    assert (run["state"], run["lease_owner"], run["attempt"] - run["forgiven"]) == ("pending", None, 0)
    assert [row["outcome"] for row in site.rows("SELECT outcome FROM attempts")] == ["released"]
    assert server.wait_for("run.released")["handler"] == "gated"
    assert notes(site) == ["start 1"]
    (site.folder / "gate").touch()
    site.start()
    assert site.wait_for_state(event, "gated", "succeeded")["result"] == "done"
    assert notes(site) == ["start 1", "start 1", "done 1"], "the attempt that was given back did not count"


def test_a_second_signal_ends_the_grace(site: Site) -> None:
    server, event = working(site, "on_the_loop", 3600)
    server.send_signal(signal.SIGTERM)
    server.wait_for("dispatch.waiting_for_handlers")

    assert server.stop(signal.SIGINT) == 0

    assert server.wait_for("receiver.stop_forced")["signal"] == "SIGINT"
    run = site.run_of(event, "gated")
    assert (run["state"], run["attempt"] - run["forgiven"]) == ("pending", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_receiver_ends_at_once_with_exit_code_0(site: Site, number: signal.Signals) -> None:
    site.configure(dispatch="grace_seconds = 3600")
    server = site.start()
    with closing(Sender()) as idle:  # a provider's connection that is kept open
        assert idle.send(server.public, completed("before")) is not None
        server.send_signal(signal.SIGHUP)  # other programs reload
        assert "restart" in server.wait_for("signal.ignored")["hint"]

        assert server.stop(number, 30) == 0

    assert server.wait_for("receiver.stopping")["signal"] == number.name
    assert list(server.lines("receiver.stopped"))
    assert "Traceback" not in server.text()


def begin(server: Server, job: str) -> tuple[socket.socket, bytes]:
    """A connection on which half of a delivery was sent, and the other half."""
    body = completed(job)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed_headers(body).items())
    parts = urllib.parse.urlsplit(server.public)
    connection = socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=PATIENCE)
    connection.sendall(
        f"POST /webhooks/{SOURCE} HTTP/1.1\r\nHost: receiver\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
    )
    connection.sendall(body[: len(body) // 2])
    return connection, body[len(body) // 2 :]


def end(connection: socket.socket, rest: bytes) -> int | None:
    """Send the other half: the answer's status, or None if there was no answer."""
    with closing(connection):
        try:
            connection.sendall(rest)
            said = b""
            while piece := connection.recv(65_536):
                said += piece
                if b"}" in said:
                    break
        except OSError:
            return None
        return int(said.split(b" ", 2)[1]) if said else None


def test_a_delivery_on_its_way_is_stored_and_answered_or_not_acknowledged(site: Site) -> None:
    site.configure()
    server = site.start()
    begun = {f"half-{number}": begin(server, f"half-{number}") for number in range(8)}
    assert deliver(server.public, completed("whole")) is not None  # so the halves before it were read

    server.send_signal(signal.SIGTERM)
    server.wait_for("receiver.stopping")
    answers = {job: end(*half) for job, half in begun.items()}

    assert server.wait() == 0
    assert set(answers.values()) <= {202, 503, None}
    acknowledged = {job for job, status in answers.items() if status == 202}
    stored = {row["job_id"] for row in site.rows("SELECT job_id FROM events")}
    assert acknowledged | {"whole"} <= stored
    assert acknowledged, "what had begun was let finish"


def test_a_sender_that_never_finishes_does_not_hold_the_end_up(site: Site) -> None:
    site.configure(server="port = 0\nprivate_port = 0\nbody_seconds = 1")
    server = site.start()
    connection, _ = begin(server, "never")
    with closing(connection):
        assert deliver(server.public, completed("whole")) is not None

        assert server.stop(signal.SIGTERM, 30) == 0

    assert [row["job_id"] for row in site.rows("SELECT job_id FROM events")] == ["whole"]


def test_under_load_everything_acknowledged_before_the_end_is_stored_and_handled_after_it(site: Site) -> None:
    site.configure()
    server = site.start()
    acknowledged: set[str] = set()
    over = threading.Event()

    def send(name: str) -> None:
        with closing(Sender()) as sender:
            number = 0
            while not over.is_set():
                job = f"{name}-{number}"
                answer = sender.send(server.public, completed(job))
                if answer is None:
                    return
                assert answer[0] == 202
                acknowledged.add(job)
                number += 1

    threads = [threading.Thread(target=send, args=(f"load-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    until("there is load", lambda: len(acknowledged) > 200)

    code = server.stop()
    over.set()
    for thread in threads:
        thread.join()

    assert code == 0
    assert {row["job_id"] for row in site.rows("SELECT job_id FROM events")} >= acknowledged
    assert not site.rows("SELECT 1 FROM runs WHERE state = 'running'")
    site.start()
    until("all is handled", lambda: not site.rows("SELECT 1 FROM runs WHERE state <> 'succeeded' LIMIT 1"))
    counts: Any = site.rows(
        "SELECT count(*) AS attempts, max(number) AS most FROM attempts WHERE outcome = 'succeeded'"
    )
    assert counts[0]["attempts"] == len(site.rows("SELECT 1 FROM events"))


def test_a_store_that_is_locked_does_not_keep_the_end_up(site: Site) -> None:
    server, event = working(site, "on_the_loop", 3600)
    with WriteLock(site.store):
        server.send_signal(signal.SIGTERM)
        server.wait_for("dispatch.waiting_for_handlers")

        assert server.stop(signal.SIGTERM) == 0
    assert "locked" in server.wait_for("run.result_not_stored")["detail"]
    assert site.run_of(event, "gated")["state"] == "running", "what could not be given back: its lease ends by itself"
