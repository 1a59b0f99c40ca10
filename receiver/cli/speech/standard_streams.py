"""Standard input and standard output as the text and the audio of `speech`: both are named `-`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

if TYPE_CHECKING:
    from receiver.durable_files import OverwritePolicy

STANDARD_STREAM = "-"
"""The file name that stands for standard input or standard output."""


def read_text(text: str) -> str:
    """The text itself, or what standard input has.

    Raises:
        SpeechError: standard input is too long, or not UTF-8.
    """
    from receiver.speech.errors import SpeechError
    from receiver.speech.rows import MAX_LINE_BYTES

    if text != STANDARD_STREAM:
        return text
    raw = sys.stdin.buffer.read(MAX_LINE_BYTES + 1)
    if len(raw) > MAX_LINE_BYTES:
        raise SpeechError(f"Standard input has more than {MAX_LINE_BYTES} bytes, the maximum of one request.")
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SpeechError("Standard input is not UTF-8.") from None


def destination_of(output: str | None) -> Path | BinaryIO | None:
    """Where the audio goes: a file, standard output, or only the audio storage."""
    if output == STANDARD_STREAM:
        return sys.stdout.buffer
    return None if output is None else Path(output)


def check_output(output: str | None, overwrite: OverwritePolicy, json: bool) -> None:
    """Check that the audio can be written to the output.

    Raises:
        SpeechError: the file exists, its folder does not, or standard output is a terminal.
        typer.BadParameter: JSON is to be printed to the same standard output.
    """
    from receiver.speech.errors import SpeechError
    from receiver.speech.files import require_writable

    if output is None:
        return
    if output == STANDARD_STREAM:
        if json:
            raise typer.BadParameter("--json prints to standard output, and so does `-o -`: name a file.")
        if sys.stdout.isatty():
            raise SpeechError("Standard output is a terminal. Redirect it, or name a file.")
        return
    require_writable(Path(output), overwrite)


def stream_output(output: str | None, *, no_wait: bool, json: bool, **given: str | None) -> str:
    """Where the audio of a stream is written: standard output, and nothing else."""
    from receiver.speech.errors import SpeechError

    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"--stream is for one new text, and {name} is not.")
    if no_wait:
        raise typer.BadParameter("--stream waits for the audio, and --no-wait does not.")
    if json:
        raise typer.BadParameter("--json prints to standard output, and so does --stream.")
    if output not in (None, STANDARD_STREAM):
        raise typer.BadParameter(
            "--stream writes to standard output: pipe it to a player, such as `--stream -o - | ffplay -`. "
            "A file is saved once it is complete and verified: leave out --stream."
        )
    if sys.stdout.isatty():
        raise SpeechError("Standard output is a terminal. Pipe it to a player: `--stream -o - | ffplay -`.")
    return STANDARD_STREAM
