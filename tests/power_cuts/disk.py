"""A disk that loses its power: what is surely on it at a moment, and what may be there or not.

The rules are those of POSIX, and stricter than most file systems: a write may be lost, in whole or from any sector on,
until its file was synced; a new, renamed or removed name until its folder was. What was lost says nothing about what
was written before or after it. A rename is one step, which either of its folders makes durable.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
SECTOR = 512


@dataclass(eq=False)
class File:
    """A file or folder, whatever its names are. `durable` is what is surely on the disk."""

    is_folder: bool = False
    durable: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, eq=False)
class Change:
    """A change that the disk may have lost: bytes of a file, its new length, or names in folders.

    Attributes:
        at: when it was made.
        file: the file whose content it changes; None for a change of names.
        data: bytes at `offset`; None for a new length, `offset`.
        names: new targets of names; None removes one.
        folders: those that make it durable.
    """

    at: int
    file: File | None = None
    offset: int = 0
    data: bytes | None = None
    names: dict[str, File | None] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    def apply(self, content: bytearray) -> None:
        """Change the content of the file."""
        if self.data is None:
            del content[self.offset :]
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data or b"")] = self.data or b""

    def torn(self, sectors: int) -> Change:
        """The same with the first sectors only."""
        return Change(self.at, self.file, self.offset, (self.data or b"")[: sectors * SECTOR])


class Disk:
    """The content of `root`, which is durable and empty at first. Paths are absolute."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.names: dict[str, File] = {}
        """As the processes see it."""
        self.durable: dict[str, File] = {}
        self.pending: list[Change] = []

    def write(self, at: int, file: File, offset: int, data: bytes) -> None:
        """Write bytes: each page may be lost alone."""
        start = 0
        while start < len(data):
            end = min(len(data), start + PAGE - (offset + start) % PAGE)
            self.pending.append(Change(at, file, offset + start, data[start:end]))
            start = end

    def truncate(self, at: int, file: File, length: int) -> None:
        self.pending.append(Change(at, file, length))

    def rename(self, at: int, changes: dict[str, File | None]) -> None:
        """Create, move, link or remove names."""
        for path, file in changes.items():
            if file is None:
                self.names.pop(path, None)
            else:
                self.names[path] = file
        folders = tuple(os.path.dirname(path) for path in changes)
        self.pending.append(Change(at, names=changes, folders=folders))

    def sync(self, file: File, began: int) -> None:
        """What was written to a file before this began is durable."""
        self._make_durable([change for change in self.pending if change.file is file and change.at < began])

    def sync_folder(self, path: str, began: int) -> None:
        self._make_durable([change for change in self.pending if path in change.folders and change.at < began])

    def _make_durable(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.file is not None:
                change.apply(change.file.durable)
            else:
                _rename(self.durable, change)
        done = {id(change) for change in changes}
        self.pending = [change for change in self.pending if id(change) not in done]

    def image(self, kept: Iterable[Change]) -> dict[str, bytes]:
        """The files that are there if of the pending changes these are kept, by path beneath the root."""
        names, contents = dict(self.durable), {}
        for change in kept:
            if change.file is None:
                _rename(names, change)
            else:
                change.apply(contents.setdefault(change.file, bytearray(change.file.durable)))
        return {
            path[len(self.root) + 1 :]: bytes(contents.get(file, file.durable))
            for path, file in names.items()
            if not file.is_folder and self._is_reachable(names, os.path.dirname(path))
        }

    def _is_reachable(self, names: dict[str, File], folder: str) -> bool:
        while folder != self.root:
            if folder not in names:
                return False
            folder = os.path.dirname(folder)
        return True


def _rename(names: dict[str, File], change: Change) -> None:
    for path, file in change.names.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file
