"""Logging in to the console, working in it and logging out, in a real browser."""

from __future__ import annotations

import http.server
import re
import threading

import pytest

from receiver.model.password_hash import hash_password
from tests.acceptance.console_browser import Tab, console_tab
from tests.acceptance.support import Server, Site, completed, deliver, signed_headers

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD, b"0" * 16)
TOKEN = "token-of-the-tests-0123456789"
USERS = f"""
[console.users.anna]
password_hash = "{HASH}"
role = "operator"
[console.users.ben]
password_hash = "{HASH}"
[[api.tokens]]
id = "shop"
token = "{TOKEN}"
"""


@pytest.fixture
def server(site: Site) -> Server:
    return site.configure(USERS).start()


def log_in(tab: Tab, name: str, password: str) -> None:
    tab.page.get_by_label("Name").fill(name)
    tab.page.get_by_label("Password").fill(password)
    tab.page.get_by_role("button", name="Log in", exact=True).click()


def test_who_logs_in_sees_the_page_that_was_wanted_until_the_logout(server: Server) -> None:
    page_of_it = f"{server.private}/console"
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{page_of_it}/events?source=aitts")
        assert page.url.startswith(f"{page_of_it}/login?next=")
        assert tab.complaints == []

        log_in(tab, "anna", "not the password")
        assert page.get_by_role("alert").inner_text() == "The name or the password is wrong."
        tab.complaints.clear()  # the browser notes each 401

        log_in(tab, "anna", PASSWORD)
        assert page.url == f"{page_of_it}/events?source=aitts"
        assert page.get_by_text("anna").is_visible()
        assert page.evaluate("document.cookie") == "", "no script can read the session"

        page.goto(page_of_it)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{page_of_it}/login")
        for _ in range(2):  # what the browser kept of pages is not shown
            page.go_back()
            assert page.get_by_role("heading", name="Log in").is_visible()
            assert not page.get_by_text("anna").is_visible()
        assert tab.complaints == []


def test_a_token_logs_in_as_well(server: Server) -> None:
    with console_tab() as tab:
        tab.page.goto(f"{server.private}/console")
        tab.page.get_by_label("API token").fill(TOKEN)
        tab.page.get_by_role("button", name="Log in with a token").click()
        assert tab.page.url == f"{server.private}/console"
        assert tab.page.get_by_text("shop").is_visible()
        assert tab.complaints == []


def test_a_login_works_without_scripts(server: Server) -> None:
    with console_tab(java_script_enabled=False) as tab:
        tab.page.goto(f"{server.private}/console")
        log_in(tab, "anna", PASSWORD)
        assert tab.page.url == f"{server.private}/console"
        tab.page.get_by_role("button", name="Log out").click()
        assert tab.page.url == f"{server.private}/console/login"


def test_an_operator_acts_and_a_viewer_cannot(server: Server, site: Site) -> None:
    body = completed("job-1")
    answer = deliver(server.public, body, signed_headers(body))
    assert answer is not None
    event = answer[1]["event"]
    site.wait_for_state(event, "log", "succeeded")
    address = f"{server.private}/console/events/{event}"
    with console_tab() as tab:
        page = tab.page
        page.goto(address)
        log_in(tab, "ben", PASSWORD)
        assert page.url == address
        assert page.get_by_text("reads only").is_visible()
        assert page.locator("form[method=post]").count() == 1, "the logout alone"
        forged = """
            const token = document.querySelector('input[name="csrf"]').value;
            fetch(location.pathname + "/replay", {
                method: "POST", body: new URLSearchParams({csrf: token}), redirect: "manual",
            }).then(answer => answer.status)
        """
        assert page.evaluate(forged) == 403
        page.get_by_role("button", name="Log out").click()

        page.goto(address)
        log_in(tab, "anna", PASSWORD)
        page.get_by_role("button", name="Replay all handlers").click()
        page.wait_for_url(re.compile(r"replayed="))
    assert site.rows("SELECT actor, via, operation FROM audit_entries WHERE operation = 'replay'") == [
        {"actor": "anna", "via": "console", "operation": "replay"}
    ]


def test_a_form_of_another_page_is_refused_and_says_what_to_do(server: Server) -> None:
    """Also one that another program on the same machine serves: its cookies are this console's."""

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            to = f"{server.private}/console/logout"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<form method="post" action="{to}"><button>Win a prize</button></form>'.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    try:
        with console_tab() as tab:
            page = tab.page
            page.goto(f"{server.private}/console")
            log_in(tab, "anna", PASSWORD)
            for host in ("127.0.0.1", "localhost"):
                page.goto(f"http://{host}:{evil.server_port}/")
                page.get_by_role("button", name="Win a prize").click()
                page.wait_for_url(f"{server.private}/console/logout")
                assert "was not sent by a page of this console" in page.inner_text("main")
            page.goto(f"{server.private}/console")
            assert page.get_by_text("anna").is_visible(), "nobody was logged out"
    finally:
        evil.shutdown()
        evil.server_close()


def test_a_link_from_elsewhere_leads_to_the_page_if_somebody_is_logged_in(server: Server) -> None:
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console")
        log_in(tab, "anna", PASSWORD)
        wanted = f"{server.private}/console/events?source=aitts"
        page.goto(f'data:text/html,<a href="{wanted}">look</a>')
        page.get_by_role("link", name="look").click()
        page.wait_for_url(wanted)
        assert page.get_by_text("anna").is_visible()


def test_a_session_that_is_revoked_ends_while_its_page_is_open(server: Server, site: Site) -> None:
    with console_tab() as tab:
        page = tab.page
        page.goto(f"{server.private}/console")
        log_in(tab, "anna", PASSWORD)
        assert site.command("users", "revoke", "--user", "anna").returncode == 0
        page.get_by_role("button", name="log in again").click()
        assert page.get_by_role("heading", name="Log in").is_visible()
