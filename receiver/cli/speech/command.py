"""`speech`: text in, an audio file out; one, or one for each line of a file."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Json, key_values, one_of
from receiver.cli.plain import complain, print_json, say
from receiver.cli.speech.forms import Form
from receiver.engine.jobs.limits import AT_ONCE

if TYPE_CHECKING:
    from receiver.cli.speech.desk import Speaker
    from receiver.cli.speech.lines import Manner
    from receiver.cli.speech.one import Spoken, Wanted
    from receiver.durable_files import OverwritePolicy
    from receiver.engine.jobs.source import JobSource
    from receiver.providers.types import Speech
    from receiver.settings import Settings

_FORMS = tuple(str(form) for form in Form)


def speech(
    text: Annotated[str | None, typer.Argument(help="What is to be spoken; - reads it from standard input.")] = None,
    config: Config = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The configured source. Default: the only one that can be asked.")
    ] = None,
    voice: Annotated[str | None, typer.Option(help="A voice, as `tts-receiver voices` names it.")] = None,
    format: Annotated[
        str | None, typer.Option(help="Such as mp3. Default: by the output's extension, else the service's own.")
    ] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Hertz.")] = None,
    bitrate: Annotated[int | None, typer.Option(min=1, help="kbps.")] = None,
    speed: Annotated[float | None, typer.Option(help="1.0 is the voice's own.")] = None,
    model: Annotated[str | None, typer.Option(help="The service's own word for a model.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="KEY=VALUE, given back with the job's end; repeat it.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The file to write; - is standard output. Default: the path in the store."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    wait: Annotated[float | None, typer.Option(min=0, help="Wait so many seconds at most. Default: no bound.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Only write it down and print its id: a running receiver does the rest.")
    ] = False,
    job: Annotated[str | None, typer.Option("--job", help="Go on with a job that was begun before.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="A batch: one text a line, .jsonl or .csv; - is standard input.")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help=f"Of the batch: {', '.join(_FORMS)}. Default: by its name.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Of the batch. Default: speech-NAME.")] = None,
    report: Annotated[Path | None, typer.Option(help="Of the batch. Default: report.jsonl in the folder.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=AT_ONCE, help="Jobs of the batch at one time.")] = 4,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try lines again that failed.")] = False,
    retry_unknown: Annotated[
        bool, typer.Option("--retry-unknown", help="Try lines again that may have been charged for.")
    ] = False,
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Leave out lines that cannot be used.")] = False,
    json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the log, too.")] = False,
) -> None:
    """Synthesize speech: submit the text, wait for the audio, save it. With --file, many texts."""
    from receiver.assembly.sources import job_source
    from receiver.cli.opening import one_job, opened
    from receiver.cli.speech.lines import Manner
    from receiver.cli.speech.one import Wanted
    from receiver.durable_files import OverwritePolicy
    from receiver.settings import load

    settings = load(config)
    level = settings.logs.level if verbose else "error"
    manner = Manner(
        voice=voice,
        format=format,
        sample_rate=sample_rate,
        bitrate_kbps=bitrate,
        speed=speed,
        model=model,
        metadata=key_values(metadata, "--metadata"),
    )
    given = [name for name, value in (("TEXT", text), ("--file", file), ("--job", job)) if value is not None]
    if len(given) != 1:
        what = f"both {' and '.join(given)}" if given else "nothing"
        raise typer.BadParameter(f"Give TEXT, --file or --job; there is {what}.")
    if_there = OverwritePolicy.REPLACE if force else OverwritePolicy.REFUSE
    if file is not None:
        if output is not None or no_wait:
            raise typer.BadParameter("--output and --no-wait are for one speech; a batch has --output-dir.")
        one_of(input_format, _FORMS, "--input-format")
        from receiver.cli.speech.batch import Again
        from receiver.cli.speech.many import Many, speak_many

        many = Many(
            file=file,
            form=None if input_format is None else Form(input_format),
            folder=output_dir,
            report=report,
            manner=manner,
            concurrency=concurrency,
            again=Again(failed=retry_failed, unknown=retry_unknown),
            if_there=if_there,
            skip_invalid=skip_invalid,
            wait=wait,
            json=json,
        )
        raise typer.Exit(speak_many(settings, _asked(settings, source), many, level))
    if output_dir is not None or report is not None or input_format is not None:
        raise typer.BadParameter("--output-dir, --report and --input-format are for a batch: name it with --file.")
    _check_output(output, if_there, json)
    if job is not None:
        if no_wait:
            raise typer.BadParameter("--job waits for a job, and --no-wait does not.")
        with opened(config) as (_, database):
            row = one_job(database, job, source)
        wanted = Wanted(job=row["id"], output=output, if_there=if_there, wait=wait)
        raise typer.Exit(_one(settings, row["source"], wanted, level, json))
    name = _asked(settings, source)
    about = job_source(settings, name)
    spoken = _speech(_text(text or ""), manner, output, name, about)
    if no_wait:
        raise typer.Exit(_written_down(settings, about, spoken, json))
    wanted = Wanted(speech=spoken, output=output, if_there=if_there, wait=wait)
    raise typer.Exit(_one(settings, name, wanted, level, json))


def _one(settings: Settings, source: str, wanted: Wanted, level: str, json: bool) -> int:
    from receiver.cli.speech.desk import run
    from receiver.cli.speech.one import STDOUT, speak
    from receiver.cli.speech.shown import OneShown, one_line

    done: list[Spoken] = []

    async def work(speaker: Speaker) -> int:
        with OneShown() as shown:
            done.append(await speak(speaker, wanted, shown))
        return 0 if done[0].error is None else 1

    code = run(settings, source, work, level=level)
    if not done:
        return code
    spoken = done[0]
    if spoken.error is not None:
        complain(f"tts-receiver: {one_line(spoken.error)}")
    if json:
        print_json(spoken.told())
    elif spoken.error is None and wanted.output != STDOUT:
        for path in spoken.paths:
            say(str(path))
    return code


def _written_down(settings: Settings, about: JobSource, spoken: Speech, json: bool) -> int:
    from receiver.assembly.resources import open_database
    from receiver.engine.jobs.intents import submit_job
    from receiver.store.migrate import migrate

    database = open_database(settings)
    try:
        migrate(database)
        row, _ = database.transact(submit_job, about, spoken, None, time.time(), random.Random())  # noqa: S311
    finally:
        database.close()
    if json:
        print_json({"id": row["id"], "job_id": None, "source": row["source"], "state": str(row["state"])})
    else:
        say(row["id"])
    return 0


def _asked(settings: Settings, name: str | None) -> str:
    """The source that is meant.

    Raises:
        SpeechError: there is none that can be asked.
        typer.BadParameter: there are several.
    """
    from receiver.assembly.sources import job_sources
    from receiver.cli.speech.desk import SpeechError
    from receiver.providers.protocols import SubmittingProvider

    if name is not None:
        return name
    able = [name for name, source in job_sources(settings).items() if isinstance(source.provider, SubmittingProvider)]
    if not able:
        raise SpeechError("No source can be asked for speech: it needs an api_key and a provider that takes jobs.")
    if len(able) > 1:
        raise typer.BadParameter(f"Say which source with --source: {', '.join(able)}.")
    return able[0]


def _speech(text: str, manner: Manner, output: str | None, name: str, about: JobSource) -> Speech:
    """What is to be spoken, as the provider takes it.

    Raises:
        Invalid: the provider does not take it.
    """
    from receiver.cli.speech.lines import format_of
    from receiver.cli.speech.one import STDOUT
    from receiver.engine.jobs.intents import check_speech
    from receiver.providers.types import Speech

    if manner.voice is None:
        known = ", ".join(about.capabilities.known_voices)
        there_are = (
            f"documented are: {known}" if known else f"`tts-receiver voices --source {name}` shows what there is"
        )
        raise typer.BadParameter(f"Say which voice with --voice; {there_are}.")
    format = manner.format
    if format is None and output not in (None, STDOUT):
        format = format_of(str(output), about.capabilities.formats)
    spoken = Speech(
        text=text,
        voice=manner.voice,
        format=format,
        sample_rate=manner.sample_rate,
        bitrate_kbps=manner.bitrate_kbps,
        speed=manner.speed,
        model=manner.model,
        metadata=manner.metadata,
    )
    check_speech(about, spoken)
    return spoken


def _text(text: str) -> str:
    from receiver.cli.speech.desk import SpeechError
    from receiver.cli.speech.rows import MOST_LINE_BYTES

    if text != "-":
        return text
    raw = sys.stdin.buffer.read(MOST_LINE_BYTES + 1)
    if len(raw) > MOST_LINE_BYTES:
        raise SpeechError(f"Standard input has more than {MOST_LINE_BYTES} bytes: too much for one speech.")
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SpeechError("Standard input is not UTF-8.") from None


def _check_output(output: str | None, if_there: OverwritePolicy, json: bool) -> None:
    from receiver.cli.speech.desk import SpeechError
    from receiver.cli.speech.files import require_place
    from receiver.cli.speech.one import STDOUT

    if output is None:
        return
    if output == STDOUT:
        if json:
            raise typer.BadParameter("--json prints to standard output, and so does `-o -`: name a file.")
        if sys.stdout.isatty():
            raise SpeechError("Standard output is a terminal, and audio is not for reading; send it somewhere.")
        return
    require_place(Path(output), if_there)
