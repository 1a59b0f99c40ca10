"""The free space on the disks that a receiver writes to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, NamedTuple

LOW_SPACE_BYTES = 256 << 20


class Disk(NamedTuple):
    """The disk of a folder.

    Attributes:
        free_bytes: None if it cannot be read.
    """

    holds: Literal["store", "audio"]
    folder: str
    free_bytes: int | None

    @property
    def low(self) -> bool:
        """Whether an operator should free space."""
        return self.free_bytes is not None and self.free_bytes < LOW_SPACE_BYTES


def read_disks(store: Path | None, audio: Path | None) -> list[Disk]:
    """The disks of the folders of the store and of the audio; None if that is not in a folder. Blocks."""
    found = [] if store is None else [Disk("store", str(store), _free_bytes(store))]
    return found if audio is None else [*found, Disk("audio", str(audio), _free_bytes(audio))]


def _free_bytes(folder: Path) -> int | None:
    """Of the nearest folder that exists: the others are created there."""
    for existing in (folder, *folder.parents):
        try:
            return shutil.disk_usage(existing).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
