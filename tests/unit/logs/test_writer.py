"""The thread that writes log lines: whatever the stream does, callers go on, and no line is garbled."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from receiver.logs import writer as module
from receiver.logs.sinks import DescriptorSink
from receiver.logs.writer import LogWriter
from tests.patience import PATIENCE


class Never:
    """Nothing that comes by time."""

    def seconds_until_due(self) -> float | None:
        return None

    def due_lines(self) -> list[str]:
        return []

    def remaining_lines(self) -> list[str]:
        return []


class Scripted:
    """A sink that does what is next in its script, and takes everything after the script's end."""

    def __init__(self, *script: Callable[[memoryview], int]) -> None:
        self.data = b""
        self._script = list(script)

    def write(self, data: memoryview) -> int:
        count = self._script.pop(0)(data) if self._script else len(data)
        self.data += bytes(data[:count])
        return count


def takes(count: int) -> Callable[[memoryview], int]:
    return lambda data: count


def fails(number: int) -> Callable[[memoryview], int]:
    def fail(data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def report(counts: Mapping[str, int]) -> str:
    return f"dropped {dict(counts)}"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
def test_lines_that_could_not_be_written_are_written_when_it_works_again(number: int) -> None:
    sink = Scripted(*[fails(number)] * 5)
    lines = LogWriter(sink, report, Never())
    lines.put_urgent("one")
    lines.put("two")
    assert lines.flush(PATIENCE)
    assert sink.data == b"one\ntwo\n"
    assert lines.dropped == {}


@pytest.mark.parametrize("written", range(1, 16))
def test_a_line_that_was_written_in_part_is_written_again_on_a_line_of_its_own(written: int) -> None:
    sink = Scripted(takes(written), fails(errno.ENOSPC), fails(errno.ENOSPC))
    lines = LogWriter(sink, report, Never())
    lines.put("first\nsecond\nthird")
    assert lines.flush(PATIENCE)
    assert sink.data.endswith(b"third\n")
    assert {line for line in sink.data.decode().splitlines() if line in ("first", "second", "third")} == {
        "first", "second", "third",
    }  # fmt: skip


def test_what_does_not_fit_is_dropped_and_one_line_says_how_much_and_why(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_LINES", 10)
    begun = threading.Event()

    def stalls(data: memoryview) -> int:
        begun.set()
        gate.wait(PATIENCE)
        return len(data)

    sink = Scripted(stalls)
    lines = LogWriter(sink, report, Never())
    lines.put_urgent("stalled")
    assert begun.wait(PATIENCE)
    for number in range(25):
        lines.put_urgent(f"{number}")
    gate.set()
    assert lines.flush(PATIENCE)
    kept = "".join(f"{number}\n" for number in range(10))
    assert sink.data.decode() == f"stalled\n{kept}dropped {{'too_slow': 15}}\n"
    assert lines.dropped == {"too_slow": 15}
    lines.put_urgent("after")
    assert lines.flush(PATIENCE)
    assert sink.data.endswith(b"after\n")


def test_lines_are_bounded_in_characters_too(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_CHARACTERS", 100)
    lines = LogWriter(Scripted(), report, Never())
    lines.put("x" * 101)
    assert lines.flush(PATIENCE)
    assert lines.dropped == {"too_slow": 1}


def test_a_reader_that_reads_nothing_does_not_hold_up_the_end(gate: threading.Event) -> None:
    sink = Scripted(lambda data: int(gate.wait(PATIENCE)))
    lines = LogWriter(sink, report, Never())
    lines.put_urgent("never read")
    before = time.monotonic()
    lines.close(0.05)
    assert time.monotonic() - before < PATIENCE / 2


def test_the_end_writes_what_waits_and_does_not_try_forever() -> None:
    sink = Scripted()
    lines = LogWriter(sink, report, Never())
    lines.put("last")
    lines.close(PATIENCE)
    assert sink.data == b"last\n"
    broken = LogWriter(Scripted(*[fails(errno.EPIPE)] * 1000), report, Never())
    broken.put("lost")
    broken.close(PATIENCE)
    assert [thread for thread in threading.enumerate() if thread is broken._thread] == []


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = LogWriter(DescriptorSink(writer), report, Never())
    os.close(writer)
    text = "x" * 50_000
    for _ in range(10):
        lines.put(text)
    lines.put_urgent("end")
    data = b""
    while not data.endswith(b"end\n"):
        data += os.read(reader, 65_536)
    os.close(reader)
    assert data.decode() == f"{text}\n" * 10 + "end\n"


def test_a_finalizer_may_log_in_the_middle_of_a_call() -> None:
    sink = Scripted()
    lines = LogWriter(sink, report, Never())
    finalized = []

    class Logs:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            lines.put_urgent("finalized")
            finalized.append(True)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Logs()
            lines.put_urgent("called")
    finally:
        gc.set_threshold(*threshold)
    deadline = time.monotonic() + PATIENCE
    while len(finalized) < 200 and time.monotonic() < deadline:  # collects nothing while another thread collects
        gc.collect()
        time.sleep(0)
    assert lines.flush(PATIENCE)
    assert sink.data.count(b"called\n") == 200
    assert sink.data.count(b"finalized\n") == 200


def test_a_forked_child_writes_its_lines() -> None:
    program = """
import os, structlog
from receiver import logs
logs.configure(format="json")
log = structlog.get_logger("x")
log.warning("parent")
child = os.fork()
log.warning("child" if child == 0 else "parent again")
if child:
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True)
    assert {word for word in ("parent", "child", "parent again") if f'"{word}"' in done.stderr.decode()} == {
        "parent", "child", "parent again",
    }  # fmt: skip
    assert len(done.stderr.splitlines()) == 3
