"""`/docs` in a real browser, of a receiver with tokens: it opens without one, and its requests go out with one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.browser import Page, chromium
from tests.acceptance.support import Server, Site, get, until

TOKEN = "token-of-the-tests-0123456789"


def guarded(site: Site, prefix: str = "") -> Server:
    """A receiver whose private listener wants a token."""
    server = f'port = 0\nprivate_port = 0\nroot_path = "{prefix}"'
    return site.configure(f'[api]\ntokens = ["{TOKEN}"]', server=server).start()


def type_token(page: Page, token: str) -> None:
    page.evaluate(f"document.getElementById('token').value = {json.dumps(token)}")


def sent(page: Page, operation: str, **fields: str) -> str:
    """What the page shows after its form for this operation was filled in and sent."""
    form = f"document.querySelector('#{operation} form')"
    for name, value in fields.items():
        field = "textarea" if name == "body" else f"[data-name={name}]"
        page.evaluate(f"{form}.querySelector('{field}').value = {json.dumps(value)}")
    page.evaluate(f"{form}.querySelector('button').click()")
    shown = f"{form}.querySelector('pre')"
    until(f"the answer to {operation}", lambda: page.evaluate(f"{shown}.ariaBusy") == "false")
    return str(page.evaluate(f"{shown}.textContent"))


def test_the_page_opens_without_a_token_and_sends_its_requests_with_the_one_that_is_typed_in(
    site: Site, tmp_path: Path
) -> None:
    server = guarded(site)
    with chromium(tmp_path / "browser") as page:
        page.open(f"{server.private}/docs")
        assert page.evaluate("document.title") == "tts-receiver: API"
        assert page.complaints == []

        assert sent(page, "list_events").startswith("401 ")
        type_token(page, "not-this-one-0123456789")
        assert '"reason": "bad_token"' in sent(page, "list_events")
        assert all("401" in complaint for complaint in page.complaints), "no script and no style was refused"
        page.complaints.clear()

        type_token(page, TOKEN)
        assert '"items": []' in sent(page, "list_events", limit="5", source="aitts")
        watched = sent(page, "watch_job", body='{"source":"aitts","job_id":"a job"}')
        assert watched.startswith("201 ")
        job = json.loads(watched.partition("\n\n")[2])
        assert f'"id": "{job["id"]}"' in sent(page, "get_job", id=job["id"])
        assert sent(page, "get_job", id="../../metrics?x#").startswith("404 ")
        assert page.requested[-1] == f"{server.private}/v1/jobs/..%2F..%2Fmetrics%3Fx%23"
        assert "content-type: text/event-stream" in sent(page, "stream", seconds="0")

        kept = "JSON.stringify([localStorage.length, sessionStorage.length, document.cookie, location.search])"
        assert page.evaluate(kept) == '[0,0,"",""]'
        assert all(address.startswith(server.private) for address in page.requested)
        assert TOKEN not in "".join(page.requested)

        page.open(f"{server.private}/docs")
        assert page.evaluate("document.getElementById('token').value") == "", "it is kept by nothing but the page"
    assert TOKEN not in site.everything_written()


def test_the_page_sends_its_requests_under_the_prefix_that_it_is_shown_under(site: Site, tmp_path: Path) -> None:
    server = guarded(site, "/tts")
    with chromium(tmp_path / "browser") as page:
        page.open(f"{server.private}/tts/docs")
        type_token(page, TOKEN)
        assert sent(page, "list_jobs").startswith("200 ")
        assert page.requested[-1] == f"{server.private}/tts/v1/jobs"


def test_what_describes_the_api_is_open_and_nothing_else(site: Site) -> None:
    server = guarded(site)
    for path, status in (("/docs", 200), ("/openapi.json", 200), ("/v1/events", 401), ("/metrics", 401), ("/", 401)):
        assert get(server.private + path)[0] == status, path
