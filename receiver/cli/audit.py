"""`audit`: whether every completed job has its audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import TIME_FORMS, Config, Json, parse_time
from receiver.cli.output import print_table
from receiver.cli.text_output import echo, echo_error, print_json

if TYPE_CHECKING:
    from receiver.engine.audio_audit import AuditCounts, Finding

UNREADABLE = 2
"""The exit status if the store or the storage cannot be read."""

_COMMANDS = {
    "no_audio": "tts-receiver events show EVENT",
    "missing": "tts-receiver events replay EVENT",
    "other_size": "tts-receiver events replay EVENT",
    "unknown_job": "tts-receiver jobs show JOB",
}
"""What to do about each kind of finding."""


def audit(
    config: Config = None,
    since: Annotated[str, typer.Option("--since", help=f"Jobs that completed since: {TIME_FORMS}.")] = "24h",
    json: Json = False,
) -> None:
    """Compare completed jobs with the stored audio: jobs without a file, files missing or of another size.

    Also lists unknown jobs. Exit 1 if anything is found, 2 if the store or the storage cannot be read.
    """
    from receiver.cli.error_report import lines_of
    from receiver.errors import ReceiverError

    at = parse_time(since, "--since") or 0.0
    try:
        counts, found = _read(config, at)
    except ReceiverError as error:
        echo_error(*lines_of(error))
        raise typer.Exit(UNREADABLE) from None
    if json:
        from dataclasses import asdict

        print_json(asdict(counts) | {"findings": [asdict(finding) for finding in found]})
    else:
        _print(counts, found)
    if found:
        raise typer.Exit(1)


def _read(config: Config, since: float) -> tuple[AuditCounts, list[Finding]]:
    import asyncio

    from receiver.assembly.resources import open_audio
    from receiver.cli.session import open_session
    from receiver.engine.audio_audit import AudioAudit

    with open_session(config) as (settings, database):
        comparison = AudioAudit(database, open_audio(settings), since)

        async def read() -> list[Finding]:
            return [finding async for finding in comparison.run()]

        return comparison.counts, asyncio.run(read())


def _print(counts: AuditCounts, found: list[Finding]) -> None:
    if found:
        print_table(
            f"Findings: {len(found):,}",
            ["what", "source", "event or job", "provider's job", "detail"],
            [(finding.kind, finding.source, finding.id, finding.job_id, finding.detail) for finding in found],
        )
        for kind in dict.fromkeys(finding.kind for finding in found):
            echo(f"{kind}: {_COMMANDS[kind]}")
    else:
        echo("✓ Nothing is missing.")
    echo(f"Examined: {counts.events:,} completed jobs and {counts.files:,} files.")
    if counts.open:
        echo(f"Without a file so far, with runs that have not ended: {counts.open:,}.")
    if counts.without:
        echo(f"Without a file, and no run has failed: {counts.without:,}. No handler asked for it, or there is none.")
