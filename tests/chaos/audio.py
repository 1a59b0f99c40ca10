"""Audio that the replicas fetch into their shared folder: of every tenth job, with bytes that follow from its id."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select

from receiver.simulator import GeneratedWav
from receiver.store.schema import artifacts
from tests.acceptance.support import Site, sha256_of
from tests.chaos.store_view import StoreView

EVERY = 10
MAX_BYTES = 2_000_000
"""More than is held in memory: the larger ones are written while they are downloaded."""


def has_audio(job: str) -> bool:
    """Whether a handler fetches the audio of this job; the handlers' file says the same."""
    return int(job.rsplit("-", 1)[1]) % EVERY == 0


def audio_of(job: str) -> bytes:
    """The whole file."""
    size = 2 * (100 + zlib.crc32(job.encode()) % (MAX_BYTES // 2))
    return b"".join(GeneratedWav(bytes=size).chunks(0, size))


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = audio_of(self.path.split("/")[-2])  # /api/v1/tts/{job}/audio
        self.send_response(200)
        self.send_header("Content-Type", "audio/wav")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class AudioServer:
    """The provider's side, in threads of its own."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the replica was killed
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="audio")
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def check_audio(view: StoreView, site: Site, acknowledged: Mapping[str, str]) -> list[str]:
    """Each file is recorded and whole, and nothing else has a final name: one sentence for each that is not."""
    of_event = {event: job for job, event in acknowledged.items() if has_audio(job)}
    rows = view.rows(select(artifacts.c.event_id, artifacts.c.address, artifacts.c.sha256))
    wrong = [
        f"the audio of {job} is not recorded" for event, job in of_event.items() if event not in {r[0] for r in rows}
    ]
    files = {str(path) for path in site.final_files()}
    for event, address, sha256 in rows:
        expected = hashlib.sha256(audio_of(of_event[event])).hexdigest()
        if sha256 != expected or address not in files or sha256_of(Path(address)) != expected:
            wrong.append(f"the audio of {of_event[event]} is not whole: {address}")
    return wrong + [f"{file} is not recorded" for file in files - {address for _, address, _ in rows}]
