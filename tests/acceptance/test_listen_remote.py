"""`listen` and a receiver that breaks off, refuses, redirects, has deleted events, or is none."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.cli.listen.gap import position_at
from receiver.store.schema import events
from tests.acceptance.listening import Application, application, listening, port_of, send, state_files
from tests.acceptance.support import Site, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import insert_rows, query

TOKEN = "token-of-a-developer-0123456789"
DAY = 86_400.0


@pytest.fixture
def app() -> Iterator[Application]:
    """The local application."""
    with application() as running:
        yield running


def test_it_goes_on_when_the_receiver_was_restarted_or_is_started_later(site: Site, app: Application) -> None:
    server = site.configure().start()
    private = port_of(server.private)
    sent = [send(server, "j-1")]
    with listening(site, server.private, app.url, "--since", "1h") as command:
        app.wait_for(1)
        server.kill()
        command.wait_for("Trying again until it answers.")
        server = site.start("--private-port", str(private))
        sent.append(send(server, "j-2"))
        app.wait_for(2)
        command.wait_for("Connected again after")
        assert server.stop() == 0
        until("the second break is told", lambda: command.text().count("Trying again") == 2)
        server = site.start("--private-port", str(private))
        sent.append(send(server, "j-3"))
        app.wait_for(3)
        command.stop()
    assert app.ids() == sent


def test_the_token_comes_from_a_file_or_the_environment_and_a_wrong_one_ends_it(site: Site, app: Application) -> None:
    more = f'[[api.tokens]]\nid = "me"\nrole = "viewer"\ntoken = "{TOKEN}"\n'
    server = site.configure(more).start()
    id = send(server, "j-1")
    file = site.folder / "token"
    file.write_text(f"{TOKEN}\n")
    with listening(site, server.private, app.url, "--since", "1h", "--token-file", str(file)) as command:
        assert app.wait_for(1)[0].id == id
        command.stop()
        assert TOKEN not in command.text()
    with listening(site, server.private, app.url, TTS_LISTEN_TOKEN=TOKEN) as command:
        command.wait_for("Connected.")
        command.stop()
    for given in ({}, {"TTS_LISTEN_TOKEN": "wrong-0123456789"}):
        with listening(site, server.private, app.url, **given) as command:
            code, text = command.end()
            assert code == 1
            assert "answered 401" in text
            assert "--token-file" in text
    file.write_text("two words")
    with listening(site, server.private, app.url, "--token-file", str(file)) as command:
        assert "has no API token" in command.end()[1]


def test_a_token_that_is_withdrawn_ends_it(site: Site, app: Application) -> None:
    more = '[[api.tokens]]\nid = "me"\nrole = "viewer"\ntoken = "{}"\n'
    server = site.configure(more.format(TOKEN)).start()
    with listening(site, server.private, app.url, TTS_LISTEN_TOKEN=TOKEN) as command:
        command.wait_for("Connected.")
        server.stop()
        site.configure(more.format("another-token-0123456789"))
        site.start("--private-port", str(port_of(server.private)))
        code, text = command.end()
        assert (code, "answered 401" in text) == (1, True)


@pytest.mark.postgresql
def test_a_receiver_on_postgresql_is_followed_from_a_time_and_after_a_kill(
    site: Site, app: Application, postgresql: PostgresqlServer
) -> None:
    name = postgresql.create()
    site.configure(f'[store]\nurl = "{postgresql.url(name)}"')
    server = site.start()
    sent = [send(server, "j-1"), send(server, "j-2")]
    for number in range(2):
        with listening(site, server.private, app.url, "--since", "1h") as command:
            app.wait_for(len(sent))
            command.wait_for(f"j-{len(sent)} ")
        sent.append(send(server, f"j-{number + 3}"))
    with listening(site, server.private, app.url) as command:
        app.wait_for(len(sent))
        command.stop()
    assert app.ids() == sent
    assert server.stop() == 0
    postgresql.drop(name)


def old_events(site: Site, count: int, age: float) -> list[str]:
    """Events that were received long ago, whose handlers have ended."""
    template = query(site.store, events)[0]
    at = time.time() - age
    ids = [f"{position_at(at + number)[:16]}7{'0' * 3}8{number:015x}" for number in range(count)]
    rows = [template | {"id": id, "key": id, "job_id": id, "received_at": at + number} for number, id in enumerate(ids)]
    insert_rows(site.store, events, *rows)
    return ids


def go_back(site: Site, position: str, age: float) -> None:
    """Let the command have stopped long ago, after this event."""
    (file,) = state_files(site)
    kept = json.loads(file.read_text()) | {"position": position, "complete_until": time.time() - age}
    file.write_text(json.dumps(kept))


def test_it_says_when_events_were_deleted_before_they_were_handed_over(site: Site, app: Application) -> None:
    server = site.configure().start()
    new = send(server, "j-1")
    old = old_events(site, 3, 10 * DAY)
    with listening(site, server.private, app.url, "--since", "30d") as command:
        app.wait_for(4)
        assert command.stop().endswith(
            "repeated attempts: 0, possible gaps: 1."
        )  # nothing older shows that all is there
    assert sorted(app.ids()) == sorted([new, *old])

    go_back(site, old[0], 10 * DAY)
    app.received.clear()
    with listening(site, server.private, app.url) as command:
        assert app.wait_for(2)[0].id == old[1]
        assert command.stop().endswith("repeated attempts: 0.")
    go_back(site, old[0], 10 * DAY)
    pruned = site.command("prune", "--days", "5", "--yes")
    assert pruned.returncode == 0, pruned.stderr
    app.received.clear()
    with listening(site, server.private, app.url) as command:
        assert "may be missing: it deletes old events" in command.wait_for("! Events that the receiver got after")
        later = send(server, "j-2")
        until("the new event", lambda: later in app.ids())
        assert command.stop().endswith("possible gaps: 1.")


def test_a_receiver_that_does_not_know_the_position_is_told(site: Site, app: Application) -> None:
    server = site.configure().start()
    send(server, "j-1")
    with listening(site, server.private, app.url, "--since", "1h") as command:
        app.wait_for(1)
        command.stop()
    unknown = f"{position_at(time.time())[:16]}7abc8def0123456789ab"
    go_back(site, unknown, 0.0)
    with listening(site, server.private, app.url) as command:
        assert "restored from a backup, or is another receiver" in command.wait_for(f"does not know {unknown}")
        later = send(server, "j-2")
        until("the new event", lambda: later in app.ids())
        command.stop()


@contextmanager
def other_server(status: int, headers: dict[str, str], body: bytes, certificate: Path | None = None) -> Iterator[str]:
    """Something that is not a receiver; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http{'s' * (certificate is not None)}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (404, {}, b"not here", "It is not the API of a receiver's private listener."),
        (302, {"Location": "https://elsewhere.example/"}, b"", "It redirects, which is not followed"),
        (200, {"Content-Type": "text/html"}, b"<html>", "is not a receiver's API: it sends no stream"),
        (200, {"Content-Type": "text/event-stream"}, b"data: {}\n\n", "is not a receiver's API. It sends an event"),
        (200, {"Content-Type": "text/event-stream"}, b": hello\n\n", "sends no positions: upgrade that receiver"),
        (403, {}, b'{"detail": "A proxy forwarded\\nthis request."}', "answered 403: A proxy forwarded"),
    ],
)
def test_what_is_no_receiver_ends_it(
    site: Site, app: Application, status: int, headers: dict[str, str], body: bytes, why: str
) -> None:
    with other_server(status, headers, body) as url, listening(site, url, app.url, TTS_LISTEN_TOKEN=TOKEN) as command:
        code, text = command.end()
        assert code == 1
        assert why in text
        assert TOKEN not in text


