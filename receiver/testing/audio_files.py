"""The audio files of a handler's test: what `ctx.audio()` and `ctx.audio_files()` return in it."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from receiver.engine.audio_failures import most_severe
from receiver.engine.context import Artifact
from receiver.engine.links import AudioLinks
from receiver.errors import AudioRefused, NoAudio
from receiver.model.event import Event, JobCompleted
from receiver.model.file_kind import FileKind, kind_of_file
from receiver.outbound.documents import read_document
from receiver.outbound.folder import LocalFolder
from receiver.outbound.formats import SNIFF_BYTES, Facts, read_facts, sniff, sniff_file
from receiver.store.artifacts import ArtifactRow

API_URL = "http://127.0.0.1:8081"
"""What the artifacts' links begin with: the default address of the private listener."""

DOCUMENTS = frozenset({".json", ".srt", ".vtt", ".txt"})
"""The extensions of a test's files that may be documents, as a task has them."""

AudioSource = bytes | Path | Exception
"""One audio file of a test: its bytes, its path, or the exception that fetching it raises."""


class AudioFiles(NamedTuple):
    """The audio of a test, with the functions behind `ctx.audio()` and `ctx.audio_files()`."""

    files: Sequence[Artifact | Exception]

    async def first(self) -> Artifact:
        """As `Context.audio`."""
        (first,) = self._all_of(self.files[:1])
        return first if first.kind is FileKind.AUDIO else (await self.all())[0]

    async def all(self) -> tuple[Artifact, ...]:
        """As `Context.audio_files`."""
        found = tuple(file for file in self._all_of(self.files) if file.kind is FileKind.AUDIO)
        if not found:
            raise NoAudio("None of the files of this test is audio.")
        return found

    async def artifacts(self) -> tuple[Artifact, ...]:
        """As `Context.artifacts`."""
        try:
            return self._all_of(self.files)
        except NoAudio:
            return ()

    def _all_of(self, files: Sequence[Artifact | Exception]) -> tuple[Artifact, ...]:
        failed = [file for file in files if isinstance(file, Exception)]
        if failed:
            raise most_severe(failed)
        return tuple(file for file in files if isinstance(file, Artifact))


@contextmanager
def audio_files_of(event: Event, audio: AudioSource | Sequence[AudioSource] | None) -> Iterator[AudioFiles]:
    """The files; those made of bytes exist while the context is open."""
    if not isinstance(event, JobCompleted):
        yield AudioFiles([NoAudio(f"{event.type} has no audio; subscribe with on=JobCompleted.")])
    elif audio is None:
        yield AudioFiles([AudioRefused("This test has no audio: pass audio= to run_handler.", reason="no_audio")])
    else:
        sources = [audio] if isinstance(audio, bytes | Path | Exception) else audio
        if not sources:
            raise ValueError("audio= is an empty list; a completed job has at least one file.")
        with tempfile.TemporaryDirectory(prefix="tts-receiver-test-") as folder:
            yield AudioFiles([_file(event, n, file, Path(folder).resolve()) for n, file in enumerate(sources)])


def _file(event: JobCompleted, n: int, file: AudioSource, folder: Path) -> Artifact | Exception:
    if isinstance(file, Exception):
        return file
    if isinstance(file, bytes):
        kind = sniff(file[:SNIFF_BYTES])
        suffix = f"~{n}" if n else ""
        path = folder / f"{event.job_id.replace('/', '_')}{suffix}.{kind.extension if kind else 'bin'}"
        path.write_bytes(file)
    else:
        path = file.absolute()
    return _artifact(event, n, path)


def _artifact(event: Event, n: int, path: Path) -> Artifact:
    kind = sniff_file(path)
    if kind is None and path.suffix in DOCUMENTS:
        kind = read_document(path.read_bytes(), "text/plain")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if kind is None:
        raise ValueError(
            "audio= is not in a supported audio format. wav() makes audio; with audio=AudioError(…) ctx.audio() fails."
        )
    is_audio = kind_of_file(kind.content_type) is FileKind.AUDIO
    row = ArtifactRow(
        event_id=event.id,
        n=n,
        address=str(path),
        bytes=path.stat().st_size,
        sha256=sha256,
        content_type=kind.content_type,
        format=kind.name,
        fetched_at=event.received_at.timestamp(),
        fetch_seconds=0.0,
        **dataclasses.asdict(read_facts(path, kind) if is_audio else Facts()),
    )
    real = path.resolve()  # a test's file may be a link
    storage = LocalFolder(real.parent)
    return Artifact.of(
        row,
        path,
        lambda: storage.stream(str(real)),
        lambda: AudioLinks(API_URL).link(event.id, n),
        lambda seconds: storage.signed_url(str(real), seconds),
    )
