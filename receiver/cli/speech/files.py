"""Where spoken files go: whole or not at all, never over another file unasked, never outside the folder meant.

Ids and names of a batch are somebody else's text: they become names by these rules, or are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from pathlib import Path

from receiver.cli.speech.desk import SpeechError
from receiver.durable_files import OverwritePolicy, temporary_file
from receiver.engine.context import Artifact

MOST_NAME_BYTES = 200
MOST_FOLDERS = 8
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.)\Z")


def require_place(path: Path, policy: OverwritePolicy) -> None:
    """Find out before anything is sent whether a file can be put there.

    Raises:
        SpeechError: it cannot; says what to do.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise SpeechError(f"{path} cannot be looked at: {error.strerror}; name a file in another folder.") from None
    except OSError:
        pass  # it is not there
    if path.is_dir():
        raise SpeechError(f"{path} is a folder; name a file in it.")
    if os.path.lexists(path):
        if policy is OverwritePolicy.REFUSE:
            raise SpeechError(f"{path} is there already; name another file, or replace it with --force.")
        if not path.is_file():
            raise SpeechError(f"{path} is not a plain file, and is not replaced; `-o -` writes to standard output.")
    if not path.parent.is_dir():
        raise SpeechError(f"The folder {path.parent} is not there; make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SpeechError(f"Nothing can be written into the folder {path.parent}.")


async def save(artifact: Artifact, path: Path, policy: OverwritePolicy) -> None:
    """Write a copy of the audio, under its name only when it is whole and on the disk.

    Raises:
        SpeechError: it cannot be written, or something is there already. The audio stays in the store.
        AudioError, NotFound: it cannot be read from the store.
    """
    digest = hashlib.sha256()
    try:
        with temporary_file(path, 0o666) as file:
            async for piece in artifact.stream():
                digest.update(piece)
                await asyncio.to_thread(file.append, piece)
            if digest.hexdigest() != artifact.sha256:
                raise SpeechError(f"{artifact.address} is not what was fetched: it was changed. Nothing was saved.")
            await asyncio.to_thread(file.publish, policy)
    except FileExistsError:
        raise SpeechError(
            f"{path} is there already, and is not this audio, which is in the store. --force replaces it."
        ) from None
    except OSError as error:
        raise SpeechError(
            f"{path} cannot be written: {error.strerror or error}. The audio is in the store, at {artifact.address}."
        ) from error


async def pour(artifact: Artifact) -> None:
    """Write the audio to standard output.

    Raises:
        BrokenPipeError: the reader has gone.
        AudioError, NotFound: it cannot be read from the store.
    """
    async for piece in artifact.stream():
        await asyncio.to_thread(sys.stdout.buffer.write, piece)
    await asyncio.to_thread(sys.stdout.buffer.flush)


def is_copy(artifact: Artifact, path: Path) -> bool:
    """Whether the file there has the artifact's bytes. Blocks: it may read the file."""
    try:
        if path.stat().st_size != artifact.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
    except OSError:
        return False


# names, of text from outside


def word_for(id: str) -> str:
    """A file name's stem for an id: the id itself where it is a plain word, else a readable stump and a hash.

    Never the same for two ids: `~` is in no plain word, and a file's number after it is shorter than a hash.
    """
    if _PLAIN.match(id):
        return id
    stump = re.sub(r"[^A-Za-z0-9]+", "-", id[:200]).strip("-")[:40].strip("-")
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{stump or 'x'}~{digest}"


def inside(output: str) -> str:
    """A relative path that stays within its folder.

    Raises:
        ValueError: in words, why it is none.
    """
    parts = output.split("/")
    if len(parts) > MOST_FOLDERS:
        raise ValueError(f"output {_shown(output)} has more than {MOST_FOLDERS} parts")
    for part in parts:
        odd = not part.isprintable() or "\\" in part or part != part.strip() or part.startswith(".")
        if not part or odd or len(part.encode()) > MOST_NAME_BYTES:
            raise ValueError(
                f"output {_shown(output)} is not a plain file name within the output folder, such as intro.wav"
            )
    return output


def numbered(path: Path, n: int) -> Path:
    """The name of a job's n-th file beside its first: `hello.wav`, `hello~1.wav`, …"""
    return path if n == 0 else path.with_name(f"{path.stem}~{n}{path.suffix}")


def _shown(text: str) -> str:
    return repr(text[:60] + ("…" if len(text) > 60 else ""))
