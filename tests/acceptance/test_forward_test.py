"""`forward-test` as a process: what it prints is followed to a forwarded event, and its mistakes are explained."""

from __future__ import annotations

import ctypes
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from receiver.signing import sign_standard_webhooks
from tests.acceptance.support import Site, clean_environment
from tests.patience import PATIENCE

DATA = {"event_id": "evt_1", "source": "aitts", "type": "test"}
EVENT = json.dumps({"specversion": "1.0", "id": "evt_1", "source": "/x", "type": "test", "data": DATA}).encode()


class Running:
    """The command, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, part: str) -> str:
        """The line with this part."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, self.lines
            self.lines.append(line.rstrip("\n"))
            if part in line:
                return self.lines[-1]

    def stop(self, number: int) -> str:
        """The last line, once the command has ended as it should."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert (self.process.returncode, err) == (0, "")
        return out.splitlines()[-1]


@contextmanager
def running(site: Site, *arguments: str) -> Iterator[Running]:
    with subprocess.Popen(
        [sys.executable, "-m", "receiver", "forward-test", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=site.folder,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
    ) as process:  # fmt: skip
        try:
            yield Running(process)
        finally:
            process.kill()


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/cloudevents+json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_without_a_handler_it_prints_the_table_to_add_and_verifies_with_its_secret(site: Site) -> None:
    site.configure()
    with running(site, "--port", "0") as command:
        command.read_until("Ctrl-C stops")
        printed = "\n".join(command.lines)
        assert f"No handler in {site.config} uses forward" in printed
        (table,) = re.findall(r"^\[handlers\.forward\]\n(?:.+\n)+", printed, re.MULTILINE)
        values = dict(re.findall(r'^(\w+) = \[?"([^"]+)"', table, re.MULTILINE))
        assert "allow_private_addresses = true" in table
        secret, url = values["secrets"], values["url"]
        assert secret.startswith("whsec_")

        signed = sign_standard_webhooks(EVENT, secret, message_id="m1")
        assert post(url, EVENT, signed) == 204
        command.read_until("✓ ")
        assert post(url, EVENT, signed) == 204
        assert "duplicate (no. 2)" in command.read_until("✓ ")
        assert post(url, EVENT + b" ", signed) == 401
        assert "refused: 401 mismatch. No configured signing secret" in command.read_until("✗ ")
        assert command.stop(signal.SIGINT) == "Stopped. Events: 1, duplicates: 1, refused requests: 1."


def test_another_response_can_be_asked_for_and_sigterm_ends_it_as_well(site: Site) -> None:
    site.configure()
    with running(site, "--port", "0", "--status", "503") as command:
        command.read_until("answered 503")
        (secret,) = re.findall(r'"(whsec_.*)"', "\n".join(command.lines))
        (url,) = re.findall(r'^url = "(.*)"', "\n".join(command.lines), re.MULTILINE)
        assert post(url, EVENT, sign_standard_webhooks(EVENT, secret, message_id="m1")) == 503
        assert command.read_until("! ").endswith(f"test aitts  answered 503, no audio, {len(EVENT)} bytes")
        assert command.stop(signal.SIGTERM) == "Stopped. Events: 1, duplicates: 0, refused requests: 0."


def test_a_closed_output_ends_it(site: Site) -> None:
    site.configure()
    with running(site, "--port", "0") as command:
        command.read_until("Ctrl-C stops")
        (secret,) = re.findall(r'"(whsec_.*)"', "\n".join(command.lines))
        (url,) = re.findall(r'^url = "(.*)"', "\n".join(command.lines), re.MULTILINE)
        assert command.process.stdout is not None
        command.process.stdout.close()
        post(url, EVENT, sign_standard_webhooks(EVENT, secret, message_id="m1"))
        assert command.process.wait(PATIENCE) == 1


def test_a_port_that_is_taken_is_explained(site: Site) -> None:
    site.configure()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = site.command("forward-test", "--port", port)
    assert done.returncode == 1
    assert done.stderr == (
        f"tts-receiver: Cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Another program listens there: stop it, or name another --port.\n"
    )


def without_leave() -> None:
    """Let the program not use ports below 1024, even if root starts it."""
    drop_from_bounding_set, net_bind_service = 24, 10
    ctypes.CDLL(None).prctl(drop_from_bounding_set, net_bind_service, 0, 0, 0)


def test_a_port_without_leave_is_explained(site: Site) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1023:
        pytest.skip("this machine lets everybody use every port")
    site.configure()
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "forward-test", "--port", "1023"],
        capture_output=True, text=True, timeout=PATIENCE, cwd=site.folder, preexec_fn=without_leave, check=False,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Cannot listen on 127.0.0.1 port 1023: Permission denied. Ports below 1024 need privileges" in done.stderr
