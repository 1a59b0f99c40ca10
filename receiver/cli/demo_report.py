"""What the demo prints: the progress, the report, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, JustifyMethod
from rich.table import Table

from receiver.cli.output import cell
from receiver.model.printable import printable

if TYPE_CHECKING:
    from receiver.cli.demo_scenario import Scenario
    from receiver.simulator import Simulator

WIDTH_OF_ALL_COLUMNS = 160
"""On a narrower terminal the last table leaves out attempts and hashes."""


def progress_table(scenario: Scenario) -> Table:
    """How far each job is."""
    by_job = {event["job_id"]: event for event in scenario.events()}
    table = Table(title="In progress", title_justify="left")
    for column in ("text", "at the provider", "deliveries", "event", "handlers"):
        table.add_column(column)
    for job in scenario.sim.jobs:
        event = by_job.get(job.id)
        sent = sum(delivery.job_id == job.id for delivery in scenario.sim.deliveries)
        handlers = ", ".join(f"{run['handler']} {run['state']}" for run in event["runs"]) if event else None
        table.add_row(
            cell(scenario.texts[job.id]), cell(job.state), cell(sent or None), cell(event["type"] if event else None),
            cell(handlers),
        )  # fmt: skip
    return table


def print_report(scenario: Scenario, root: Path, out: Console) -> None:
    """Print what happened to each event, and the counts."""
    events = scenario.events()
    columns = ("event", "origin", "handler", "attempts", "file", "bytes", "SHA-256", "duration")
    left_out = {"attempts", "SHA-256"} if out.width < WIDTH_OF_ALL_COLUMNS else set()
    table = Table(title="What happened", title_justify="left")
    for column in columns:
        if column not in left_out:
            justify: JustifyMethod = "right" if column in ("attempts", "bytes", "duration") else "left"
            table.add_column(column, overflow="fold", justify=justify, no_wrap=column not in ("event", "file"))
    for event in events:
        artifact = event["artifacts"][0] if event["artifacts"] else None
        for run in event["runs"]:
            what = f"{event['source']} {event['type']} {event['job_id'][:8]}"
            row: list[Any] = [what, event["origin"], run["handler"], run["attempt"]]
            if artifact and run["handler"] == "save_audio":
                address = Path(artifact["address"])
                sha256 = artifact["sha256"] if out.width >= 200 else artifact["sha256"][:12] + "…"
                file = address.relative_to(root) if address.is_relative_to(root) else address
                row += [file, f"{artifact['bytes']:,}", sha256, f"{artifact['duration'] or 0:.2f} s"]
            else:
                row += [None] * 4
            shown = zip(columns, row, strict=True)
            table.add_row(*(cell(value) for column, value in shown if column not in left_out))
    out.print(table)
    webhooks = sum(event["origin"] == "webhook" for event in events)
    kinds = [delivery.kind for delivery in scenario.sim.deliveries]
    statuses = {delivery.status for delivery in scenario.sim.deliveries if delivery.kind == "forged"}
    out.print(
        f"{len(events)} events: {webhooks} by webhook, {len(events) - webhooks} by polling. {len(kinds)} deliveries: "
        f"{webhooks} accepted, {sum(event['duplicates'] for event in events)} duplicates counted, "
        f"{kinds.count('forged')} forged (answered {', '.join(map(str, statuses))}).",
        soft_wrap=True,
    )
    if scenario.streamed is not None:
        out.print(scenario.streamed.summary(), markup=False, soft_wrap=True)
    out.print(scenario.application.summary(events), markup=False, soft_wrap=True)
    out.print(
        f"Everything is in [bold]{cell(root)}[/]: audio in data/audio, the store data/receiver.db, receiver.log",
        soft_wrap=True,
    )


def print_hints(sim: Simulator, address: str, private: str, config: Path, out: Console) -> None:
    """Print what can be tried while the servers run."""
    out.print(
        f"\nThe servers keep running until Ctrl-C. The console is at [bold]{private}/console[/]. Try:", soft_wrap=True
    )
    out.print(
        f"  curl -X POST {sim.base_url}/api/v1/tts -H 'Authorization: Bearer {sim.api_key}' "
        """-H 'Content-Type: application/json' -d '{"text":"Hello","voice_id":"alloy","output_format":"mp3"}'""",
        markup=False,
        soft_wrap=True,
    )
    out.print(f"  tts-receiver events list --config {printable(str(config))}", markup=False, soft_wrap=True)
    out.print(
        f"  tts-receiver send --source aitts --url {address}/webhooks/aitts --config {printable(str(config))}",
        markup=False,
        soft_wrap=True,
    )
