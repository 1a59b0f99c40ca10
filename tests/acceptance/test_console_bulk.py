"""Replaying all that a list shows, in a real browser: dry run, confirmation, progress and success without reloading."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.console_browser import console_tab
from tests.acceptance.support import Server, Site, completed, deliver, signed_headers, until

NEEDS_VOICE = """
from pathlib import Path

from receiver import JobCompleted, Reject, handler

@handler(on=JobCompleted)
def needs_voice(event, ctx):
    if not Path("voice.txt").exists():
        raise Reject("<script>alert(1)</script> The voice is not installed.", reason="no_voice")
"""
COUNT = 3


@pytest.fixture
def server(site: Site) -> Server:
    site.plugin("needs_voice", NEEDS_VOICE)
    return site.configure('[plugins]\ndirectory = "plugins"', handlers="").start()


def test_dead_runs_are_replayed_and_succeed_while_one_looks(site: Site, server: Server) -> None:
    for number in range(COUNT):
        body = completed(f"job-{number}")
        assert deliver(server.public, body, signed_headers(body))
    dead = "SELECT count(*) AS n FROM runs WHERE state = 'dead'"
    until("the runs are dead", lambda: site.rows(dead)[0]["n"] == COUNT)
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console/runs?state=dead&reason=no_voice")
        page.get_by_role("link", name="Replay all that match").click()
        assert page.get_by_role("heading", name=f"Replay {COUNT} runs?").is_visible()
        assert page.get_by_text("The voice is not installed.").count() == COUNT
        assert site.rows(dead)[0]["n"] == COUNT, "a dry run changes nothing"

        (site.folder / "voice.txt").touch()
        page.get_by_role("button", name=f"Replay {COUNT} runs").click()
        page.wait_for_url(re.compile("/console/operations/chg_"))
        page.evaluate("window.sameDocument = true")
        page.locator(".state-completed").wait_for()
        assert page.locator(".progress-text").inner_text() == f"{COUNT} of {COUNT} runs"
        until("none matches", lambda: page.get_by_role("link", name="0 runs").count())
        assert page.evaluate("window.sameDocument") is True, "nothing was reloaded"

        page.goto(f"{server.private}/console/runs?state=succeeded")
        until("they have succeeded", lambda: page.locator("tr .state-succeeded").count() == COUNT)
        assert tab.complaints == []
