"""The page "Tell my FastAPI application", followed to the letter: its commands, its configuration, its twenty lines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.acceptance.support import Site, clean_environment, until
from tests.patience import PATIENCE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tell-my-fastapi-application.md"
PORTS = ("8765", "8080", "8081", "9000")
"""Of the simulated provider, the receiver's two listeners, and the application, as the page has them."""
SOON = {"TTS_RECEIVER_SOURCES__AITTS__POLL__FIRST_SECONDS": "0.2"}
"""The page waits a few seconds for the first poll."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class Terminals:
    """The page's terminals: each command runs in the folder `shop`, with ports that are free here."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._shop = folder / "shop"
        self._stack = stack
        self._ports: dict[str, str] = {}
        for port in PORTS:  # all are held until each is known, so that they differ
            held = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            self._ports[port] = str(held.getsockname()[1])
        stack.close()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ports = {
            "TTS_RECEIVER_SERVER__PORT": self._ports["8080"],
            "TTS_RECEIVER_SERVER__PRIVATE_PORT": self._ports["8081"],
        }
        self._environment = clean_environment(PATH=path, **ports, **SOON)

    def here(self, text: str) -> str:
        """The page's text with the ports of this run, and the programs of this environment."""
        for port, ours in self._ports.items():
            text = re.sub(rf"\b{port}\b", ours, text)
        return text.replace(".venv/bin/", "")

    def run(self, block: str) -> str:
        """Run a block to its end; what it printed."""
        folder = self._shop if self._shop.exists() else self._shop.parent
        done = subprocess.run(
            ["sh", "-ec", self.here(block)], cwd=folder, env=self._environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, block: str, *options: str) -> Path:
        """Start the block's last command, which does not end; the file of what it prints."""
        printed = self._shop / f"{len(list(self._shop.glob('*.log')))}.log"
        *before, command = self.here(block).strip().splitlines()
        with printed.open("w") as out:
            process = subprocess.Popen(
                ["sh", "-ec", "\n".join([*before, f"exec {command} {' '.join(options)}"])],
                cwd=self._shop, env=self._environment, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._stack.callback(process.wait, PATIENCE)
        self._stack.callback(process.terminate)
        self.last = process
        return printed

    def port(self, page: str) -> str:
        return self._ports[page]


def shown_in(printed: Path, pattern: str) -> re.Match[str]:
    """What was found in a terminal, once it is there."""
    return until(f"{pattern} in {printed}", lambda: re.search(pattern, printed.read_text(), re.MULTILINE))


def whole_audio(folder: Path) -> list[Path]:
    """The audio files that hold all of their bytes: the application writes them in place, so one may be seen empty."""
    return [path for path in folder.glob("evt_*-0.wav") if is_whole(path.read_bytes())]


def is_whole(audio: bytes) -> bool:
    return audio[:4] == b"RIFF" and len(audio) == 8 + int.from_bytes(audio[4:8], "little")


def pattern_of(shown: str) -> str:
    """What the page shows, as a pattern; `…` stands for what differs from run to run."""
    return re.escape(shown.strip()).replace("…", ".*")


def test_the_page_leads_to_an_application_that_has_the_audio(site: Site) -> None:
    configure, simulate, forward_test, serve, submit, install, run, submit_again, replay = blocks("sh")
    table, event_line, application_lines = blocks("text")
    [application] = blocks("python")
    assert "standardwebhooks" in install
    assert len([line for line in application.splitlines() if line.strip()]) <= 21

    with ExitStack() as stack:
        terminals = Terminals(site.folder, stack)
        terminals.run(configure)
        shop = site.folder / "shop"
        shown_in(terminals.start(simulate, "--port", terminals.port("8765")), "Ctrl-C stops")

        tested = terminals.start(forward_test, "--port", terminals.port("9000"))
        test_process = terminals.last
        shown_in(tested, "Ctrl-C stops")
        listening = tested.read_text()
        assert re.match(pattern_of(terminals.here(table)), listening)
        to_add = re.search(r"^\[handlers\.forward\]\n(?:.+\n)+", listening, re.MULTILINE)
        assert to_add
        with (shop / "receiver.toml").open("a") as config:
            config.write(to_add[0])
        shown_in(terminals.start(serve), "listening")
        terminals.run(submit)
        shown_in(tested, f"^{pattern_of(event_line)}$")
        test_process.send_signal(signal.SIGINT)
        assert test_process.wait(PATIENCE) == 0

        (shop / "shop.py").write_text(application)
        started = terminals.start(run)
        shown_in(started, "Application startup complete|Uvicorn running")
        terminals.run(submit_again)
        for line in application_lines.strip().splitlines():
            shown_in(started, f"^{pattern_of(line)}$")
        until("the audio is in the folder", lambda: len(whole_audio(shop)) == 1)
        terminals.run(replay)
        until("the audio of the first job as well", lambda: len(whole_audio(shop)) == 2)
        assert re.search("401 Unauthorized", started.read_text()) is None
        forged = subprocess.run(
            ["curl", "-s", "-o", "answer", "-w", "%{http_code}", "-d", "{}", "-H", "webhook-id: x",
             f"http://127.0.0.1:{terminals.port('9000')}/speech-events"],
            cwd=shop, env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        assert forged.stdout == "401"