def test_a_stream_that_ends_at_once_is_opened_again(site: Site, app: Application) -> None:
    with other_server(200, {"Content-Type": "text/event-stream"}, b"") as url, listening(site, url, app.url) as command:
        command.wait_for("The receiver ended the stream. Trying again")
        assert command.stop() == "Stopped. Events: 0, repeated attempts: 0."


def test_a_certificate_that_is_not_trusted_ends_it(site: Site, app: Application, certificate: Path) -> None:
    with other_server(200, {}, b"", certificate) as url, listening(site, url, app.url) as command:
        code, text = command.end()
        assert code == 1
        assert "cannot be trusted: " in text
        assert "SSL_CERT_FILE" in text
    with other_server(200, {}, b"") as url, listening(site, url.replace("http:", "https:"), app.url) as command:
        code, text = command.end()
        assert (code, "it does not speak TLS" in text) == (1, True)


def test_plain_http_goes_to_this_machine_only_unless_it_is_allowed(site: Site) -> None:
    for arguments in (
        ("--api", "http://receiver.internal:8081", "--forward", "http://127.0.0.1:1/"),
        ("--forward", "http://192.0.2.1/hook"),
        ("--forward", "ftp://localhost/"),
        ("--forward", "http://user:password@localhost/"),
        ("--forward", "http://localhost/#x"),
        ("--forward", "http://localhost:3000/", "--api", "http://localhost:1/?x=1"),
        ("--forward", "http://localhost:3000/", "--skip", "evt_1"),
    ):
        done = site.command("listen", *arguments, XDG_STATE_HOME=str(site.folder / "state"))
        assert done.returncode == 2, done.stdout
        assert "password" not in done.stderr.replace("the password, which", "")
    assert not (site.folder / "state").exists()
