"""The local audio folder: durable once it says so, and never half a file under a final name."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from receiver.errors import AudioError, NotFound
from receiver.outbound.stored import PIECE, Stored
from receiver.outbound.threads import in_thread, opened

FOLDER_MODE = 0o750


class LocalFolder:
    """Audio under one folder of this machine's.

    Args:
        folder: made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a symbolic link stays what it is
        self.folder: Path | None = self._folder
        self.url = self._folder.as_uri()

    async def publish(self, part: Path, name: str, content_type: str) -> Stored:
        """See `Storage.publish`. A rename where `part` is on the same file system, as it is in the spool folder."""
        try:
            target = await in_thread(self._publish, part, name)
        except OSError as error:
            raise AudioError(
                f"The audio could not be put into {self._folder}: {error.strerror or error}.", reason="storage_failed"
            ) from error
        return Stored(str(target), target)

    def _publish(self, part: Path, name: str) -> Path:
        target = self._inside(self._folder / name)
        _make_folder(target.parent)
        _sync(part)
        try:
            part.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(part, target)
        _sync(target.parent)
        return target

    @staticmethod
    def _copy(part: Path, target: Path) -> None:
        """Bring a file over from another file system: whole under a hidden name first."""
        handle, name = tempfile.mkstemp(prefix=".", suffix=".copy", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as copy, part.open("rb") as source:
                shutil.copyfileobj(source, copy, PIECE)
                copy.flush()
                os.fchmod(copy.fileno(), part.stat().st_mode & 0o777)
                os.fsync(copy.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink()
            raise
        part.unlink()

    async def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.stream`."""
        path = self.path_of(address)
        try:
            async with opened(path) as file:
                file.seek(start)
                left = (1 << 63) if end is None else end - start
                while left > 0 and (piece := await in_thread(file.read, min(PIECE, left))):
                    left -= len(piece)
                    yield piece
        except FileNotFoundError:
            raise NotFound(f"There is no file {path}.") from None
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}.", reason="storage_failed") from error

    async def size(self, address: str) -> int | None:
        """See `Storage.size`."""
        path = self.path_of(address)
        try:
            return (await in_thread(path.stat)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise AudioError(f"{path} cannot be read: {error.strerror}.", reason="storage_failed") from error

    def path_of(self, address: str) -> Path:
        """The path of an address that `publish` gave: it is the path itself.

        Raises:
            NotFound: it is not an address in this folder.
        """
        if not address.startswith("/"):
            raise NotFound("That is not the address of a file in the audio folder.")
        return self._inside(Path(address))

    def _inside(self, path: Path) -> Path:
        whole = Path(os.path.normpath(path))
        if self._folder not in whole.parents:
            raise NotFound("That is not a file in the audio folder.")
        return whole

    def writable(self) -> str | None:
        """See `Storage.writable`."""
        try:
            _make_folder(self._folder)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(b"may we?")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return f"The audio folder {self._folder} cannot be written to: {error.strerror or error}."
        return None


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each durable in its own parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from None
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
