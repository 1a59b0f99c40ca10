"""The documented units: their keys are systemd's, and what they say fits what `serve` does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from receiver.cli.commands import COMMANDS
from receiver.settings import Dispatch, Server
from tests.patience import PATIENCE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
PROGRAM = "/opt/tts-receiver/bin/tts-receiver"


def units() -> dict[str, str]:
    """The units' texts, by their file names."""
    found = re.findall(r"^`/etc/systemd/system/(\S+)`:\n\n```systemd\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return dict(found)


def values(unit: str) -> dict[str, list[str]]:
    """Key to its values, in order."""
    keys: dict[str, list[str]] = {}
    for line in units()[unit].splitlines():
        key, equals, value = line.partition("=")
        if equals:
            keys.setdefault(key, []).append(value)
    return keys


def test_the_socket_unit_has_the_listeners_in_the_order_in_which_serve_takes_them() -> None:
    server = Server()
    assert values("tts-receiver.socket")["ListenStream"] == [
        f"{server.host}:{server.port}",
        f"{server.private_host}:{server.private_port}",
    ]


def test_the_service_is_the_sockets_and_says_itself_when_it_is_ready() -> None:
    assert list(units()) == ["tts-receiver.socket", "tts-receiver.service"]
    service = values("tts-receiver.service")
    assert service["Type"] == ["notify"]
    assert service["Requires"] == ["tts-receiver.socket"]
    assert "tts-receiver.socket" in service["After"][0].split()
    assert service["ExecStart"] == [f"{PROGRAM} serve"]
    assert service["ExecStartPre"] == [f"{PROGRAM} check"]
    assert {"serve", "check"} <= set(COMMANDS)
    assert int(service["TimeoutStopSec"][0]) >= Dispatch().grace_seconds + 20
    assert int(service["WatchdogSec"][0]) >= 10


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here; on Debian: apt-get install systemd")
    there = shutil.which("true")
    assert there is not None
    files = []
    for name, text in units().items():
        file = tmp_path / name
        file.write_text(text.replace(PROGRAM, there))  # it says so of a program that is not there
        files.append(str(file))
    done = subprocess.run([analyze, "verify", "--man=no", *files], capture_output=True, timeout=PATIENCE, check=False)
    said = [line for line in (done.stdout + done.stderr).decode().splitlines() if "tts-receiver" in line]
    assert said == []
