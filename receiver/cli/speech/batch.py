"""`speech --file`: run a batch, and print what is wrong with its lines, its progress and its summary."""

from __future__ import annotations

import os

from receiver.assembly.sources import job_source
from receiver.cli.speech.process import run
from receiver.cli.speech.progress import BatchLines, one_line
from receiver.cli.text_output import echo, echo_error, print_json
from receiver.settings import Settings
from receiver.speech.batch import line_numbers, open_batch
from receiver.speech.batch_runner import BatchStats
from receiver.speech.client import SpeechClient
from receiver.speech.options import BatchOptions
from receiver.speech.preflight import Preflight


def run_batch(settings: Settings, source: str, options: BatchOptions, level: str, *, json: bool) -> int:
    """Run the batch; the exit code.

    Args:
        level: of the log lines on standard error.
        json: whether to print the summary as JSON.

    Raises:
        SpeechError: nothing was submitted, because of the input or the report; or the timeout has passed.
    """
    with open_batch(options, job_source(settings, source)) as batch:
        found = batch.preflight
        _print_preflight(found)
        batch.begin()

        async def work(client: SpeechClient) -> int:
            with BatchLines(found.total, options.folder) as progress:
                progress.begin(found.done)
                stats = await batch.run(client, progress)
            if stats.halted is not None:
                echo_error(
                    f"tts-receiver: {one_line(stats.halted)} No further lines were started. Once that is fixed, the "
                    "same command with --retry-failed continues.",
                )
            if json:
                print_json(_summary(stats, found, options))
            else:
                _print_summary(stats, found, options)
            return 0 if stats.done == stats.total else 1

        return run(settings, source, work, level=level)


def _print_preflight(found: Preflight) -> None:
    """Everything that is wrong with the lines, before anything is submitted."""
    for line in found.invalid:
        echo_error(one_line(str(line)))
    unlisted = len(found.invalid_numbers) - len(found.invalid)
    if unlisted:
        echo_error(f"… and {unlisted} more")
    if found.removed and not found.changed:
        echo_error(f"{line_numbers(found.removed)} in the report but no longer in the input.")


def _summary(stats: BatchStats, found: Preflight, options: BatchOptions) -> dict[str, object]:
    return {
        "total": stats.total,
        "completed": stats.done,
        "failed": stats.failed,
        "unknown": stats.unknown,
        "left": stats.remaining,
        "skipped": len(found.invalid_numbers),
        "folder": os.fspath(options.folder),
        "report": os.fspath(options.report),
    }


def _print_summary(stats: BatchStats, found: Preflight, options: BatchOptions) -> None:
    others = [f"{stats.failed} failed"] if stats.failed else []
    others += [f"{stats.remaining} not started"] if stats.remaining else []
    others += [f"{len(found.invalid_numbers)} skipped as invalid"] if found.invalid_numbers else []
    listed = "".join(f", {part}" for part in others)
    echo(f"{stats.done} of {stats.total} lines are saved in {options.folder}{listed}. Report: {options.report}")
    if stats.failed > stats.unknown and not options.retry.failed and stats.halted is None:
        echo_error("--retry-failed retries the lines that failed.")
    if stats.unknown:
        echo_error(
            "It is unknown whether the `unknown` lines were charged for: check at the provider. The report has the "
            "error of each. --retry-unknown retries them anyway.",
        )
