"""Real processes for the acceptance tests: one receiver's folder, its server, its commands, its provider.

Everything that was started is ended by `Site.close`. What a test waits for is a condition with a deadline: a log line,
a row, a port. Nothing here imports the receiver but its simulated provider, which imports nothing of the receiver.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

from receiver.simulator import GeneratedWav, Job, Simulator
from tests.patience import PATIENCE
from tests.stores import query

T = TypeVar("T")

SECRET = "whsec_5b8c1f0e9d7a46328e1b0c9f8a7d6e5f"
API_KEY = "tts_4f1e2d3c4b5a69788796a5b4c3d2e1f0"
SOURCE = "aitts"
STEP_SECONDS = 0.01


def until(what: str, condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Ask until the answer is true; the answer. Fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(STEP_SECONDS)


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without the receiver's own variables and without proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TTS_RECEIVER_") and not name.lower().endswith("_proxy")
    }
    return kept | {"NO_COLOR": "1", "COLUMNS": "200"} | more


# deliveries, made with the standard library alone


def completed(job: str, **data: Any) -> bytes:
    """The body of a `job.completed`."""
    facts = {"job_id": job, "status": "completed", "audio_endpoint": f"/api/v1/tts/{job}/audio"} | data
    document = {"event": "job.completed", "created_at": "2026-11-21T09:00:00.000Z", "data": facts}
    return json.dumps(document, separators=(",", ":")).encode()


def signature(body: bytes, t: int, secret: str = SECRET) -> str:
    """The value of `X-TTS-Signature`."""
    return f"t={t},v1=" + hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256).hexdigest()


def signed_headers(body: bytes, t: int | None = None, secret: str = SECRET) -> dict[str, str]:
    """All headers of a delivery signed at `t`, or now."""
    return {
        "Content-Type": "application/json",
        "X-TTS-Signature": signature(body, int(time.time()) if t is None else t, secret),
        "X-TTS-Event": "job.completed",
        "X-TTS-Delivery-ID": str(uuid.uuid4()),
    }


class Sender:
    """One connection to a receiver, opened again when it breaks.

    Attributes:
        retry_after: the header of the last answer.
    """

    def __init__(self, timeout: float = PATIENCE, source: str = SOURCE) -> None:
        self._timeout = timeout
        self._path = f"/webhooks/{source}"
        self.retry_after: str | None = None
        self._at: str | None = None
        self._connection: http.client.HTTPConnection | None = None

    def send(self, base: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]] | None:
        """Deliver to the receiver at `base`: its status and answer, or None if there was no whole answer."""
        if self._connection is None or self._at != base:
            self.close()
            parts = urllib.parse.urlsplit(base)
            self._connection = http.client.HTTPConnection(
                str(parts.hostname), int(parts.port or 80), timeout=self._timeout
            )
            self._at = base
        try:
            self._connection.request("POST", self._path, body, headers or signed_headers(body))
            answer = self._connection.getresponse()
            self.retry_after = answer.getheader("Retry-After")
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None

    def close_if_ended(self) -> None:
        """Close the connection if the receiver has ended it: what a proxy does before it uses a kept one again."""
        if self._connection is not None and self._connection.sock is not None:
            poll = select.poll()
            poll.register(self._connection.sock, select.POLLIN)
            if poll.poll(0):
                self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def deliver(
    base: str, body: bytes, headers: dict[str, str] | None = None, timeout: float = PATIENCE
) -> tuple[int, dict[str, Any]] | None:
    """One delivery over a connection of its own."""
    with closing(Sender(timeout)) as sender:
        return sender.send(base, body, headers)


def get(url: str, timeout: float = PATIENCE) -> tuple[int, str]:
    """Status and text of a GET."""
    parts = urllib.parse.urlsplit(url)
    with closing(http.client.HTTPConnection(str(parts.hostname), int(parts.port or 80), timeout=timeout)) as connection:
        connection.request("GET", f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def is_open(base: str) -> bool:
    """Whether something listens there."""
    parts = urllib.parse.urlsplit(base)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


# processes


PASS_SOCKETS = """
import fcntl, os, sys
given = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 100) for text in sys.argv[1].split(",")]
for number, descriptor in enumerate(given):
    os.dup2(descriptor, 3 + number)
    os.close(descriptor)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does before it becomes the service's program: descriptors from 3 on, and how many for whom."""


