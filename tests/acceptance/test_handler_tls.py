"""A real receiver whose handler calls a service that requires a client certificate."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.acceptance.support import Site, completed, deliver
from tests.certificate import self_signed

TELLS = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def tells(event: JobCompleted, ctx: Context[None]) -> str:
    return (await ctx.http.get("URL")).text
"""


class Greets(BaseHTTPRequestHandler):
    """Answers with the name in the client's certificate."""

    def do_GET(self) -> None:
        peer: Any = cast("ssl.SSLSocket", self.connection).getpeercert()
        body = str(peer["subject"][0][0][1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Greets)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_handler_is_known_by_its_certificate_and_a_missing_file_stops_the_start(site: Site) -> None:
    (site.folder / "tls").mkdir()
    service = self_signed(site.folder / "tls" / "authority.pem", "127.0.0.1")
    client = self_signed(site.folder / "tls" / "client.pem", "receiver.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(service)
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    table = '[handlers.tells]\nallow_private_addresses = true\n[handlers.tells.tls]\nca = "tls/authority.pem"\n'
    with serving(context) as url:
        site.plugin("tells", TELLS.replace("URL", url))
        site.configure('[plugins]\ndirectory = "plugins"', handlers=f'{table}certificate = "tls/client.pem"')
        server = site.start()
        answer = deliver(server.public, completed("job-1"))
        assert answer is not None
        assert site.wait_for_state(answer[1]["event"], "tells", "succeeded")["result"] == "receiver.example"
        assert server.stop() == 0

    site.configure('[plugins]\ndirectory = "plugins"', handlers=f'{table}certificate = "tls/clinet.pem"')
    missing = f"handlers.tells.tls.certificate: {site.folder}/tls/clinet.pem does not exist"
    check = site.command("check")
    assert check.returncode == 1
    assert missing in check.stderr
    failed = site.launch()
    assert failed.wait() == 1
    assert missing in failed.text()
