"""Everything about one event, for `events show`: as text with tables."""

from __future__ import annotations

from typing import Any

from receiver.cli.output import cell, console, format_time, print_fields, print_table, print_text
from receiver.engine.replay import reverify
from receiver.errors import ReceiverError
from receiver.model.crashes import state_with_suspicion
from receiver.settings import Settings

_FIELDS = (
    "id", "source", "type", "job_id", "state", "origin", "key_id", "skew", "duplicates", "conflict", "signature",
)  # fmt: skip


def signature_note(settings: Settings, event: dict[str, Any]) -> str:
    """Whether the stored signature is still valid for the stored body."""
    try:
        return "valid" if reverify(settings, event) else "cannot be checked (key retired, or not a webhook)"
    except ReceiverError as error:
        return str(error)


def print_event(event: dict[str, Any]) -> None:
    """Print the event's fields, tables of its runs, their attempts and its audio, and where runs failed.

    Args:
        event: a row of `views.get_event`, with `signature`.
    """
    fields = {name: event[name] for name in _FIELDS}
    fields |= {"metadata": event["payload"].get("metadata") if isinstance(event["payload"], dict) else None}
    fields |= {"received": format_time(event["received_at"]), "body": event["body"].decode("utf-8", "backslashreplace")}
    print_fields(console(), ((name, cell(value)) for name, value in fields.items()))
    print_table(
        "runs",
        ["handler", "state", "attempts", "due", "started", "finished", "result", "error kind", "reason", "error"],
        [
            (
                row["handler"], state_with_suspicion(row["state"], row["crashes"]), row["attempt"] - row["forgiven"],
                format_time(row["due_at"]), format_time(row["started_at"]), format_time(row["finished_at"]),
                row["result"], row["error_kind"], row["reason"], row["error"],
            )
            for row in event["runs"]
        ],
    )  # fmt: skip
    if event["attempts"]:
        print_table(
            "attempts",
            ["handler", "number", "started", "seconds", "outcome", "error kind", "reason", "error"],
            [
                (
                    row["handler"], row["number"], format_time(row["started"]), f"{row['ended'] - row['started']:.3f}",
                    row["outcome"], row["error_kind"], row["reason"], row["error"],
                )
                for row in event["attempts"]
            ],
        )  # fmt: skip
    for row in event["runs"]:
        if row["traceback"]:
            print_text(
                f"traceback of {row['handler']}, attempt {row['traceback']['attempt']}", row["traceback"]["text"]
            )
    if event["artifacts"]:
        columns = ("address", "bytes", "sha256", "format", "duration", "sample_rate", "channels")
        print_table(
            "audio",
            ["address", "bytes", "sha256", "format", "duration s", "rate Hz", "channels", "fetch s"],
            [[*(row[column] for column in columns), f"{row['fetch_seconds']:.3f}"] for row in event["artifacts"]],
        )
