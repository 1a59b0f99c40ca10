"""The console where things are bad: no store, a slow network, impatient fingers, long texts, colours of the reader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.console_browser import another_browser, console_tab
from tests.acceptance.support import Server, Site, completed, deliver, signed_headers, until
from tests.postgresql_server import PostgresqlServer, running_server
from tests.stores import query

PICKY = """
from receiver import JobCompleted, Reject, handler

@handler(on=JobCompleted)
def picky(event, ctx):
    raise Reject("שלום <b>עולם</b> " + "very" * 100, reason="picky")
"""
LONG = "L" * 250
METADATA = {"customer": "=1+1", "k" * 64: "v" * 256, "rtl": "زمن التسليم " * 20, "words": "long " * 200}


@pytest.fixture
def server(site: Site) -> Server:
    return site.plugin("picky", PICKY).configure('[plugins]\ndirectory = "plugins"', handlers="").start()


@pytest.fixture
def own_postgresql() -> Iterator[PostgresqlServer]:
    """A server that nobody else uses: it is stopped."""
    with running_server() as server:
        yield server


def dead_event(site: Site, server: Server, job: str = LONG) -> str:
    body = completed(job, metadata=METADATA)
    answer = deliver(server.public, body, signed_headers(body))
    assert answer is not None
    event = str(answer[1]["event"])
    site.wait_for_state(event, "picky", "dead")
    return event


def test_a_page_stays_while_the_store_is_away_and_goes_on_afterwards(
    site: Site, own_postgresql: PostgresqlServer
) -> None:
    address = own_postgresql.url(own_postgresql.create())
    server = site.configure(f'[store]\nurl = "{address}"').start()
    body = completed("job-1")
    assert deliver(server.public, body, signed_headers(body))
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console/events")
        page.evaluate("window.sameDocument = true")
        page.locator("tr .state-done").wait_for()
        own_postgresql.stop()
        page.get_by_role("button", name="no connection").wait_for()
        assert page.locator("tr .state-done").is_visible(), "what was shown remains"
        other = another_browser(tab)
        other.page.goto(f"{server.private}/console/jobs")
        assert other.page.get_by_role("heading", name="Service Unavailable").is_visible()
        own_postgresql.start()
        page.get_by_role("button", name="live", exact=True).wait_for()
        until("deliveries are stored", lambda: (deliver(server.public, completed("job-2")) or (0,))[0] == 202)
        page.get_by_role("link", name="job-2").wait_for()
        assert page.evaluate("window.sameDocument") is True


def test_a_page_whose_network_stalls_says_so_and_goes_on(server: Server, site: Site) -> None:
    with console_tab() as tab:
        page = tab.page
        page.add_init_script(
            "AbortSignal.timeout = () => { const c = new AbortController(); "
            "setTimeout(() => c.abort(), 300); return c.signal; };"
        )
        page.goto(f"{server.private}/console/events")
        page.route("**/console/events", lambda route: None)  # never answered
        page.get_by_role("button", name="no connection").wait_for()
        page.unroute("**/console/events")
        dead_event(site, server, "job-1")
        page.get_by_role("link", name="job-1").wait_for()
        page.get_by_role("button", name="live", exact=True).wait_for()


def test_a_button_that_is_pressed_twice_does_it_once(server: Server, site: Site) -> None:
    event = dead_event(site, server)
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console/events/{event}")
        stopped = page.evaluate(
            "() => { const button = document.querySelector('.head .primary'), stopped = []; "
            "addEventListener('submit', event => stopped.push(event.defaultPrevented)); "
            "button.click(); button.click(); return stopped; }"
        )
        assert stopped == [False, True], "a browser merges the two only if no answer has begun"
        page.get_by_text("1 run is due again.").wait_for()
        page.go_back()
        page.locator("#run-picky .head .state-dead").wait_for()
        page.get_by_role("button", name="Replay all handlers").click()  # it can be pressed again
        page.get_by_text("1 run is due again.").wait_for()
    changes = "SELECT operation FROM audit_entries"
    assert [row["operation"] for row in query(site.store, changes)] == ["replay", "replay"]


def test_no_text_is_too_long_for_a_page(server: Server, site: Site) -> None:
    event = dead_event(site, server)
    paths = [
        "", "/events", f"/events?job_id={LONG}", "/runs?state=dead", f"/events/{event}", f"/events/{event}/edit",
        "/runs/replay?state=dead", f"/events?job_id={LONG}{LONG}",
    ]  # fmt: skip
    with console_tab() as tab:
        for path in paths:
            tab.page.goto(f"{server.private}/console{path}")
            for width in (320, 640, 1280):  # 640 is what 1280 are at 200 %
                tab.page.set_viewport_size({"width": width, "height": 500})
                wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (path, width)


def test_what_is_drawn_is_seen_in_the_colours_of_the_reader(server: Server, site: Site) -> None:
    event = dead_event(site, server)
    with console_tab(forced_colors="active") as tab:
        for path in ("", f"/events/{event}"):
            tab.page.goto(f"{server.private}/console{path}")
            invisible = tab.page.evaluate("""() => {
                const page = getComputedStyle(document.body).backgroundColor;
                return [...document.querySelectorAll(".icon:not(.icon-logo), .key-bar, .dot")]
                    .filter(of => of.checkVisibility())
                    .filter(of => [page, "rgba(0, 0, 0, 0)"].includes(getComputedStyle(of).backgroundColor))
                    .map(of => of.className);
            }""")
            assert invisible == [], path


def test_an_update_leaves_the_focus_and_what_was_opened(server: Server, site: Site) -> None:
    dead_event(site, server)
    for number in range(2):
        body = completed(f"late-{number}")
        assert deliver(server.public, body, signed_headers(body, 1))
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console")
        page.locator("#problems summary").focus()
        page.keyboard.press("Enter")
        for element in ("#problems summary", 'main a[href*="state=dead&handler=picky"]'):
            page.locator(element).first.focus()
            shown = page.locator(".verdict-at").inner_text()
            until("the page was updated", lambda shown=shown: page.locator(".verdict-at").inner_text() != shown)
            is_focused = f"document.activeElement === document.querySelector({element!r})"
            assert page.evaluate(is_focused) is True, element
            assert page.evaluate("document.querySelector('#problems').open") is True
