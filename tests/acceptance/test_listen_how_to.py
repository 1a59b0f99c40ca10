"""The how-to of `listen`, followed: it prints what the page shows, and the page's function verifies what it sends."""

from __future__ import annotations

from typing import Any

from tests.acceptance.listening import Received, application, listening, secret_of, send
from tests.acceptance.support import Site, deliver, signed_headers
from tests.acceptance.test_how_tos import alike, blocks

PAGE = "how-to/receive-events-on-your-machine.md"
FAILED = b'{"event":"job.failed","data":{"job_id":"j-7","status":"failed"}}'


def test_the_page_shows_what_is_printed_at_the_start_and_for_an_event(site: Site) -> None:
    shown, _ = blocks(PAGE, "text")
    command = next(block for block in blocks(PAGE, "sh") if block.startswith("tts-receiver listen"))
    assert command.split() == ["tts-receiver", "listen", "--forward", "http://localhost:3000/hook"]
    server = site.configure().start()
    with application() as app:
        forward = app.url.replace("127.0.0.1", "localhost")
        with listening(site, server.private, forward) as running:
            running.wait_for("Connected.")
            send(server, "f3973de3-c21a-4f3e-9a55-0d9c6f4b1f0e")
            running.wait_for("204 in")
            running.stop()
    introduction, _, lines = shown.partition("Connected.\n")
    for text, real in (
        ("http://127.0.0.1:8081", server.private),
        ("http://localhost:3000/hook", forward),
        ("whsec_N0NZPiDf2GC/LC5f/Hi4mYxuSvKinGypOJS9ucoIB4M=", secret_of(site)),
        ("/home/me/.local/state", str(site.folder / "state")),
    ):
        assert text in introduction
        introduction = introduction.replace(text, real)
    assert running.text().startswith(introduction)
    assert alike(lines.splitlines()[1]) in alike(running.text())


def test_the_page_shows_what_is_printed_for_an_event_that_is_repeated(site: Site) -> None:
    _, shown = blocks(PAGE, "text")
    replies = [(500, b"KeyError: 'order'", {})] * 2

    def answer(received: Received) -> tuple[int, bytes, dict[str, str]]:
        return replies.pop() if replies else (204, b"", {})

    server = site.configure().start()
    with application(answer=answer) as app, listening(site, server.private, app.url) as running:
        running.wait_for("Connected.")
        assert deliver(server.public, FAILED, signed_headers(FAILED)) is not None
        running.wait_for("attempt 3")
        running.stop()
    printed = alike(running.text().partition("Connected.\n")[2])
    assert printed.startswith(alike(shown))


def test_the_function_of_the_page_on_forward_verifies_what_listen_sends(site: Site) -> None:
    [block] = blocks("how-to/forward-to-your-application.md", "python")
    server = site.configure().start()
    with application() as app, listening(site, server.private, app.url) as running:
        running.wait_for("Connected.")
        send(server, "j-1")
        (found,) = app.wait_for(1)
        running.stop()
    function: dict[str, Any] = {}
    exec(block.replace("whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE=", secret_of(site)), function)
    assert function["receive"](found.body, found.headers) == 204
    assert function["receive"](found.body + b" ", found.headers) == 401
