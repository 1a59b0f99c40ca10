"""Repeats recorded system calls on a `Disk`, and stops where the power may be cut."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.power_cuts.disk import Disk, File
from tests.power_cuts.trace import Call

_EVENT = re.compile(rb"evt_[0-9a-f]{32}")
_ACCEPTED = b" 202 "


class Replay:
    """A disk, and the events that were acknowledged so far.

    Args:
        root: the folder of the recorded process, which was its working directory.
    """

    def __init__(self, root: Path) -> None:
        self.disk = Disk(root)
        self.acknowledged: set[str] = set()
        self._root = str(root)
        self._open: dict[int, tuple[str, File | None]] = {}
        self._positions: dict[int, int] = {}

    def steps(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Repeat the calls; yields each that changed the disk or acknowledged something, when it is done."""
        for call in calls:
            known = getattr(self, f"_{call.name}", None)
            if known is not None and known(call):
                yield call

    def _path(self, call: Call, folder: int | None, name: int) -> str | None:
        """The path of a call's arguments, if it is beneath the root."""
        path, base = call.path(name), self._root
        if folder is not None and call.number(folder) in self._open:
            base = self._open[call.number(folder)][0]
        whole = os.path.normpath(os.path.join(base, path))
        return whole if whole.startswith(f"{self._root}/") else None

    def _openat(self, call: Call) -> bool:
        path = self._path(call, 0, 1)
        self._open.pop(call.result, None)
        if path is None:
            if os.path.normpath(call.path(1)) == self._root:
                self._open[call.result] = self._root, None
            return False
        file, flags = self.disk.names.get(path), call.arguments[2]
        self._positions[call.result] = 0
        changed = False
        if file is None and "O_CREAT" in flags:
            file, changed = File(), True
            self.disk.rename(call.ended, {path: file})
        elif file is not None and "O_TRUNC" in flags:
            self.disk.truncate(call.ended, file, 0)
            changed = True
        self._open[call.result] = path, file
        return changed

    def _close(self, call: Call) -> bool:
        self._open.pop(call.number(0), None)
        return False

    def _written(self, call: Call, offset: int) -> bool:
        file = self._open.get(call.number(0), ("", None))[1]
        if file is None:
            return False
        self.disk.write(call.ended, file, offset, call.data(1)[: call.result])
        return True

    def _pwrite64(self, call: Call) -> bool:
        return self._written(call, call.number(3))

    def _write(self, call: Call) -> bool:
        """Of a file, or to a socket: a response that says that a delivery was accepted."""
        handle = call.number(0)
        if call.data(1)[:20].find(_ACCEPTED) > 0 and handle not in self._open:
            self.acknowledged.update(found.decode() for found in _EVENT.findall(call.data(1)))
            return True
        offset = self._positions.get(handle, 0)
        self._positions[handle] = offset + call.result
        return self._written(call, offset)

    def _lseek(self, call: Call) -> bool:
        self._positions[call.number(0)] = call.result
        return False

    def _ftruncate(self, call: Call) -> bool:
        file = self._open.get(call.number(0), ("", None))[1]
        if file is not None:
            self.disk.truncate(call.ended, file, call.number(1))
        return file is not None

    def _fsync(self, call: Call) -> bool:
        path, file = self._open.get(call.number(0), ("", None))
        if path and (file is None or file.is_folder):
            self.disk.sync_folder(path, call.began)
        elif file is not None:
            self.disk.sync(file, call.began)
        return bool(path)

    _fdatasync = _fsync

    def _moved(self, call: Call, source: str | None, target: str | None, *, keep: bool = False) -> bool:
        file = self.disk.names.get(source or "")
        if file is None or target is None or source is None:
            return False
        self.disk.rename(call.ended, {target: file} if keep else {target: file, source: None})
        return True

    def _rename(self, call: Call) -> bool:
        return self._moved(call, self._path(call, None, 0), self._path(call, None, 1))

    def _renameat(self, call: Call) -> bool:
        return self._moved(call, self._path(call, 0, 1), self._path(call, 2, 3))

    _renameat2 = _renameat

    def _link(self, call: Call) -> bool:
        return self._moved(call, self._path(call, None, 0), self._path(call, None, 1), keep=True)

    def _linkat(self, call: Call) -> bool:
        return self._moved(call, self._path(call, 0, 1), self._path(call, 2, 3), keep=True)

    def _removed(self, call: Call, path: str | None) -> bool:
        if path is None or path not in self.disk.names:
            return False
        self.disk.rename(call.ended, {path: None})
        return True

    def _unlink(self, call: Call) -> bool:
        return self._removed(call, self._path(call, None, 0))

    _rmdir = _unlink

    def _unlinkat(self, call: Call) -> bool:
        return self._removed(call, self._path(call, 0, 1))

    def _made(self, call: Call, path: str | None) -> bool:
        if path is None:
            return False
        self.disk.rename(call.ended, {path: File(is_folder=True)})
        return True

    def _mkdir(self, call: Call) -> bool:
        return self._made(call, self._path(call, None, 0))

    def _mkdirat(self, call: Call) -> bool:
        return self._made(call, self._path(call, 0, 1))
