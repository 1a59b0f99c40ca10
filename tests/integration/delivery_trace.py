"""Which files of ours one delivery runs through: from its connection until its audio is in its place."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.engine import dispatcher, operation_worker, rollups
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.server import listener_server
from tests.integration.engine_support import Signal, ended, telling
from tests.integration.intake_support import completed, configured, logged, signature
from tests.integration.listener_support import GENEROUS
from tests.integration.outbound_support import ReceivedRequest, Say, make_wav, serving
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
EXEMPT = ("receiver/settings/", "receiver/assembly/")
"""They make and connect the parts."""
ASIDE = (
    *("receiver/logs/", "receiver/metrics.py", "receiver/local_counters.py", "receiver/telemetry/"),
    *("receiver/engine/membership.py", "receiver/engine/watchdog.py", "receiver/store/sqlite/processes.py"),
)
"""What every part reports to, and what works by the clock: neither they nor what they call counts."""
END = "receiver/engine/outcome.py"
"""Called first when the handler has returned: then the audio is in its place."""
OURS = (f"{ROOT}/receiver/", f"{ROOT}/handlers/")
WRAPPERS = ("receiver/engine/threads.py", "receiver/engine/storage_pause.py")
"""They await what they are given: who gave it is the caller."""


class Trace:
    """The files in which functions are called, in the order of their first call; a constructor's does not count.

    Attributes:
        callers: by file, our other files whose code called its functions; none if only the event loop did.
    """

    def __init__(self) -> None:
        self.callers: dict[str, set[str]] = {}
        self.on = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """A profile function."""
        if not self.on or event != "call" or frame.f_code.co_name == "__init__":
            return
        file = _ours(frame)
        if file is None or file.startswith(EXEMPT):
            return
        if file == END:
            self.on = False
        elif not _is_aside(frame):
            callers = self.callers.setdefault(file, set())
            if (caller := _caller(frame, file)) is not None:
                callers.add(caller)

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace this thread, and all that are started until the end."""
        before = sys.getprofile()
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            self.on = False
            sys.setprofile(before)
            threading.setprofile(before)


def _ours(frame: FrameType) -> str | None:
    name = frame.f_code.co_filename
    return name[len(str(ROOT)) + 1 :] if name.startswith(OURS) else None


def _caller(frame: FrameType, file: str) -> str | None:
    """The nearest file of ours that called, other than itself and what only connects; None if the event loop did."""
    before = frame.f_back
    while before is not None and (
        (called_by := _ours(before)) in (None, file, *WRAPPERS) or str(called_by).startswith(EXEMPT)
    ):
        before = before.f_back
    return _ours(before) if before is not None else None


def _is_aside(frame: FrameType | None) -> bool:
    while frame is not None:
        if (_ours(frame) or "").startswith(ASIDE):
            return True
        frame = frame.f_back
    return False


async def end_periodic_work(receiver: Receiver) -> None:
    """End what a delivery does not wait for and the receiver can do without for a while."""
    await receiver.maintenance.stop()
    await receiver.clock_watch.stop()
    await receiver.rollups.stop()
    while not receiver.operations._wake._waiters:  # type: ignore[attr-defined]
        await asyncio.sleep(0)  # a thread may be reading
    await receiver.operations.stop()
    for loop in receiver.loops.values():
        await loop.stop()

    async def released() -> None:
        """The start makes runs due that waited for the storage, on the handlers' loop."""
        if (recovery := receiver.pause._task) is not None:
            await recovery

    await asyncio.wrap_future(receiver.handlers.submit(released()))
    wake, leases = receiver.dispatcher._wake, receiver.dispatcher._leases._ended
    while wake.is_set() or not (wake._waiters and leases._waiters):  # type: ignore[attr-defined]
        await asyncio.sleep(0)  # the turns of the start


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """A provider's address, whose audio endpoint redirects to its storage."""
    wav = make_wav(0.2)

    def answer(request: ReceivedRequest) -> Say:
        if request.path.startswith("/storage"):
            return Say(200, {"Content-Type": "audio/wav"}, wav)
        return Say(307, {"Location": "/storage/job_1?signature=1"})

    async with serving(answer) as server:
        yield server.url("")


async def traced_delivery(folder: Path) -> Trace:
    """The files that a delivery runs through, over real sockets, with the handler `save_audio`."""
    trace = Trace()
    with trace.tracing(), logged() as lines, pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatcher, "POLL_INTERVAL_SECONDS", PATIENCE)
        patched.setattr(rollups, "MINUTE", 0.01)  # so that one always ends during the delivery
        patched.setattr(operation_worker, "POLL_SECONDS", 0.01)  # likewise
        signal = Signal()
        async with provider() as address:
            source = {"base_url": address, "api_key": "an-api-key-0123456789", "allow_private_addresses": True}
            receiver = build_receiver(configured(folder, source=source, handlers={"save_audio": {}}))
            table = ConnectionTable("public", GENEROUS, receiver.metrics)
            patched.setattr(table, "_tick_seconds", PATIENCE)  # no check by the clock during a slow delivery
            listener = listener_server(receiver.public, table)
            with telling(lines, signal), socket.create_server(("127.0.0.1", 0)) as port:
                async with receiver.running():
                    serve = asyncio.create_task(listener.serve(sockets=[port]))
                    await listener.listening.wait()
                    body = completed("job_1")
                    head = f"POST /webhooks/aitts HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n"
                    await end_periodic_work(receiver)
                    trace.on = True
                    reader, writer = await asyncio.open_connection(*port.getsockname())
                    writer.write(f"{head}X-TTS-Signature: {signature(body)}\r\n\r\n".encode() + body)
                    assert b" 202 " in await reader.readline()
                    await ended(lines, signal, 1)
                    writer.close()
                    with suppress(ConnectionError):
                        await writer.wait_closed()
                    listener.should_exit = True
                    await serve
    return trace
