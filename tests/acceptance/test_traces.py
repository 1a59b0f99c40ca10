"""With a tracing system configured an attempt passes a trace on, and its link in the console leads there."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

from tests.acceptance.support import Site, get, until
from tests.acceptance.test_forward import Application, event_of, failed, start_application, table

__all__ = ["start_application"]


def test_each_attempt_has_a_trace_that_the_application_continues(
    site: Site, start_application: Callable[..., Application]
) -> None:
    app = start_application()
    tables = table("shop", f"http://127.0.0.1:{app.port}/accepts/shop")
    site.configure('[console]\ntrace_url = "https://traces.example.com/?id={trace_id}&view=all"', handlers=tables)
    server = site.start()
    event = event_of(server, failed("job-1"))
    site.wait_for_state(event, "shop", "succeeded")
    assert site.command("events", "replay", event, "--yes").returncode == 0
    until("it has come twice", lambda: len(app.received("shop")) == 2)
    site.wait_for_state(event, "shop", "succeeded")

    parents = [received.headers["traceparent"] for received in app.received("shop")]
    assert len(set(parents)) == len(parents) == 2
    for parent in parents:
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    sent = [parent.split("-")[1] for parent in parents]
    attempts = json.loads(get(f"{server.private}/v1/events/{event}")[1])["attempts"]
    assert [attempt["trace_id"] for attempt in attempts] == sent
    page = get(f"{server.private}/console/events/{event}")[1]
    links = re.findall(r'<a class="trace" href="([^"]+)" rel="noreferrer"', page)
    assert [html.unescape(link) for link in links] == [f"https://traces.example.com/?id={id}&view=all" for id in sent]


def test_without_a_tracing_system_no_trace_is_passed_on(
    site: Site, start_application: Callable[..., Application]
) -> None:
    app = start_application()
    server = site.configure(handlers=table("shop", f"http://127.0.0.1:{app.port}/accepts/shop")).start()
    event = event_of(server, failed("job-1"))
    site.wait_for_state(event, "shop", "succeeded")
    (received,) = app.received("shop")
    assert "traceparent" not in {name.lower() for name in received.headers}
    (attempt,) = json.loads(get(f"{server.private}/v1/events/{event}")[1])["attempts"]
    assert attempt["trace_id"] is None
    assert "traces.example.com" not in get(f"{server.private}/console/events/{event}")[1]