class Server:
    """`tts-receiver serve`, started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.log = log
        self.public = ""
        self.private = ""

    def wait_until_listening(self) -> Self:
        """Return when it listens, with its addresses known."""
        line = self.wait_for("listening")
        self.public, self.private = line.get("public", ""), line["private"]
        return self

    def lines(self, message: str | None = None) -> Iterator[dict[str, Any]]:
        """The log lines so far, of one kind if named."""
        for text in self.log.read_text("utf-8", "replace").splitlines():
            if text.startswith("{") and text.endswith("}"):
                line = json.loads(text)
                if message is None or line["message"] == message:
                    yield line

    def wait_for(self, message: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The first log line of this kind, once it is there."""

        def find() -> dict[str, Any] | None:
            over = self.process.poll() is not None  # asked first: what it wrote last is read after
            found = next(self.lines(message), None)
            if found is None and over:
                raise AssertionError(f"it ended ({self.process.returncode}) without {message!r}:\n{self.text()}")
            return found

        found = until(f"the log line {message!r}", find, seconds)
        assert found is not None
        return found

    def text(self) -> str:
        """All that it wrote."""
        return self.log.read_text("utf-8", "replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """End it in order; its exit code."""
        self.send_signal(number)
        return self.wait(seconds)

    def kill(self) -> int:
        """End it at once. Returns the monotonic clock (ns) when it was surely gone."""
        self.process.kill()
        self.process.wait(PATIENCE)
        return time.monotonic_ns()


class Site:
    """One receiver's folder: its configuration, its plugins, its store; and the processes started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "receiver.toml"
        self.store = folder / "data" / "receiver.db"
        self.audio = folder / "data" / "audio"
        self.servers: list[Server] = []
        self.printed: list[str] = []

    def configure(
        self,
        more: str = "",
        *,
        base_url: str = "http://127.0.0.1:9",
        api_key: str | None = API_KEY,
        secret: str = SECRET,
        handlers: str = "[handlers.log]",
        dispatch: str = "",
        server: str = "port = 0\nprivate_port = 0",
        source: str = "",
    ) -> Self:
        """Write `receiver.toml`: a source `aitts` at `base_url`, loopback ports chosen by the system."""
        key = f'api_key = "{api_key}"' if api_key else ""
        self.config.write_text(
            f'[server]\n{server}\n[logs]\nformat = "json"\n[dispatch]\n{dispatch}\n{handlers}\n{more}\n'
            f'[sources.{SOURCE}]\nprovider = "aitts"\nbase_url = "{base_url}"\nallow_private_addresses = true\n'
            f'{key}\nsigning_secrets = ["{secret}"]\n{source}\n'
        )
        self.config.chmod(0o600)
        return self

    def plugin(self, name: str, text: str) -> Self:
        """Write a file into the plugins folder; name that folder in the configuration."""
        folder = self.folder / "plugins"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        return self

    def launch(
        self, *arguments: str, files: int | None = None, sockets: Sequence[socket.socket] = (), **environment: str
    ) -> Server:
        """Start the server and do not wait for it.

        Args:
            files: how many the system lets it have open.
            sockets: passed on as systemd does.
        """
        log = self.folder / f"serve-{len(self.servers)}.log"
        limited = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(files)] if files else []
        descriptors = [passed.fileno() for passed in sockets]
        if descriptors:
            limited += [sys.executable, "-c", PASS_SOCKETS, ",".join(map(str, descriptors))]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*limited, sys.executable, "-m", "receiver", "serve", "--config", str(self.config), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=clean_environment(**environment),
                pass_fds=descriptors,
            )
        server = Server(process, log)
        self.servers.append(server)
        return server

    def start(
        self, *arguments: str, files: int | None = None, sockets: Sequence[socket.socket] = (), **environment: str
    ) -> Server:
        """Start the server; return when it listens."""
        return self.launch(*arguments, files=files, sockets=sockets, **environment).wait_until_listening()

    def command(
        self, *arguments: str, stdin: bytes = b"", config: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `tts-receiver` to its end; its exit code and what it printed."""
        where = {"TTS_RECEIVER_CONFIG": str(self.config)} if config else {}
        done = subprocess.run(
            [sys.executable, "-m", "receiver", *arguments],
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            cwd=self.folder,
            env=clean_environment(**(where | environment)),
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        self.printed += [out, err]
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def together(self, *commands: list[str], **environment: str) -> list[subprocess.CompletedProcess[str]]:
        """Run several commands that do not depend on each other, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda command: self.command(*command, **environment), commands))

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What the store says; never changes it. Empty while there is no store."""
        return query(self.store, sql, **values) if self.store.exists() else []

    def run_of(self, event: str, handler: str) -> dict[str, Any]:
        """One run."""
        found = self.rows(
            "SELECT * FROM runs WHERE event_id = :event AND handler = :handler", event=event, handler=handler
        )
        assert found, f"no run of {handler} for {event}"
        return found[0]

    def wait_for_state(self, event: str, handler: str, state: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """One run, once it is in this state."""
        until(f"{handler} of {event} {state}", lambda: self.run_of(event, handler)["state"] == state, seconds)
        return self.run_of(event, handler)

    def final_files(self) -> list[Path]:
        """Audio files under final names: everything in the audio folder but the spool."""
        spool = self.audio / ".spool"
        return sorted(path for path in self.audio.rglob("*") if path.is_file() and spool not in path.parents)

    def everything_written(self) -> str:
        """All that servers and commands have written so far."""
        return "\n".join([*self.printed, *(server.text() for server in self.servers)])

    def close(self) -> None:
        """End every server that still runs."""
        for server in self.servers:
            if server.process.poll() is None:
                server.kill()


class Provider:
    """The simulated provider in a thread with a loop of its own."""

    def __init__(self, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider")
        self._thread.start()
        self.sim: Simulator = self._run(self._enter(settings))

    @staticmethod
    async def _enter(settings: dict[str, Any]) -> Simulator:
        given = {"api_key": API_KEY, "signing_secret": SECRET, "job_seconds": None, "rate_limit": 1_000_000}
        return await Simulator(**(given | settings)).__aenter__()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(PATIENCE)

    def submit(self, text: str = "Hello.", **fields: Any) -> Job:
        """A submitted job that has not ended."""
        return self.sim.jobs[self._run(self.sim.submit(text, **fields))]

    def finish(self, job: Job, audio: GeneratedWav | None = None) -> Job:
        """End the job well, with this audio if given; announced where `webhook_url` is set."""

        async def end() -> Job:
            if audio is not None:
                self.sim.jobs.set_audio(job.id, audio)
            return self.sim.finish(job.id)

        return self._run(end())

    def completed_job(self, text: str = "Hello.", audio: GeneratedWav | None = None, **fields: Any) -> Job:
        """A job that has ended well."""
        return self.finish(self.submit(text, **fields), audio)

    def close(self) -> None:
        """Stop it."""
        self._run(self.sim.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


def sha256_at_the_origin(job: Job) -> str:
    """The SHA-256 of what the provider's storage serves for the job."""
    digest = hashlib.sha256()
    for chunk in job.audio.chunks(0, job.audio.size):
        digest.update(chunk)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
