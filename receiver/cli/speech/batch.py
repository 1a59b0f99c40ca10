"""`speech --file`: run a batch, and print its invalid lines, its progress and its summary."""

from __future__ import annotations

import os

from receiver.assembly.sources import job_source
from receiver.cli.error_report import OVER_BUDGET
from receiver.cli.speech.process import run
from receiver.cli.speech.progress import BatchLines, one_line
from receiver.cli.text_output import echo, echo_error, print_model
from receiver.model.charge import NO_CHARGE, credits_text
from receiver.settings import Settings
from receiver.speech.batch import line_numbers, open_batch
from receiver.speech.client import SpeechClient
from receiver.speech.options import BatchOptions
from receiver.speech.preflight import Preflight
from receiver.speech.progress import BatchStats
from receiver.web.api.command_models import SpeechBatch


def run_batch(settings: Settings, source: str, options: BatchOptions, level: str, *, json: bool) -> int:
    """Run the batch; return the exit code.

    Args:
        level: of the log lines on standard error.
        json: whether to print the summary as JSON.

    Raises:
        SpeechError: the input or the report cannot be used, so nothing was submitted; or the timeout has passed.
    """
    with open_batch(options, job_source(settings, source)) as batch:
        preflight = batch.preflight
        _print_preflight(preflight)
        batch.begin()

        async def work(client: SpeechClient) -> int:
            with BatchLines(preflight.total, options.folder) as progress:
                progress.begin(preflight.done)
                stats = await batch.run(client, progress)
            if stats.halted is not None:
                again = (
                    "The same command continues then."
                    if stats.over_budget
                    else "Once that is fixed, the same command with --retry-failed continues."
                )
                echo_error(f"tts-receiver: {one_line(stats.halted)} No further lines were started. {again}")
            if json:
                print_model(_summary(stats, preflight, options))
            else:
                _print_summary(stats, preflight, options)
            if stats.over_budget:
                return OVER_BUDGET
            return 0 if stats.done == stats.total else 1

        return run(settings, source, work, level=level)


def _print_preflight(preflight: Preflight) -> None:
    """Print the invalid lines, and the lines that are no longer in the input."""
    for line in preflight.invalid:
        echo_error(one_line(str(line)))
    unlisted = len(preflight.invalid_numbers) - len(preflight.invalid)
    if unlisted:
        echo_error(f"… and {unlisted} more")
    if preflight.removed and not preflight.changed:
        echo_error(f"{line_numbers(preflight.removed)} in the report but no longer in the input.")


def _summary(stats: BatchStats, preflight: Preflight, options: BatchOptions) -> SpeechBatch:
    return SpeechBatch(
        total=stats.total,
        completed=stats.done,
        failed=stats.failed,
        unknown=stats.unknown,
        remaining=stats.remaining,
        skipped=len(preflight.invalid_numbers),
        chars_charged=stats.charge.characters,
        credits_used=None if stats.charge.credits is None else credits_text(stats.charge.credits),
        folder=os.fspath(options.folder),
        report=os.fspath(options.report),
    )


def _print_summary(stats: BatchStats, preflight: Preflight, options: BatchOptions) -> None:
    others = [f"{stats.failed} failed"] if stats.failed else []
    others += [f"{stats.remaining} not started"] if stats.remaining else []
    others += [f"{len(preflight.invalid_numbers)} skipped as invalid"] if preflight.invalid_numbers else []
    listed = "".join(f", {part}" for part in others)
    echo(f"{stats.done} of {stats.total} lines are saved in {options.folder}{listed}. Report: {options.report}")
    if stats.charge != NO_CHARGE:
        echo_error(f"Charged for the lines of this run: {stats.charge}.")
    if stats.failed > stats.unknown and not options.retry.failed and stats.halted is None:
        echo_error("--retry-failed retries the lines that failed.")
    if stats.unknown:
        echo_error(
            "It is unknown whether the `unknown` lines were charged for: check at the provider. The report has the "
            "error of each. --retry-unknown retries them anyway.",
        )
