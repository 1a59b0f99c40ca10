"""`sources list` shows the configured sources; `sources test` checks that each can be reached with its key."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Csv, Json
from receiver.cli.output import cell, console, format_time
from receiver.cli.text_output import print_model

if TYPE_CHECKING:
    from receiver.cli.lists import Listing
    from receiver.cli.source_probe import ProbeResult
    from receiver.engine.key_notes import KeyUses
    from receiver.settings import Settings, Source
    from receiver.web.api.setup import Limits
    from receiver.web.api.setup_models import SourceTest

app = typer.Typer(no_args_is_help=True, help="The configured sources.")

_CAPABILITY_LABELS = {
    "webhooks": "webhooks",
    "idempotent_submit": "safe submit",
    "voices": "voices",
    "history": "history",
    "streaming": "streaming",
    "several_outputs": "several files",
    "registers_webhooks": "registers webhooks",
}
"""Short labels for the table."""


@app.callback()
def _sources() -> None:
    """The configured sources."""


@app.command("list")
def list_(config: Config = None, json: Json = False, csv: Csv = False) -> None:
    """List the sources: webhook path, polling, capabilities, a pause, and signing secrets."""
    from receiver.cli.lists import list_format, print_rows
    from receiver.settings import load

    format = list_format(json, csv)
    settings = load(config)
    now = time.time()
    uses, limits = _read_store(settings, now)
    rows = [_row(settings, name, uses, limits, now) for name in settings.sources]
    print_rows(_listing(), rows, format)


def _listing() -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.web.api.setup_models import ConfiguredSource

    columns = (
        Column("name", itemgetter("name"), 0, 10),
        Column("provider", lambda row: " ".join(filter(None, (row["provider"], row["api_version"]))), 1, 8),
        Column("base url", itemgetter("base_url"), 5, 20),
        Column("api key", lambda row: _yes_or_no(row["api_key"]), 3),
        Column("webhook path", itemgetter("webhook_path"), 2, 20),
        Column("polled", lambda row: _yes_or_no(row["polled"]), 3),
        Column("can", lambda row: ", ".join(_capability_labels(row["capabilities"])), 6, 20),
        Column("paused", lambda row: _format_pause(row["pause"]), 1, 20),
        Column("rate limit left", lambda row: _format_limits(row["rate_limits"]), 4, 12),
        Column("signing secrets", lambda row: "; ".join(row["notes"]) if row["signing_secrets"] else None, 4, 20),
    )
    return Listing("Sources", columns, ConfiguredSource, lambda row: ConfiguredSource(**row))


@app.command("test")
def check_sources(
    names: Annotated[list[str] | None, typer.Argument(help="The sources; all if none is named.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Test each provider with its key: whether it works, the round-trip time, what is left of the rate limit.

    It is free of charge: it requests the voices, or a job that cannot exist, and repeats the request with a wrong key
    to see whether the provider checks keys. Exit 1 if any test fails.
    """
    import asyncio

    from receiver.settings import load

    settings = load(config)
    chosen = {name: settings.source(name) for name in names or settings.sources}
    results = asyncio.run(_probe_all(chosen))
    if json:
        from receiver.web.api.setup_models import SourceTestList

        print_model(SourceTestList(items=[_item(result) for result in results]))
    else:
        for result in results:
            _print_result(result)
    if not all(result.ok for result in results):
        raise typer.Exit(1)


async def _probe_all(chosen: dict[str, Source]) -> list[ProbeResult]:
    import asyncio

    from receiver.cli.source_probe import probe_source
    from receiver.outbound.guarded_transport import trusted_certificates

    trusted = trusted_certificates()
    return await asyncio.gather(*(probe_source(name, source, trusted) for name, source in chosen.items()))


def _read_store(settings: Settings, now: float) -> tuple[KeyUses, Limits]:
    """The uses of signing secrets and the limits of requests from the store; empty if there is no store."""
    from receiver.assembly.resources import open_database
    from receiver.store import views
    from receiver.store.migrate import is_usable, revision
    from receiver.web.api.setup import Limits, read_limits

    database = open_database(settings)
    try:
        if not database.exists() or database.query(revision) is None:
            return {}, Limits({}, {})
        # From a store of an earlier release only tables that have not changed are read.
        uses = database.query(views.key_uses)
        return uses, database.query(read_limits, now) if database.query(is_usable) else Limits({}, {})
    finally:
        database.close()


def _row(settings: Settings, name: str, uses: KeyUses, limits: Limits, now: float) -> dict[str, Any]:
    from receiver.web.api.setup import source_of

    return source_of(settings, name, uses, limits, now).model_dump(mode="json")


def _capability_labels(can: dict[str, Any]) -> list[str]:
    return [short for word, short in _CAPABILITY_LABELS.items() if can[word]] + list(can["formats"])


def _format_pause(pause: dict[str, Any] | None) -> str | None:
    if pause is None:
        return None
    return f"{'polls, ' if pause['polls_only'] else ''}until {pause['until'][:19]}Z ({pause['reason']})"


def _format_limits(limits: list[dict[str, Any]]) -> str | None:
    from receiver.cli.status import format_rate_limit
    from receiver.web.api.setup_models import RateBucket

    return ", ".join(format_rate_limit(RateBucket(**of)) for of in limits) or None


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _item(result: ProbeResult) -> SourceTest:
    from receiver.web.api.fields import optional_utc
    from receiver.web.api.setup_models import RateLimit, SourceTest

    limit = result.rate_limit
    left = None if limit is None else RateLimit(**{**limit._asdict(), "reset_at": optional_utc(limit.reset_at)})
    return SourceTest(**{**result._asdict(), "rate_limit": left})


def _print_result(result: ProbeResult) -> None:
    out = console()
    version = f" {result.api_version}" if result.api_version else ""
    unproved = result.requested is not None and result.key == "unknown"
    mark = "[bold red]✗[/]" if not result.ok else "[yellow]?[/]" if unproved else "[green]✓[/]"
    where = f" at {result.base_url}" if result.base_url else ""
    out.print(f"{mark} [bold]{cell(result.name)}[/]: {cell(f'{result.provider}{version}{where}')}")
    out.print(f"  {cell(result.detail)}")
    if result.advice:
        out.print(f"  {cell(result.advice)}")
    facts = []
    if result.round_trip_seconds is not None:
        facts.append(f"requested {result.requested}: {result.round_trip_seconds * 1000:.0f} ms")
    if result.rate_limit is not None:
        facts.append(_format_rate_limit(result))
    if facts:
        out.print(f"  {cell('; '.join(facts))}")


def _format_rate_limit(result: ProbeResult) -> str:
    limit = result.rate_limit
    if limit is None:
        return ""
    left = "?" if limit.remaining is None else limit.remaining
    text = f"rate limit: {left} of {'?' if limit.limit is None else limit.limit} left"
    if limit.reset_at is not None:
        text += f" until {format_time(limit.reset_at)}"
    return text + (f" (bucket {limit.bucket})" if limit.bucket else "")
