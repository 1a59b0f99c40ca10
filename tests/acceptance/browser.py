"""A real headless Chromium, driven over pipes by the DevTools protocol, without other dependencies."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.support import until
from tests.patience import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--no-proxy-server", "--remote-debugging-pipe",
)  # fmt: skip

_AT_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes to where the browser wants them, by way of numbers that are out of the way."""


class Page:
    """One page of the browser.

    Attributes:
        requested: every address that it asked for.
        complaints: what the browser wrote to the console: violations of a policy, errors of scripts.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.loaded = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol; its result."""
        return self._browser.call(method, self._session, self._note, **parameters)

    def open(self, address: str) -> None:
        """Go there; return when it is loaded."""
        before = self.loaded
        found = self.call("Page.navigate", url=address)
        assert "errorText" not in found, found
        until("the page is loaded", lambda: self.evaluate("1") and self.loaded > before)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _note(self, event: dict[str, Any]) -> None:
        given = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
        elif event["method"] == "Page.loadEventFired":
            self.loaded += 1
        elif event["method"] == "Log.entryAdded" and given["entry"]["level"] in ("warning", "error"):
            self.complaints.append(given["entry"]["text"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(given["exceptionDetails"]))


class Browser:
    """The process, and the protocol's two pipes."""

    def __init__(self, write: int, read: int) -> None:
        self._out = os.fdopen(write, "wb", buffering=0)
        self._in = os.fdopen(read, "rb")
        self._numbers = itertools.count(1)

    def call(self, method: str, session: str | None, note: Any, **parameters: Any) -> Any:
        """One command; its result. What the browser tells meanwhile goes to `note`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._out.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            if "method" in answer and answer.get("sessionId") == session:
                note(answer)

    def _read(self) -> dict[str, Any]:
        pieces = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has ended"
            pieces += byte
        found: dict[str, Any] = json.loads(pieces)
        return found

    def new_page(self) -> Page:
        """An empty page."""
        target = self.call("Target.createTarget", None, _nothing, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", None, _nothing, targetId=target, flatten=True)
        return Page(self, attached["sessionId"])

    def close(self) -> None:
        """Close the pipes; the browser ends with them."""
        self._out.close()
        self._in.close()


def _nothing(_: object) -> None:
    """Unrequested events are dropped."""


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A page of a browser that was just started; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("chromium is not installed here; on Debian: apt-get install chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [program, *_OPTIONS, f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_3_AND_4, str(theirs_in), str(theirs_out), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs_in, theirs_out),
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(ours_out, ours_in)
    try:
        yield browser.new_page()
    finally:
        browser.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
