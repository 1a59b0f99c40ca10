"""One request, for `speech` and `task submit`: run it to its end, or store it for a running receiver."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from receiver.cli.text_output import echo, echo_error, print_model, print_value

if TYPE_CHECKING:
    from receiver.engine.jobs.requests import JobRequest
    from receiver.engine.jobs.source import JobSource
    from receiver.settings import Settings
    from receiver.speech.client import SpeechClient
    from receiver.speech.task import SpeechResult, SpeechTask
    from receiver.web.api.command_models import SpeechResult as ResultModel


def check_key(key: str | None) -> None:
    """Check an idempotency key, if there is one.

    Raises:
        typer.BadParameter: it cannot be one.
    """
    from receiver.model.ids import MAX_CLIENT_KEY, is_client_key

    if key is not None and not is_client_key(key):
        what = f"has up to {MAX_CLIENT_KEY} visible ASCII characters, and no space at either end."
        raise typer.BadParameter(what, param_hint="--idempotency-key")


def run_single(settings: Settings, source: str, task: SpeechTask, level: str, json: bool) -> int:
    """Run one task to its end, and print its files, or what it reports if it has none; return the exit code."""
    from receiver.cli.speech.process import run
    from receiver.cli.speech.progress import TaskProgress, one_line
    from receiver.model.charge import NO_CHARGE, charge_of
    from receiver.model.redact import Redactor
    from receiver.model.redact_json import redact_json
    from receiver.speech.task import run_task

    results: list[SpeechResult] = []

    async def work(client: SpeechClient) -> int:
        with TaskProgress() as progress:
            results.append(await run_task(client, task, progress))
        return 0 if results[0].error is None else 1

    code = run(settings, source, work, level=level)
    if not results:
        return code
    result = results[0]
    if result.error is not None:
        echo_error(f"tts-receiver: {one_line(result.error)}")
    if json:
        print_model(_result_of(result, settings))
    elif result.error is None and (task.output is None or isinstance(task.output, Path)):
        for path in result.paths:
            echo(str(path))
        if not result.paths and result.result is not None:
            print_value(redact_json(result.result, Redactor(settings.secrets())))
    if not json and charge_of(result.row) != NO_CHARGE:
        echo_error(f"Charged: {charge_of(result.row)}.")
    return code


def _result_of(result: SpeechResult, settings: Settings) -> ResultModel:
    """The result as a model: of the job as the API has it, and of its files."""
    from receiver.model.redact import Redactor
    from receiver.model.redact_json import redact_json
    from receiver.web.api.command_models import SavedFile
    from receiver.web.api.command_models import SpeechResult as ResultModel
    from receiver.web.api.rows import job_of

    redact = Redactor(settings.secrets())
    same = ("bytes", "sha256", "kind", "content_type", "format", "sample_rate", "channels")
    files = [
        SavedFile(path=path, duration_seconds=file.duration, **{name: getattr(file, name) for name in same})
        for file, path in zip(result.files, result.paths, strict=True)
    ]
    job = job_of(result.row, redact).model_dump()
    error = None if result.error is None else redact(result.error)
    reported = redact_json(result.result, redact)
    elapsed = round(result.seconds, 3)
    return ResultModel(**{**job, "files": files, "result": reported, "elapsed_seconds": elapsed, "error": error})


def store_job(settings: Settings, target: JobSource, request: JobRequest, key: str | None, json: bool) -> int:
    """Store a job for a running receiver, and print its id; return the exit code.

    Args:
        key: the idempotency key, if there is one.
    """
    from receiver.assembly.resources import open_database
    from receiver.cli.recording import auditor
    from receiver.engine.jobs.commands import audit_operation, describe_request, new_job, submit_job
    from receiver.store.migrate import migrate

    database = open_database(settings)
    try:
        migrate(database)
        database.announce_commits()
        recorder = auditor(settings, audit_operation(request)).single(**describe_request(target.name, request))
        job = new_job(target, request, key, time.time(), random.Random())  # noqa: S311 - ids need no secrecy
        row, _ = database.transact_again(submit_job, recorder, job)
    finally:
        database.close()
    if json:
        from receiver.model.redact import Redactor
        from receiver.web.api.rows import job_of

        print_model(job_of(row, Redactor(settings.secrets())))
    else:
        echo(row["id"])
    return 0
