"""An operator's whole way through the console: find what failed, read why, repair it, replay it, and hear it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.acceptance.console_browser import Tab, another_browser, console_tab, tab_of
from tests.acceptance.support import Provider, Server, Site, completed, deliver, until

OPERATOR, VIEWER = "token-of-the-operator-0123456789", "token-of-the-viewer-0123456789"
CONFIG = f"""
[plugins]
directory = "plugins"
[[api.tokens]]
id = "anna"
token = "{OPERATOR}"
[[api.tokens]]
id = "ben"
token = "{VIEWER}"
role = "viewer"
"""
NARRATE = """
from pathlib import Path
from receiver import Context, JobCompleted, Reject, handler


@handler(on=JobCompleted)
async def narrate(event: JobCompleted, ctx: Context[None]) -> dict[str, float | None]:
    if not Path(__file__).with_name("voice").exists():
        raise Reject("<script>alert(1)</script> There is no voice anna.", reason="no_such_voice")
    return {"seconds": (await ctx.audio()).duration}
"""
COUNT = 3
DEAD = "SELECT count(*) AS n FROM runs WHERE state = 'dead'"


@pytest.fixture
def server(site: Site, provider: Provider) -> Server:
    site.plugin("narrate", NARRATE)
    return site.configure(CONFIG, handlers="", base_url=provider.sim.base_url).start()


def log_in(page: Any, token: str) -> None:
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Log in with a token").click()


def paths(event: str, job: str, operation: str) -> list[str]:
    """Of every page of the console."""
    lists = ["/events", "/runs", "/jobs", "/artifacts", "/changes", "/operations"]
    return [
        "", *lists, *(f"{name}?order=oldest" for name in lists), "/sources", "/speak", f"/events/{event}",
        f"/events/{event}/edit", f"/jobs/{job}", f"/operations/{operation}", "/runs/replay?state=dead",
        "/events/replay?source=aitts", "/search?q=voice", "/events?error_text=voice",
    ]  # fmt: skip


def visit(tab: Tab, base: str, *visited: str) -> None:
    """Open each page, and require that the browser has nothing to say about it."""
    for path in visited:
        answer = tab.page.goto(base + path, wait_until="load")
        assert answer.status == 200, path
        assert tab.complaints == [], path


def fail(server: Server, provider: Provider, job: str) -> str:
    """The event of a job that ends well, and whose run fails."""
    provider.finish(provider.sim.jobs[job])
    answer = deliver(server.public, completed(job, metadata={"customer": "acme"}))
    assert answer is not None
    return str(answer[1]["event"])


def test_what_failed_is_found_repaired_replayed_and_heard_by_who_may(
    site: Site, server: Server, provider: Provider
) -> None:
    base = f"{server.private}/console"
    with console_tab() as tab:
        page = tab.page
        page.goto(base)
        assert page.get_by_role("heading", name="Log in").is_visible()
        log_in(page, OPERATOR)
        page.get_by_text("All is well.").wait_for()

        # A line is spoken. Its run fails, and so do others.
        page.goto(f"{base}/speak")
        page.get_by_label("Text").fill("Chapter one.")
        page.get_by_label("Voice").fill("alloy")
        page.get_by_role("button", name="Speak").click()
        page.wait_for_url(re.compile("/console/jobs/job_"))
        (own,) = re.findall(r"job_\w+", page.url)
        ended = str(site.rows("SELECT job_id FROM jobs")[0]["job_id"])
        event = fail(server, provider, ended)
        for _ in range(COUNT - 1):
            fail(server, provider, provider.submit().id)
        until("the runs are dead", lambda: site.rows(DEAD)[0]["n"] == COUNT)

        # The failed run is seen, and its error read.
        page.goto(base)
        page.locator(".verdict-text", has_text="failed for good").wait_for()
        page.get_by_role("link", name="look at them").click()
        assert page.get_by_text("<script>alert(1)</script> There is no voice anna.").count() == COUNT
        watching = tab_of(page.context.new_page())
        watching.page.goto(f"{base}/events/{event}")
        watching.page.evaluate("window.sameDocument = true")
        assert watching.page.locator("#run-narrate .error").inner_text().endswith("There is no voice anna.")

        # The cause is repaired. All that match are replayed, after a dry run that changes nothing.
        (site.folder / "plugins" / "voice").touch()
        page.get_by_role("link", name="Replay all that match").click()
        assert page.get_by_role("heading", name=f"Replay {COUNT} runs?").is_visible()
        assert site.rows(DEAD)[0]["n"] == COUNT
        page.get_by_role("button", name=f"Replay {COUNT} runs").click()
        page.wait_for_url(re.compile("/console/operations/chg_"))
        (operation,) = re.findall(r"chg_\w+", page.url)
        page.locator(".state-completed").wait_for()

        # The state changes before one's eyes, and the result is heard.
        watching.page.locator("#run-narrate .head .state-succeeded").wait_for()
        watching.page.locator("audio").wait_for()
        watching.page.evaluate("document.querySelector('audio').muted = true")
        watching.page.keyboard.press("Space")
        until("it is heard", lambda: watching.page.evaluate("document.querySelector('audio').currentTime > 0"))
        assert watching.page.evaluate("window.sameDocument") is True
        assert watching.complaints == tab.complaints == []

        # No page breaks its policy or has a script that fails.
        every = paths(event, own, operation)
        visit(tab, base, *every)

        # A viewer sees all that only shows, and can change nothing.
        viewer = another_browser(tab)
        viewer.page.goto(f"{base}/events/{event}")
        assert viewer.complaints == []
        log_in(viewer.page, VIEWER)
        assert viewer.page.url == f"{base}/events/{event}"
        changing = ("/speak", "/edit", "/replay")
        visit(viewer, base, *(path for path in every if not path.partition("?")[0].endswith(changing)))
        assert viewer.page.locator("form[method=post]").count() == 1, "the logout alone"
        for path in (
            f"/events/{event}/replay",
            f"/events/{event}/edit",
            "/runs/replay",
            "/speak",
            f"/jobs/{own}/cancel",
        ):
            assert sent(viewer.page, base + path) == 403, path
        assert viewer.page.goto(f"{base}/speak").status == 403

        # A forged form is refused.
        assert sent(page, f"{base}/events/{event}/replay", csrf="0" * 64) == 403
        page.goto(f"data:text/html,<form method=post action={base}/events/{event}/replay><button>Win</button></form>")
        page.get_by_role("button", name="Win").click()
        page.get_by_text("was not sent by a page of this console").or_(page.get_by_label("API token")).wait_for()
    changes = "SELECT actor, operation FROM audit_entries WHERE operation NOT LIKE 'log_%' ORDER BY id"
    assert [tuple(row.values()) for row in site.rows(changes)] == [("anna", "speak"), ("anna", "replay_runs")]


def sent(page: Any, address: str, **fields: str) -> int:
    """The status of the answer to a form of this page, with its own token unless another is given."""
    script = """([address, fields]) => {
        const token = document.querySelector('input[name="csrf"]')?.value ?? "";
        const body = new URLSearchParams({csrf: token, ...fields});
        return fetch(address, {method: "POST", body, redirect: "manual"}).then(answer => answer.status);
    }"""
    return int(page.evaluate(script, [address, fields]))
