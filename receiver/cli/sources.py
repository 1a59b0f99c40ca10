"""`sources list` and `sources test`: what is configured, and whether each provider can be reached with its key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Json
from receiver.cli.output import cell, console, iso, print_table, when
from receiver.cli.text_output import print_json

if TYPE_CHECKING:
    from receiver.cli.key_notes import KeyUses
    from receiver.cli.source_probe import ProbeResult
    from receiver.settings import Settings, Source
    from receiver.store import pace

    Pauses = dict[str, pace.Pace]

app = typer.Typer(no_args_is_help=True, help="The configured sources.")

_CAN = {
    "webhooks": "webhooks",
    "idempotent_submit": "safe submit",
    "voices": "voices",
    "history": "history",
    "streaming": "streaming",
    "several_outputs": "several files",
    "registers_webhooks": "registers webhooks",
}
"""The capabilities that one word says, in short."""


@app.callback()
def _sources() -> None:
    """The configured sources."""


@app.command("list")
def list_(config: Config = None, json: Json = False) -> None:
    """Show the sources: how their jobs' ends are heard of, what they can do, a pause, their signing secrets."""
    from receiver.settings import load

    settings = load(config)
    now = time.time()
    uses, pauses = _stored(settings, now)
    rows = [_row(settings, name, uses, pauses, now) for name in settings.sources]
    if json:
        print_json(rows)
        return
    print_table(
        f"Sources: {len(rows)}",
        ["name", "provider", "base url", "api key", "webhook path", "polled", "can", "paused", "signing secrets"],
        [
            (
                row["name"],
                " ".join(filter(None, (row["provider"], row["api_version"]))),
                row["base_url"],
                _yes(row["api_key"]),
                row["webhook_path"],
                _yes(row["polled"]),
                ", ".join(_in_short(settings.sources[row["name"]])) or None,
                _paused(row["pause"]),
                "; ".join(row["notes"]) if row["signing_secrets"] else None,
            )
            for row in rows
        ],
    )


@app.command("test")
def try_sources(
    names: Annotated[list[str] | None, typer.Argument(help="The sources; all if none is named.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Reach each provider with its key: does it work, how long does it take, what is left of the rate limit.

    Costs nothing: it asks for voices, or for a job that cannot exist, and tries a wrong key beside yours, to see
    whether keys are checked there. Exit 1 if any fails.
    """
    import asyncio

    from receiver.settings import load

    settings = load(config)
    chosen = {name: settings.source(name) for name in names or settings.sources}
    tried = asyncio.run(_try_all(chosen))
    if json:
        print_json([_plain(one) for one in tried])
    else:
        for one in tried:
            _say(one)
    if not all(one.ok for one in tried):
        raise typer.Exit(1)


async def _try_all(chosen: dict[str, Source]) -> list[ProbeResult]:
    import asyncio

    from receiver.cli.source_probe import probe_source
    from receiver.outbound.guarded_transport import trusted_certificates

    trusted = trusted_certificates()
    return await asyncio.gather(*(probe_source(name, source, trusted) for name, source in chosen.items()))


def _stored(settings: Settings, now: float) -> tuple[KeyUses, Pauses]:
    """What the store says of the sources, if it is there: the uses of secrets, and the pauses."""
    from receiver.assembly.resources import open_database
    from receiver.store import pace, views
    from receiver.store.migrate import revision
    from receiver.store.schema import HEAD

    database = open_database(settings)
    try:
        found = database.query(revision) if database.path.exists() else None
        if found is None:
            return {}, {}
        # A store of an earlier release is read as far as its tables are the same ones.
        return database.query(views.key_uses), database.query(pace.pauses, now) if found == HEAD else {}
    finally:
        database.close()


def _row(settings: Settings, name: str, uses: KeyUses, pauses: Pauses, now: float) -> dict[str, Any]:
    from receiver.cli.key_notes import key_notes

    source = settings.sources[name]
    can = _abilities(source)
    return {
        "name": name,
        "provider": source.provider,
        "api_version": source.api_version,
        "base_url": source.origin or None,
        "api_key": source.api_key is not None,
        "webhook_path": settings.webhook_path(name) if source.receives_webhooks else None,
        "polled": can["polling"] and source.api_key is not None,
        "capabilities": {word: can[word] for word in ("polling", *_CAN, "formats")},
        "pause": _pause(pauses.get(name), now),
        "signing_secrets": [
            iso({"id": key.id, "last_used_at": uses.get((name, key.id), (None, None))[1]}, "last_used_at")
            for key in source.signing_keys()
        ],
        "notes": key_notes(name, source, uses, now),
    }


def _abilities(source: Source) -> dict[str, Any]:
    from receiver.providers.protocols import abilities

    return abilities(source.spoken)


def _in_short(source: Source) -> list[str]:
    can = _abilities(source)
    return [short for word, short in _CAN.items() if can[word]] + list(can["formats"])


def _pause(stored: pace.Pace | None, now: float) -> dict[str, Any] | None:
    """The pause as JSON values. One of the polls alone leaves what is left of a rate limit to other requests."""
    if stored is None or max(stored.pause_until, stored.poll_pause_until) <= now:
        return None
    if stored.pause_until > now:
        return iso({"until": stored.pause_until, "reason": stored.why, "polls_only": False}, "until")
    return iso({"until": stored.poll_pause_until, "reason": "rate limit nearly used up", "polls_only": True}, "until")


def _paused(pause: dict[str, Any] | None) -> str | None:
    if pause is None:
        return None
    return f"{'polls, ' if pause['polls_only'] else ''}until {pause['until'][:19]}Z ({pause['reason']})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _plain(one: ProbeResult) -> dict[str, Any]:
    """The outcome as JSON values."""
    limit = one.rate_limit
    return one._asdict() | {"rate_limit": iso(limit._asdict(), "reset_at") if limit is not None else None}


def _say(one: ProbeResult) -> None:
    out = console()
    version = f" {one.api_version}" if one.api_version else ""
    unproved = one.asked is not None and one.key == "unknown"
    mark = "[bold red]✗[/]" if not one.ok else "[yellow]?[/]" if unproved else "[green]✓[/]"
    where = f" at {one.base_url}" if one.base_url else ""
    out.print(f"{mark} [bold]{cell(one.name)}[/]: {cell(f'{one.provider}{version}{where}')}")
    out.print(f"  {cell(one.detail)}")
    if one.advice:
        out.print(f"  {cell(one.advice)}")
    facts = []
    if one.round_trip_ms is not None:
        facts.append(f"asked for {one.asked}: {one.round_trip_ms:.0f} ms")
    if one.rate_limit is not None:
        facts.append(_limit(one))
    if facts:
        out.print(f"  {cell('; '.join(facts))}")


def _limit(one: ProbeResult) -> str:
    limit = one.rate_limit
    if limit is None:
        return ""
    left = "?" if limit.remaining is None else limit.remaining
    text = f"rate limit: {left} of {'?' if limit.limit is None else limit.limit} left"
    if limit.reset_at is not None:
        text += f" until {when(limit.reset_at)}"
    return text + (f" (bucket {limit.bucket})" if limit.bucket else "")
