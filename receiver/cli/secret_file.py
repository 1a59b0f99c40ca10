"""A file of signing secrets, one a line, the newest first: replaced atomically, and readable by its owner only.

A provider shows a secret only once. So the new file is created, and its disk space reserved, before the request. If it
still cannot be written, the secret is saved to another file.
"""

from __future__ import annotations

import base64
import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_bytes, token_hex

from receiver.durable_files import OverwritePolicy, TemporaryFile, temporary_file, write_durably
from receiver.errors import ReceiverError
from receiver.model.secret_text import COMMENT, is_secret_line, secret_problem

MODE = 0o600
RESERVED_BYTES = 4096
"""Bytes that a new file has room for besides the existing secrets."""


class SecretNotSaved(ReceiverError):
    """A secret could not be saved to its file; the message says where it is, or that no request was sent."""


class SecretFile:
    """A file that is ready to be replaced. Created by `reserve`."""

    def __init__(self, path: Path, new_file: TemporaryFile) -> None:
        self.path = path
        self._new_file = new_file

    def lines(self) -> list[str]:
        """The secrets in it now, the newest first, and its comments; empty if the file does not exist."""
        try:
            text = self.path.read_text("utf-8-sig")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def prepend(self, secret: str) -> None:
        """Add a secret before the existing ones, durably.

        Raises:
            SecretNotSaved: it was not written; the message says where it is instead.
        """
        try:
            if (fault := secret_problem(secret)) is not None:
                raise SecretNotSaved(f"it {fault}")
            if not is_secret_line(secret):
                raise SecretNotSaved(f"it begins with {COMMENT}, which starts a comment in that file")
            self._replace([secret, *(old for old in self.lines() if old != secret)])
        except (OSError, ValueError, SecretNotSaved) as error:
            detail = error.strerror if isinstance(error, OSError) else error
            kept = save_elsewhere(secret.encode(errors="surrogatepass") + b"\n", "signing-secret")
            raise SecretNotSaved(
                f"The new signing secret could not be written to {self.path}: {detail}. "
                + (f"It is in {kept} instead: make it the first line of {self.path}, mode 0600." if kept else _LOST)
            ) from error

    def _replace(self, lines: Sequence[str]) -> None:
        self._new_file.append(("\n".join(lines) + "\n").encode())
        self._new_file.publish(OverwritePolicy.REPLACE)


_LOST = "It could not be saved elsewhere either, and is lost: `tts-receiver webhook rotate` requests another."


@contextmanager
def reserve(path: Path) -> Iterator[SecretFile]:
    """The file at `path`, with a temporary file beside it that can replace it and is removed if it does not.

    A link is followed: its target is replaced. The file keeps its owner.

    Raises:
        SecretNotSaved: the folder cannot be written, or the file cannot be replaced.
    """
    path = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            existing = path.stat() if path.exists() else None
            if existing is not None and not stat.S_ISREG(existing.st_mode):
                raise SecretNotSaved(f"{path} is not a file; no request was sent.")
            new_file = stack.enter_context(temporary_file(path, MODE))
            if existing is not None and (existing.st_uid, existing.st_gid) != (os.geteuid(), os.getegid()):
                new_file.set_owner(existing.st_uid, existing.st_gid)
            new_file.reserve(RESERVED_BYTES + (existing.st_size if existing else 0))
            secrets = SecretFile(path, new_file)
            secrets.lines()
        except BlockingIOError as error:
            raise SecretNotSaved(
                f"{path} cannot be written: {error.strerror}; no request was sent. Wait, and try again."
            ) from error
        except (OSError, ValueError) as error:
            detail = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise SecretNotSaved(
                f"{path} cannot be written: {detail}; no request was sent. The folder must exist and be writable "
                "for the user that the receiver runs as; run the command as that user."
            ) from error
        yield secrets


def new_secret() -> str:
    """A new signing secret of Standard Webhooks."""
    return "whsec_" + base64.b64encode(token_bytes(32)).decode()


def save_elsewhere(data: bytes, stem: str) -> Path | None:
    """Write bytes to a new file of mode 0600 in the current folder, else in the folder for temporary files.

    Returns:
        The file's path; None if neither folder can be written.
    """
    for folder in (Path.cwd, tempfile.gettempdir):
        with contextlib.suppress(OSError):
            path = Path(folder()) / f"{stem}-{token_hex(8)}"
            write_durably(path, data, MODE, OverwritePolicy.REFUSE)
            return path
    return None
