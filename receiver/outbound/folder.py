"""The local audio folder: a published file is durable, and is never incomplete under its final name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from receiver.durable_files import move_durably
from receiver.errors import NoSignedUrl, NotFound, StorageFailed
from receiver.os_errors import cause_and_advice
from receiver.outbound.beneath import FILE_MODE, linked_folder, made_folder, make_folders, open_file, opened_folder
from receiver.outbound.storage_types import PIECE, Stored, no_action
from receiver.outbound.threads import in_thread, opened


class LocalFolder:
    """Audio in a folder of this machine.

    Args:
        folder: created when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - symbolic links are not resolved
        self.folder: Path | None = self._folder
        self.url = self._folder.as_uri()

    async def publish(
        self, part: Path, name: str, content_type: str, on_stored: Callable[[], None] = no_action
    ) -> Stored:
        """See `Storage.publish`. A rename if `part` is on the same file system, as it is in the spool folder."""
        try:
            target = await in_thread(self._publish, part, name, on_stored)
        except OSError as error:
            raise StorageFailed(
                f"The audio could not be stored in {self._folder}: {cause_and_advice(error)}"
            ) from error
        return Stored(str(target), target)

    def _publish(self, part: Path, name: str, on_stored: Callable[[], None]) -> Path:
        target = self._inside(self._folder / name)
        with made_folder(self._folder, self._names(target.parent)) as folder:
            move_durably(part, folder, target.name, FILE_MODE)
        on_stored()
        return target

    async def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.stream`."""
        path = self.path_of(address)
        try:
            async with opened(path, self._open) as file:
                file.seek(start)
                left = (1 << 63) if end is None else end - start
                while left > 0 and (piece := await in_thread(file.read, min(PIECE, left))):
                    left -= len(piece)
                    yield piece
        except FileNotFoundError:
            raise NotFound(f"There is no file {path}.") from None
        except OSError as error:
            raise StorageFailed(f"{path} cannot be read: {cause_and_advice(error)}") from error

    async def size(self, address: str) -> int | None:
        """See `Storage.size`."""
        path = self.path_of(address)
        try:
            return await in_thread(self._size, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageFailed(f"{path} cannot be read: {cause_and_advice(error)}") from error

    def path_of(self, address: str) -> Path:
        """The path of an address from `publish`; the address is the path itself.

        Raises:
            NotFound: it is not an address in this folder.
        """
        if not address.startswith("/"):
            raise NotFound("That is not the address of a file in the audio folder.")
        return self._inside(Path(address))

    def _size(self, path: Path) -> int:
        with opened_folder(self._folder, self._names(path.parent)) as folder:
            return os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_size

    def _open(self, path: str, flags: int) -> int:
        file = Path(path)
        with opened_folder(self._folder, self._names(file.parent)) as folder:
            return open_file(file.name, flags, folder, file.parent)

    def _names(self, folder: Path) -> tuple[str, ...]:
        return folder.relative_to(self._folder).parts

    def _inside(self, path: Path) -> Path:
        whole = Path(os.path.normpath(path))
        if self._folder not in whole.parents:
            raise NotFound("That is not a file in the audio folder.")
        return whole

    async def signed_url(self, address: str, seconds: float) -> str:
        """See `Storage.signed_url`."""
        raise NoSignedUrl(
            f"The audio is in the folder {self.folder}, which has no signed addresses; they need an object store in "
            "[audio] url. artifact.link is the address in the receiver's API."
        )

    def writable(self) -> str | None:
        """See `Storage.writable`."""
        problem = try_folder(f"The audio folder {self._folder}", self._folder)
        if problem is not None:
            return problem
        link = linked_folder(self._folder)
        if link is not None:
            return (
                f"{self._folder / link} is a symbolic link to a folder; links in the audio folder are not followed; "
                "mount the folder there, or let audio.url name another."
            )
        return None


def try_folder(name: str, folder: Path) -> str | None:
    """Make the folder and try to write a file into it; the problem in a sentence, None without one.

    Args:
        name: of the folder in the sentence.
    """
    try:
        make_folders(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{name} cannot be written to: {cause_and_advice(error)}"
    return None
