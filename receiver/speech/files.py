"""Save audio files atomically, without replacing other files unless requested, and never outside the output folder.

Ids and output names of a batch are untrusted. They are turned into safe file names, or refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from receiver.durable_files import OverwritePolicy, temporary_file
from receiver.engine.context import Artifact
from receiver.speech.errors import SpeechError

MAX_NAME_BYTES = 200
MAX_PATH_PARTS = 8
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.)\Z")


def require_writable(path: Path, policy: OverwritePolicy) -> None:
    """Check that a file can be saved at `path`, before anything is submitted.

    Raises:
        SpeechError: it cannot; the message says what to do.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise SpeechError(f"{path} cannot be read: {error.strerror}; name a file in another folder.") from None
    except OSError:
        pass  # it does not exist
    if path.is_dir():
        raise SpeechError(f"{path} is a folder; name a file in it.")
    if os.path.lexists(path):
        if policy is OverwritePolicy.REFUSE:
            raise SpeechError(f"{path} already exists; name another file, or replace it with --force.")
        if not path.is_file():
            raise SpeechError(f"{path} is not a regular file, and is not replaced; `-o -` writes to standard output.")
    if not path.parent.is_dir():
        raise SpeechError(f"The folder {path.parent} does not exist; create it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SpeechError(f"The folder {path.parent} is not writable.")


async def save_artifact(artifact: Artifact, path: Path, policy: OverwritePolicy) -> None:
    """Save a copy of the audio. The file gets its name once it is complete and durable.

    Raises:
        SpeechError: it cannot be written, or a file exists there. The audio stays in the store.
        AudioError, NotFound: it cannot be read from the store.
    """
    digest = hashlib.sha256()
    try:
        with temporary_file(path, 0o666) as file:
            async for piece in artifact.stream():
                digest.update(piece)
                await asyncio.to_thread(file.append, piece)
            if digest.hexdigest() != artifact.sha256:
                raise SpeechError(f"{artifact.address} was changed since it was fetched. Nothing was saved.")
            await asyncio.to_thread(file.publish, policy)
    except FileExistsError:
        raise SpeechError(
            f"{path} already exists with other content. The audio is in the store. --force replaces the file."
        ) from None
    except OSError as error:
        raise SpeechError(
            f"{path} cannot be written: {error.strerror or error}. The audio is in the store, at {artifact.address}."
        ) from error


async def stream_to(artifact: Artifact, stream: BinaryIO) -> None:
    """Write the audio to a stream, such as standard output.

    Raises:
        BrokenPipeError: the reader of the stream has gone.
        AudioError, NotFound: it cannot be read from the store.
    """
    async for piece in artifact.stream():
        await asyncio.to_thread(stream.write, piece)
    await asyncio.to_thread(stream.flush)


def is_copy(artifact: Artifact, path: Path) -> bool:
    """Whether the file exists and has the artifact's bytes. Blocks: it may read the file."""
    try:
        if path.stat().st_size != artifact.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
    except OSError:
        return False


# names from untrusted text


def file_stem(id: str) -> str:
    """The stem of a file name for an id: the id itself if it is a plain word, else a readable prefix and a hash.

    Stems do not collide: a plain word has no `~`, and the file number after it is shorter than a hash.
    """
    if _PLAIN.match(id):
        return id
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", id[:200]).strip("-")[:40].strip("-")
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{prefix or 'x'}~{digest}"


def relative_output(output: str) -> str:
    """The output name, checked to be a relative path that stays within the output folder.

    Raises:
        ValueError: it is not; the message says why.
    """
    parts = output.split("/")
    if len(parts) > MAX_PATH_PARTS:
        raise ValueError(f"output {_quoted(output)} has more than {MAX_PATH_PARTS} parts")
    for part in parts:
        odd = not part.isprintable() or "\\" in part or part != part.strip() or part.startswith(".")
        if not part or odd or len(part.encode()) > MAX_NAME_BYTES:
            raise ValueError(
                f"output {_quoted(output)} is not a plain file name within the output folder, such as intro.wav"
            )
    return output


def numbered_path(path: Path, n: int, format: str = "", first: str = "") -> Path:
    """The path of a job's file number `n`, given the path of its first: `hello.wav`, `hello~1.wav`, …

    Args:
        format: of this file; where it is not that of the first, the file has its own extension.
        first: the format of the first file.
    """
    suffix = path.suffix if format == first else f".{format}"
    return path if n == 0 else path.with_name(f"{path.stem}~{n}{suffix}")


def _quoted(text: str) -> str:
    return repr(text[:60] + ("…" if len(text) > 60 else ""))
