"""`audio get`: save the audio of an event as a file, verified."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from receiver.cli.options import Config, Job, Metadata, event_filter
from receiver.cli.text_output import echo, echo_error
from receiver.durable_files import OverwritePolicy
from receiver.errors import AudioError, NotFound, ReceiverError

if TYPE_CHECKING:
    from receiver.outbound.storage_types import Storage
    from receiver.store.artifacts import ArtifactRow

app = typer.Typer(no_args_is_help=True, help="Audio: the files that events are about.")

STANDARD_OUTPUT = "-"


class AudioNotSaved(ReceiverError):
    """The audio cannot be saved, or is not what was fetched."""


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


@app.command()
def get(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - is standard output.")
    ],
    event: Annotated[str | None, typer.Argument(help="The event's id, or a unique prefix.")] = None,
    config: Config = None,
    job: Job = None,
    metadata: Metadata = None,
    n: Annotated[
        int | None, typer.Option("-n", min=0, help="Only this file of the event, from 0. Default: all of them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Save an event's audio, verified: of the named event, or of the newest that matches the filters.

    Further files of the same event are saved beside the first: FILE~1.mp3, FILE~2.mp3, …
    """
    import asyncio

    from receiver.assembly.resources import open_audio
    from receiver.cli.ids import select_event
    from receiver.cli.session import open_session
    from receiver.speech.errors import SpeechError
    from receiver.speech.files import numbered_path, require_writable
    from receiver.store import artifacts

    filter = event_filter(None, None, None, job, None, None, metadata=metadata)
    with open_session(config) as (settings, database):
        id_ = select_event(settings, database, event, filter)
        rows = [row for row in database.query_list(artifacts.of_events, [id_]) if n in (None, row.n)]
        storage = open_audio(settings)
    if not rows:
        wanted = "audio" if n is None else f"file {n}"
        raise NotFound(
            f"{id_} has no {wanted}, or no handler has fetched it yet. `tts-receiver events show {id_}` has its runs."
        )
    if event is None:
        echo_error(f"Event: {id_}")
    if output == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise AudioNotSaved("Standard output is a terminal. Redirect it, or name a file.")
        if len(rows) > 1:
            raise AudioNotSaved(
                f"The event has {len(rows)} files; choose one with -n, from {rows[0].n} to {rows[-1].n}."
            )
        asyncio.run(_write(storage, rows[0], sys.stdout.buffer))
        return
    policy = OverwritePolicy.REPLACE if force else OverwritePolicy.REFUSE
    paths = [
        Path(output) if n is not None else numbered_path(Path(output), row.n, row.format, rows[0].format)
        for row in rows
    ]
    try:
        for path in paths:
            require_writable(path, policy)
        asyncio.run(_save_all(storage, rows, paths, policy))
    except SpeechError as error:
        raise AudioNotSaved(str(error)) from None


async def _save_all(
    storage: Storage, rows: Sequence[ArtifactRow], paths: Sequence[Path], policy: OverwritePolicy
) -> None:
    from receiver.engine.context import Artifact
    from receiver.model.file_kind import FileKind
    from receiver.speech.files import save_artifact

    for row, path in zip(rows, paths, strict=True):
        await _require_whole(storage, row)
        facts = ("n", "address", "bytes", "sha256", "content_type", "format", "duration", "sample_rate", "channels")
        artifact = Artifact(
            path=None, **{name: getattr(row, name) for name in facts}, _stream=partial(storage.stream, row.address)
        )
        await save_artifact(artifact, path, policy)
        kind = "" if artifact.kind in (FileKind.AUDIO, row.format) else f"{artifact.kind}, "
        echo(f"{path}: {kind}{row.format}, {row.bytes:,} bytes", f"  SHA-256 {row.sha256}")


async def _write(storage: Storage, row: ArtifactRow, out: BinaryIO) -> None:
    """Write the file as it is read. That it is wrong is known only at its end."""
    await _require_whole(storage, row)
    digest = hashlib.sha256()
    async for piece in storage.stream(row.address):
        digest.update(piece)
        out.write(piece)
    out.flush()
    if digest.hexdigest() != row.sha256:
        raise AudioNotSaved(f"{row.address} was changed since it was fetched: what was written is not the audio.")


async def _require_whole(storage: Storage, row: ArtifactRow) -> None:
    try:
        size = await storage.size(row.address)
    except NotFound:  # the row is from before audio.url was changed
        size = None
    except AudioError as error:
        raise AudioNotSaved(str(error)) from None
    if size != row.bytes:
        what = "is no longer in the audio storage" if size is None else f"has {size:,} bytes instead of {row.bytes:,}"
        raise AudioNotSaved(f"{row.address} {what}; a replay of the event fetches it again.")
