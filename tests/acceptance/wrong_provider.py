"""A provider that answers wrongly, and a configuration that names it: for what the simulated ones never do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.support import SOURCE, Site
from tests.patience import PATIENCE

FILE = f'signing_secrets_file = "{SOURCE}.secrets"'
ID_TOKEN = "AITTS_ID_TOKEN"
NOBODY = "http://127.0.0.1:9"


def fresh(site: Site, base_url: str, more: str = FILE, *, private: bool = True) -> Path:
    """A configuration without any signing secret; where its file of secrets is to be."""
    allow = "true" if private else "false"
    site.config.write_text(
        "[server]\nport = 0\nprivate_port = 0\n[logs]\nformat = 'json'\n[handlers.log]\n"
        f'[sources.{SOURCE}]\nprovider = "aitts"\nbase_url = "{base_url}"\nallow_private_addresses = {allow}\n{more}\n'
    )
    site.config.chmod(0o600)
    return site.folder / f"{SOURCE}.secrets"


class Stub:
    """A provider that answers every request as one function says. Not the simulator: these answers are wrong."""

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        self.requested = threading.Event()
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    stub.requested.set()
                    answer(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(PATIENCE)
        self.server.server_close()


def says(status: int, body: bytes, content_type: str = "application/json") -> Callable[[Any], None]:
    """An answer that is always the same."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
