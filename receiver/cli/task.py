"""`task submit`: send a request of any kind to a service, wait for its end, and save its files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Json, parse_key_values
from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from receiver.providers.tasks import Task

app = typer.Typer(no_args_is_help=True, help="Tasks: requests of any kind to a service, in its own words.")


class TaskNotRead(ReceiverError):
    """The body of a task cannot be read; the message says why."""

    reason = "bad_task"


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


@app.command()
def submit(
    source: Annotated[str, typer.Option("--source", help="The configured source.")],
    path: Annotated[str, typer.Option("--path", help="Below the source's base_url, such as /v1/audio/speech-to-text.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FILE", help="The JSON object to send; - reads it from standard input.")
    ],
    config: Config = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", help="KEY=VALUE, returned with the event and not sent; repeatable."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="Yours: the same key with the same task is the same job."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The output file; - is standard output. Default: keep the files in the storage and print their paths.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    wait: Annotated[float | None, typer.Option(min=0, help="Maximum wait in seconds. Default: no limit.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Store the job and print its id: a running receiver does the rest.")
    ] = False,
    json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the log, too.")] = False,
) -> None:
    """Submit a task: send a JSON object to a path of the service, wait for the end, save the files.

    A task without files prints what the service reports, such as a transcript. `speech --job` resumes it.
    """
    from receiver.assembly.sources import job_source
    from receiver.cli.speech.single import check_key, run_single, store_job
    from receiver.cli.speech.standard_streams import check_output, destination_of
    from receiver.durable_files import OverwritePolicy
    from receiver.engine.jobs.commands import check_request
    from receiver.settings import load
    from receiver.speech.task import SpeechTask

    if no_wait and output is not None:
        raise typer.BadParameter("--output waits for the files, and --no-wait does not.")
    check_key(idempotency_key)
    settings = load(config)
    target = job_source(settings, source)
    overwrite = OverwritePolicy.REPLACE if force else OverwritePolicy.REFUSE
    check_output(output, overwrite, json)
    request = _read_task(path, data, metadata)
    check_request(target, request)
    if no_wait:
        raise typer.Exit(store_job(settings, target, request, idempotency_key, json))
    task = SpeechTask(
        request=request,
        idempotency_key=idempotency_key,
        output=destination_of(output),
        overwrite=overwrite,
        timeout=wait,
    )
    level = settings.logs.level if verbose else "error"
    raise typer.Exit(run_single(settings, source, task, level, json))


def _read_task(path: str, data: str, metadata: list[str] | None) -> Task:
    from receiver.cli.speech.standard_streams import STANDARD_STREAM
    from receiver.errors import InvalidJson
    from receiver.model.json_body import read_strict_json_object
    from receiver.os_errors import cause_and_advice
    from receiver.providers.tasks import MAX_BODY_BYTES, Task

    name = "Standard input" if data == STANDARD_STREAM else data
    try:
        if data == STANDARD_STREAM:
            raw = sys.stdin.buffer.read(MAX_BODY_BYTES + 1)
        else:
            with Path(data).open("rb") as file:
                raw = file.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise TaskNotRead(f"{name} cannot be read: {cause_and_advice(error)}") from None
    if len(raw) > MAX_BODY_BYTES:
        raise TaskNotRead(f"{name} has more than {MAX_BODY_BYTES:,} bytes, the maximum of a task.")
    try:
        body = read_strict_json_object(raw.removeprefix(b"\xef\xbb\xbf"))
    except InvalidJson as error:
        raise TaskNotRead(f"{name} is not a JSON object. {error}") from None
    return Task(path=path, body=body, metadata=parse_key_values(metadata, "--metadata"))
