"""The forms of the console in a real browser: a line of text is spoken and heard, an event is edited and succeeds."""

from __future__ import annotations

import json
import re

import pytest

from tests.acceptance.console_browser import console_tab
from tests.acceptance.support import Provider, Server, Site, completed, deliver, get, until

NEEDS_ORDER = """
from receiver import JobCompleted, Reject, handler

@handler(on=JobCompleted)
async def hand_over(event, ctx):
    if "order" not in event.metadata:
        raise Reject("The job carries no order number.", reason="no_order")
    await ctx.audio()
"""


@pytest.fixture
def server(site: Site, provider: Provider) -> Server:
    site.plugin("hand_over", NEEDS_ORDER)
    configured = site.configure(
        '[plugins]\ndirectory = "plugins"', handlers="[handlers.save_audio]", base_url=provider.sim.base_url
    )
    return configured.start()


def test_a_line_of_text_is_spoken_and_played(server: Server, provider: Provider) -> None:
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console/jobs")
        page.get_by_role("link", name="Speak").click()
        page.get_by_label("Text").fill("Hello.\nWorld.")
        page.get_by_label("Voice").fill("nobody-of-this-name")
        page.get_by_role("button", name="Speak").click()
        assert "nobody-of-this-name" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Text").input_value() == "Hello.\nWorld."
        tab.complaints.clear()  # the browser notes each 422

        page.get_by_label("Voice").fill("alloy")
        page.get_by_role("button", name="Speak").click()
        page.wait_for_url(re.compile("/console/jobs/job_"))
        page.evaluate("window.marked = true")
        id = re.findall(r"job_\w+", page.url)[0]
        job = json.loads(get(f"{server.private}/v1/jobs/{id}")[1])["job_id"]
        provider.finish(provider.sim.jobs[job])
        assert deliver(server.public, completed(job))
        page.locator("audio").wait_for()
        until("the audio plays by itself", lambda: page.evaluate("document.querySelector('audio').currentTime > 0"))
        assert page.evaluate("window.marked") is True, "nothing was loaded again"
        assert tab.complaints == []


def test_an_event_is_edited_and_its_handler_succeeds(site: Site, server: Server, provider: Provider) -> None:
    answer = deliver(server.public, completed(provider.completed_job().id, metadata={"customer": "acme"}))
    assert answer is not None
    event = answer[1]["event"]
    site.wait_for_state(event, "hand_over", "dead")
    with console_tab(viewport={"width": 360, "height": 700}) as tab:
        page = tab.page
        for path in ("/speak", "/operations", "/runs/replay?state=dead", "/events/replay?state=dead"):
            page.goto(f"{server.private}/console{path}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.goto(f"{server.private}/console/events/{event}")
        page.get_by_role("link", name="Edit and replay").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        field = page.get_by_label("Payload")
        text = field.input_value()
        field.fill(text.replace('"acme"', '"acme", "order": 7,'))
        page.get_by_role("button", name="Make the event").click()
        assert "line" in page.get_by_role("alert").inner_text()
        assert '"order": 7,' in field.input_value(), "nothing that was typed is lost"
        tab.complaints.clear()  # the browser notes each 400

        field.fill(text.replace('"acme"', '"acme", "order": 7'))
        page.get_by_role("button", name="Make the event").click()
        page.wait_for_url(re.compile(rf"/console/events/(?!{event})evt_\w+$"))
        page.locator("#run-hand_over .head .state-succeeded").wait_for()
        assert page.get_by_role("link", name=event[:16]).is_visible()
        assert tab.complaints == []
