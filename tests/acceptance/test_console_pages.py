"""The pages of the console in a real browser: a failed run is found, read, repaired, run again and heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.console_browser import Tab, console_tab
from tests.acceptance.support import Provider, Server, Site, completed, deliver, until

SHOP = """
from pathlib import Path
from receiver import Context, JobCompleted, Reject, handler


@handler(on=JobCompleted)
async def shop(event: JobCompleted, ctx: Context[None]) -> dict[str, int]:
    if not Path(__file__).with_name("open").exists():
        raise Reject("The shop is closed <b>today</b>.", reason="closed")
    return {"bytes": (await ctx.audio()).bytes}
"""
PAGES = [
    "",
    "/events",
    "/runs?state=dead",
    "/jobs",
    "/artifacts",
    "/sources",
    "/changes",
    "/events?limit=x",
    "/nothing",
]


@pytest.fixture
def server(site: Site, provider: Provider) -> Server:
    site.plugin("shop", SHOP)
    site.configure('[plugins]\ndirectory = "plugins"', handlers="", base_url=provider.sim.base_url)
    return site.start()


def deliver_job(server: Server, provider: Provider) -> str:
    """An ended job's delivery; its event's id."""
    answer = deliver(server.public, completed(provider.completed_job().id))
    assert answer is not None
    assert answer[0] == 202
    id: str = answer[1]["event"]
    return id


def is_same_page(tab: Tab) -> bool:
    """Whether the page that `mark` marked was not loaded again."""
    return bool(tab.page.evaluate("window.marked === true"))


def mark(tab: Tab) -> None:
    tab.page.evaluate("window.marked = true")


def test_a_failed_run_is_found_repaired_and_heard(site: Site, server: Server, provider: Provider) -> None:
    base = f"{server.private}/console"
    with console_tab(timezone_id="Asia/Kolkata", locale="en-GB") as tab:
        page = tab.page
        page.goto(f"{base}/events")
        assert page.get_by_text("Nothing is stored yet.").is_visible()
        mark(tab)
        id = deliver_job(server, provider)
        page.locator(f'[data-row="{id}"] .state-dead').wait_for()
        assert is_same_page(tab), "it shows what arrives without being loaded again"

        page.keyboard.press("g")
        page.keyboard.press("o")
        page.wait_for_url(base)
        page.locator(".verdict-text", has_text="failed for good").wait_for()
        page.get_by_role("link", name="look at them").click()
        page.get_by_text("The shop is closed <b>today</b>.").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{base}/events/{id}")
        at = page.locator("time").first
        assert page.evaluate("(text) => text !== new Date(text).toISOString()", at.get_attribute("datetime"))
        assert "Z" not in at.inner_text(), "it is in the reader's time zone"

        (site.folder / "plugins" / "open").touch()
        page.locator("#run-shop").get_by_role("button", name="Replay").click()
        page.get_by_text("1 run is due again.").wait_for()
        mark(tab)
        page.locator("#run-shop .head .state-succeeded").wait_for()
        page.locator("audio").wait_for()
        assert is_same_page(tab)

        page.locator("canvas[data-drawn]").wait_for()
        page.evaluate("document.querySelector('audio').muted = true")
        page.evaluate("document.querySelector('audio').play()")
        until("the audio plays", lambda: page.evaluate("document.querySelector('audio').currentTime > 0"))
        assert tab.complaints == []


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 700}}], ids=str)
def test_no_page_breaks_the_policy_or_the_width(
    server: Server, provider: Provider, options: dict[str, object], tmp_path: Path
) -> None:
    base = f"{server.private}/console"
    id = deliver_job(server, provider)
    with console_tab(**options) as tab:
        for path in [*PAGES, f"/events/{id}"]:
            tab.page.goto(base + path)
            assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            tab.complaints[:] = [
                text for text in tab.complaints if "the server responded with a status of 4" not in text
            ]
            assert tab.complaints == [], path


def test_the_keyboard_is_enough(server: Server, provider: Provider) -> None:
    deliver_job(server, provider)
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console/events")
        page.keyboard.press("?")
        assert page.get_by_role("heading", name="Keyboard").is_visible()
        page.keyboard.press("Escape")
        assert not page.get_by_role("heading", name="Keyboard").is_visible()
        page.keyboard.press("/")
        page.keyboard.type("job-of-nobody")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/events?error_text=job-of-nobody")
        page.keyboard.press("t")
        theme = page.evaluate("document.documentElement.dataset.theme")
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") == theme == "dark"
        page.keyboard.press("l")
        assert page.get_by_text("paused").is_visible()
        assert tab.complaints == []
