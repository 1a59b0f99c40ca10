"""`speech --file`: look at every line first, then speak them, and say how it went."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from receiver.assembly.sources import job_source
from receiver.cli.plain import complain, print_json, say
from receiver.cli.speech.batch import Again, Batch, Tally, speak_batch
from receiver.cli.speech.desk import Speaker, SpeechError, run
from receiver.cli.speech.forms import FORMS, Form
from receiver.cli.speech.lines import BadLine, Line, Manner, read_lines
from receiver.cli.speech.report import Report
from receiver.cli.speech.shown import BatchShown, one_line
from receiver.cli.speech.survey import Survey, survey
from receiver.durable_files import OverwritePolicy
from receiver.engine.jobs.intents import check_speech
from receiver.providers.types import Speech
from receiver.settings import Settings

STDIN = "-"
MOST_COPIED_BYTES = 1 << 30
"""Of an input that cannot be read twice."""
MOST_NUMBERS = 20
"""Numbers of lines that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """What the command line asks for; see the options of `speech`."""

    file: str
    form: Form | None
    folder: Path | None
    report: Path | None
    manner: Manner
    concurrency: int
    again: Again
    if_there: OverwritePolicy
    skip_invalid: bool
    wait: float | None
    json: bool


def speak_many(settings: Settings, source: str, many: Many, level: str) -> int:
    """Do it; the exit code.

    Raises:
        SpeechError: nothing was submitted, because of the input or the report; or it took too long.
    """
    stem = "stdin" if many.file == STDIN else Path(many.file).stem
    folder = many.folder if many.folder is not None else Path(f"speech-{stem}")
    path = many.report or folder / "report.jsonl"
    form = many.form or FORMS.get(Path(many.file).suffix.lower(), Form.TEXT)
    about = job_source(settings, source)

    def check(speech: Speech) -> None:
        check_speech(about, speech)

    with ExitStack() as stack:
        file = stack.enter_context(_input(many.file))

        def lines() -> Iterator[Line | BadLine]:
            file.seek(0)
            return read_lines(file, form, source, many.manner, about.capabilities.formats, check)

        known = Report.open(path, source) if os.path.lexists(path) else None
        if known is not None:
            stack.callback(known.close)
        found = survey(lines(), None if known is None else known.last, folder, many.if_there)
        _require_good(found, many, path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeechError(f"The folder {folder} cannot be made: {error.strerror or error}.") from None
        report = known
        if report is None:
            report = Report.begin(path, source, secrets.token_hex(16))
            stack.callback(report.close)
        return _speak(settings, source, many, level, _Place(lines(), folder, report, found))


@dataclass(frozen=True, slots=True)
class _Place:
    lines: Iterator[Line | BadLine]
    folder: Path
    report: Report
    found: Survey


def _speak(settings: Settings, source: str, many: Many, level: str, place: _Place) -> int:
    found, tally = place.found, Tally(place.found.total, done=place.found.before)
    batch = Batch(
        lines=place.lines,
        folder=place.folder,
        concurrency=many.concurrency,
        again=many.again,
        if_there=many.if_there,
        skip=found.refused,
        wait=many.wait,
    )

    async def work(speaker: Speaker) -> int:
        with BatchShown(found.total) as shown:
            shown.begin(found.before)
            await speak_batch(speaker, batch, place.report, tally, shown)
        _tell(tally, found, many, place)
        return 0 if tally.done == tally.total else 1

    return run(settings, source, work, level=level)


def _require_good(found: Survey, many: Many, report: Path) -> None:
    """Say everything that is wrong with the lines, before anything is submitted.

    Raises:
        SpeechError: something is.
    """
    for bad in found.bad:
        complain(one_line(str(bad)))
    count = len(found.refused)
    if count > len(found.bad):
        complain(f"… and {count - len(found.bad)} more")
    if found.changed:
        raise SpeechError(
            f"{_numbers(found.changed)} not as it was when it was spoken; the report is {report}. Put it back, or "
            "speak new lines as another batch, with another --output-dir. Nothing was submitted."
        )
    if found.gone:
        complain(f"{_numbers(found.gone)} in the report and not in the input any more.")
    if count and not many.skip_invalid:
        what = "1 line cannot be used" if count == 1 else f"{count} lines cannot be used"
        raise SpeechError(f"{what}; nothing was submitted. Mend it, or leave it out with --skip-invalid.")
    if not found.total:
        raise SpeechError("There is no line to speak.")


def _numbers(lines: list[int]) -> str:
    more = f" and {len(lines) - MOST_NUMBERS} more" if len(lines) > MOST_NUMBERS else ""
    verb, noun = ("is", "Line") if len(lines) == 1 else ("are", "Lines")
    return f"{noun} {', '.join(map(str, lines[:MOST_NUMBERS]))}{more} {verb}"


def _tell(tally: Tally, found: Survey, many: Many, place: _Place) -> None:
    if tally.halted is not None:
        complain(
            f"tts-receiver: {one_line(tally.halted)} So no further lines were started. Once that is fixed, the "
            "same command with --retry-failed continues.",
        )
    if many.json:
        print_json(
            {
                "total": tally.total,
                "completed": tally.done,
                "failed": tally.failed,
                "unknown": tally.unknown,
                "left": tally.left,
                "skipped": len(found.refused),
                "folder": os.fspath(place.folder),
                "report": os.fspath(place.report.path),
            }
        )
        return
    rest = [f"{tally.failed} failed"] if tally.failed else []
    rest += [f"{tally.left} not begun"] if tally.left else []
    rest += [f"{len(found.refused)} left out as invalid"] if found.refused else []
    told = "".join(f", {part}" for part in rest)
    say(f"{tally.done} of {tally.total} lines are saved in {place.folder}{told}. Report: {place.report.path}")
    if tally.failed > tally.unknown and not many.again.failed and tally.halted is None:
        complain("Lines that failed are tried again with --retry-failed.")
    if tally.unknown:
        complain(
            "Of lines that are `unknown` nobody can say whether they were charged for: look at the provider. What was "
            "said of each stands in the report; --retry-unknown tries them again without asking.",
        )


@contextmanager
def _input(name: str) -> Iterator[BinaryIO]:
    """The input, such that it can be read twice.

    Raises:
        SpeechError: it cannot be read.
    """
    with ExitStack() as stack:
        if name == STDIN:
            given: BinaryIO = sys.stdin.buffer
        else:
            try:
                given = stack.enter_context(Path(name).open("rb"))
            except OSError as error:
                raise SpeechError(f"{name} cannot be read: {error.strerror or error}.") from None
        plain = name != STDIN and stat.S_ISREG(os.fstat(given.fileno()).st_mode)
        yield given if plain else stack.enter_context(_copied(given))


@contextmanager
def _copied(given: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(prefix="tts-") as file:
        size = 0
        while piece := given.read(1 << 20):
            size += len(piece)
            if size > MOST_COPIED_BYTES:
                raise SpeechError(f"The input has more than {MOST_COPIED_BYTES} bytes; make several files of it.")
            file.write(piece)
        yield file
