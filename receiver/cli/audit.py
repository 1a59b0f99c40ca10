"""`audit`: whether every completed job has its audio."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import TIME_FORMS, Config, Json, parse_time
from receiver.cli.text_output import echo, echo_error, print_model

if TYPE_CHECKING:
    from receiver.web.api.audio_audit import AudioAudit

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
        found = _read(config, at)
    except ReceiverError as error:
        echo_error(*lines_of(error))
        raise typer.Exit(UNREADABLE) from None
    if json:
        print_model(found)
    else:
        _print(found)
    if found.items:
        raise typer.Exit(1)


def _read(config: Config, since: float) -> AudioAudit:
    """All pages as one."""
    import asyncio

    from receiver.assembly.resources import open_audio
    from receiver.cli.session import open_session
    from receiver.engine.audio_audit import AuditCounts, Finding, audit_page
    from receiver.model.redact import Redactor
    from receiver.web.api.audio_audit import audio_audit_of
    from receiver.web.api.fields import MAX_ITEMS

    with open_session(config) as (settings, database):
        storage = open_audio(settings)

        async def read() -> tuple[AuditCounts, list[Finding]]:
            counts, findings, before = AuditCounts(), list[Finding](), None
            while True:
                page = await audit_page(database, storage, since, before, MAX_ITEMS)
                counts += page.counts
                findings += page.findings
                if page.last is None:
                    return counts, findings
                before = page.last.rpartition("_")[2]

        return audio_audit_of(*asyncio.run(read()), None, Redactor(settings.secrets()))


def _print(found: AudioAudit) -> None:
    if found.items:
        from receiver.cli.event_lists import PROVIDER_ID
        from receiver.cli.lists import print_table
        from receiver.cli.table_layout import Column

        columns = (
            Column("what", attrgetter("kind")),
            Column("source", attrgetter("source"), 2, 10),
            Column("event or job", attrgetter("id")),
            Column("provider's job", attrgetter("job_id"), 2, PROVIDER_ID),
            Column("detail", attrgetter("detail"), 1, 20),
        )
        print_table(columns, found.items)
        echo(f"Findings: {len(found.items):,}")
        for kind in dict.fromkeys(finding.kind for finding in found.items):
            echo(f"{kind}: {_COMMANDS[kind]}")
    of = found.examined
    if not found.items:
        echo(
            "✓ Nothing is missing." if of.events or of.files else "Nothing to examine: no job has completed since then."
        )
    echo(f"Examined: {of.events:,} completed jobs and {of.files:,} files.")
    if of.open:
        echo(f"Without a file so far, with runs that have not ended: {of.open:,}.")
    if of.without_audio:
        echo(f"Without a file, and no run has failed: {of.without_audio:,}. No handler asked for it, or there is none.")
