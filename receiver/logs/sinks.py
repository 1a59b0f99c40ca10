"""Where log lines are written: a file descriptor, or a stream in memory. Either may block, fail, or write a part."""

from __future__ import annotations

import errno
import fcntl
import os
import select
from typing import Protocol, TextIO

NO_SPACE = "no_space"
READER_GONE = "reader_gone"
IO_ERROR = "io_error"
WRITE_FAILED = "write_failed"
TOO_SLOW = "too_slow"

_CAUSES = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EFBIG: NO_SPACE,
    errno.EPIPE: READER_GONE,
    errno.ECONNRESET: READER_GONE,
    errno.EIO: IO_ERROR,
}


class Sink(Protocol):
    """Writes bytes."""

    def write(self, data: memoryview) -> int:
        """Write some of the bytes; return their number. May block for any time.

        Raises:
            OSError: nothing can be written.
        """


class DescriptorSink:
    """Writes to a duplicate of a descriptor: if the original is closed, and its number reused, no line goes there.

    Args:
        descriptor: blocking or not.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)

    def write(self, data: memoryview) -> int:
        """Write; wait until the descriptor is writable."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()


class StreamSink:
    """A stream without a descriptor, such as one in memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: memoryview) -> int:
        """Write all of it."""
        self._stream.write(bytes(data).decode())
        self._stream.flush()
        return len(data)


def sink_of(stream: TextIO) -> Sink:
    """The sink behind a stream."""
    try:
        return DescriptorSink(stream.fileno())
    except (OSError, ValueError, AttributeError):  # in memory, or closed
        return StreamSink(stream)


def cause_of(error: Exception) -> str:
    """Why writing failed, as a slug."""
    return _CAUSES.get(error.errno or 0, WRITE_FAILED) if isinstance(error, OSError) else WRITE_FAILED
