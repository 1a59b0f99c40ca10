"""`speech`: synthesize one text, or each line of a file, and save the audio."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Json, check_choice, parse_key_values, parse_options
from receiver.cli.speech.standard_streams import STANDARD_STREAM, check_output, destination_of, read_text, stream_output
from receiver.engine.jobs.limits import MAX_OPEN_JOBS
from receiver.speech.input_format import InputFormat

if TYPE_CHECKING:
    from receiver.engine.jobs.source import JobSource
    from receiver.providers.types import Speech
    from receiver.settings import Settings
    from receiver.speech.lines import SpeechDefaults

_FORMATS = tuple(str(format) for format in InputFormat)


def speech(
    text: Annotated[str | None, typer.Argument(help="The text; - reads it from standard input.")] = None,
    config: Config = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The configured source. Default: the only one that can submit.")
    ] = None,
    voice: Annotated[str | None, typer.Option(help="A voice, as `tts-receiver voices` lists it.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help="Audio format, such as mp3. Default: by the output's extension, else the service's default."),
    ] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="Sample rate in Hz.")] = None,
    bitrate: Annotated[int | None, typer.Option(min=1, help="Bitrate in kbps.")] = None,
    speed: Annotated[float | None, typer.Option(help="Speaking rate; 1.0 is the voice's default.")] = None,
    model: Annotated[str | None, typer.Option(help="The service's name of a model.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="KEY=VALUE, returned with the end of the job; repeatable.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="A parameter of the service that has no option here, sent as it is; repeatable. A VALUE that is JSON "
            "is sent as such, any other as text.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Yours: the same key with the same request is the same job. A UUID v4 is also sent to the service.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The output file; - is standard output. Default: keep the audio in the storage and print its path.",
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Write the audio to standard output while it is made, for a player.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    wait: Annotated[float | None, typer.Option(min=0, help="Maximum wait in seconds. Default: no limit.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Store the job and print its id: a running receiver does the rest.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print what the service says that it would cost; submit nothing.")
    ] = False,
    job: Annotated[str | None, typer.Option("--job", help="Resume an earlier job.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="A batch: one text per line, .jsonl or .csv; - is standard input.")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help=f"Format of the batch: {', '.join(_FORMATS)}. Default: by the file name.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Output folder of the batch. Default: speech-NAME.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Report of the batch. Default: report.jsonl in the folder.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=MAX_OPEN_JOBS, help="Open jobs of the batch at a time.")] = 4,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry lines that failed.")] = False,
    retry_unknown: Annotated[
        bool, typer.Option("--retry-unknown", help="Retry lines that may have been charged for.")
    ] = False,
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Skip invalid lines.")] = False,
    json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the log, too.")] = False,
) -> None:
    """Synthesize speech: submit the text, wait for the audio, save it. With --file, many texts."""
    from receiver.assembly.sources import job_source
    from receiver.cli.ids import find_job
    from receiver.cli.session import open_session
    from receiver.cli.speech.single import run_single, store_job
    from receiver.durable_files import OverwritePolicy
    from receiver.engine.jobs.commands import check_request
    from receiver.settings import load
    from receiver.speech.lines import SpeechDefaults
    from receiver.speech.task import SpeechTask

    settings = load(config)
    level = settings.logs.level if verbose else "error"
    defaults = SpeechDefaults(
        voice=voice,
        format=format,
        sample_rate=sample_rate,
        bitrate_kbps=bitrate,
        speed=speed,
        model=model,
        metadata=parse_key_values(metadata, "--metadata"),
        options=parse_options(option),
    )
    _check_key(idempotency_key, text)
    overwrite = OverwritePolicy.REPLACE if force else OverwritePolicy.REFUSE
    _require_one(TEXT=text, **{"--file": file, "--job": job})
    if stream:
        output = stream_output(output, no_wait=no_wait, json=json, **{"--file": file, "--job": job})
    if estimate and (text is None or stream or no_wait or output is not None):
        raise typer.BadParameter("--estimate submits nothing: give a TEXT, and no --output, --no-wait or --stream.")
    if file is not None:
        if output is not None or no_wait:
            raise typer.BadParameter("--output and --no-wait are for a single text; a batch has --output-dir.")
        from receiver.cli.speech.batch import run_batch
        from receiver.speech.options import BatchOptions, RetryOptions

        stream = file == STANDARD_STREAM
        folder = output_dir if output_dir is not None else Path(f"speech-{'stdin' if stream else Path(file).stem}")
        options = BatchOptions(
            input=sys.stdin.buffer if stream else Path(file),
            input_format=_input_format(input_format, file),
            folder=folder,
            report=report or folder / "report.jsonl",
            defaults=defaults,
            concurrency=concurrency,
            retry=RetryOptions(failed=retry_failed, unknown=retry_unknown),
            overwrite=overwrite,
            skip_invalid=skip_invalid,
            timeout=wait,
        )
        raise typer.Exit(run_batch(settings, _choose_source(settings, source), options, level, json=json))
    if output_dir is not None or report is not None or input_format is not None:
        raise typer.BadParameter("--output-dir, --report and --input-format are for a batch: name it with --file.")
    check_output(output, overwrite, json)
    task = SpeechTask(output=destination_of(output), overwrite=overwrite, timeout=wait)
    if job is not None:
        if no_wait:
            raise typer.BadParameter("--job waits for a job, and --no-wait does not.")
        with open_session(config) as (_, database):
            row = find_job(database, job, source)
        raise typer.Exit(run_single(settings, row["source"], replace(task, job=row["id"]), level, json))
    name = _choose_source(settings, source)
    target = job_source(settings, name)
    request = _request(read_text(text or ""), defaults, output, name, target)
    if stream:
        from receiver.cli.streams import discard_output
        from receiver.engine.jobs.streaming import check_stream

        check_stream(target, request)
        task = replace(task, output_ended=discard_output)
    else:
        check_request(target, request)
    if estimate:
        _print_estimate(settings, name, request, json=json)
        return
    if no_wait:
        raise typer.Exit(store_job(settings, target, request, idempotency_key, json))
    task = replace(task, request=request, idempotency_key=idempotency_key)
    raise typer.Exit(run_single(settings, name, task, level, json))


def _print_estimate(settings: Settings, name: str, request: Speech, *, json: bool) -> None:
    """Print what the service says that the speech would cost. Nothing is submitted."""
    from receiver.cli.amounts import ask
    from receiver.cli.text_output import echo, print_model
    from receiver.model.charge import credits_text
    from receiver.providers.amounts import estimate_request
    from receiver.web.api.command_models import SpeechEstimate

    source = settings.source(name)
    if source.estimate is None:
        raise typer.BadParameter(f"the source {name} does not say where it estimates: set estimate in its table.")
    amount = ask(
        name, source, estimate_request(source.provider, source.account, source.estimate.path, request),
        source.estimate.value,
    )  # fmt: skip
    if json:
        characters = len(request.text)
        print_model(SpeechEstimate(source=name, estimate=credits_text(amount), characters=characters))
    else:
        echo(credits_text(amount))


def _require_one(**given: str | None) -> None:
    """Require exactly one of these arguments, by its name."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        what = f"both {' and '.join(names)}" if names else "nothing"
        raise typer.BadParameter(f"Give TEXT, --file or --job; you gave {what}.")


