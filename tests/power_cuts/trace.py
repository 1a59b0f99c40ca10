"""What a process wrote, in order: read from the output of strace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,close,write,pwrite64,ftruncate,lseek,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,"
    "mkdirat,link,linkat,rmdir"
)


def command(output: Path) -> list[str]:
    """The words before a command that is to be recorded; its process is a child of ours, and strace its child."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-xx", "-s", "4000000", "-e", f"trace={CALLS}", "-o", str(output)]


@dataclass(frozen=True)
class Call:
    """A system call that succeeded: when it began and ended, as lines of the output."""

    name: str
    arguments: list[str]
    result: int
    began: int
    ended: int

    def number(self, index: int) -> int:
        """A number, or a file descriptor; that of the working directory is -100."""
        return -100 if self.arguments[index] == "AT_FDCWD" else int(self.arguments[index], 0)

    def data(self, index: int) -> bytes:
        """A string; the part that was written, if the call wrote less."""
        return bytes.fromhex(self.arguments[index].strip('"').replace("\\x", ""))

    def path(self, index: int) -> str:
        return os.fsdecode(self.data(index))


_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_UNFINISHED = " <unfinished ...>"


def read(lines: Iterable[str]) -> Iterator[Call]:
    """The calls that succeeded, in the order in which they ended."""
    begun: dict[str, tuple[int, str]] = {}
    for at, line in enumerate(lines):
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        thread, text = match.groups()
        began = at
        if text.endswith(_UNFINISHED):
            begun[thread] = at, text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(text):
            began, first = begun.pop(thread)
            text = first + resumed[1]
        call = _CALL.match(text)
        if call is not None and int(call[3]) >= 0:
            yield Call(call[1], call[2].split(", "), int(call[3]), began, at)