def _check_key(key: str | None, text: str | None) -> None:
    """Check an idempotency key, which is for a single text: a batch has keys of its own."""
    from receiver.cli.speech.single import check_key

    if key is not None and text is None:
        raise typer.BadParameter("is for a single TEXT; a batch has keys of its own.", param_hint="--idempotency-key")
    check_key(key)


def _input_format(name: str | None, file: str) -> InputFormat:
    """The format of a batch: the named one, or by the file's extension."""
    from receiver.speech.input_format import FORMAT_BY_EXTENSION

    check_choice(name, _FORMATS, "--input-format")
    if name is not None:
        return InputFormat(name)
    return FORMAT_BY_EXTENSION.get(Path(file).suffix.lower(), InputFormat.TEXT)


def _choose_source(settings: Settings, name: str | None) -> str:
    """The name of the source to use.

    Raises:
        SpeechError: no source accepts jobs.
        typer.BadParameter: several do, and none was named.
    """
    from receiver.assembly.sources import job_sources
    from receiver.providers.protocols import SubmittingProvider
    from receiver.speech.errors import SpeechError

    if name is not None:
        return name
    capable = [
        name for name, source in job_sources(settings).items() if isinstance(source.provider, SubmittingProvider)
    ]
    if not capable:
        raise SpeechError("No source can submit speech: it needs an api_key and a provider that accepts jobs.")
    if len(capable) > 1:
        raise typer.BadParameter(f"Name a source with --source: {', '.join(capable)}.")
    return capable[0]


def _request(text: str, defaults: SpeechDefaults, output: str | None, name: str, target: JobSource) -> Speech:
    """The request to the provider; not checked yet."""
    from receiver.providers.types import Speech
    from receiver.speech.lines import format_of

    if defaults.voice is None:
        known = ", ".join(target.capabilities.known_voices)
        hint = f"documented voices: {known}" if known else f"`tts-receiver voices --source {name}` lists them"
        raise typer.BadParameter(f"Name a voice with --voice; {hint}.")
    format = defaults.format
    if format is None and output not in (None, STANDARD_STREAM):
        format = format_of(str(output), target.capabilities.formats)
    return Speech(
        text=text,
        voice=defaults.voice,
        format=format,
        sample_rate=defaults.sample_rate,
        bitrate_kbps=defaults.bitrate_kbps,
        speed=defaults.speed,
        model=defaults.model,
        metadata=defaults.metadata,
        options=defaults.options,
    )
