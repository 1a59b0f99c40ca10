"""`usage`: what was charged, by source and day."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Csv, Json, Source, parse_time
from receiver.cli.text_output import echo, echo_error

if TYPE_CHECKING:
    from receiver.cli.lists import Format, Listing
    from receiver.engine.usage import BudgetState, UsageFound


def usage(
    config: Config = None,
    source: Source = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Since this day (UTC): an age (12h, 7d) or an ISO time. Default: 30 days."),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Ask the services what the accounts have left, instead.")
    ] = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Show what jobs were charged by source and day (UTC), the newest day first, and today's budgets.

    The figures are from the receiver's own ledger. Jobs that are deleted stay in it.
    """
    from receiver.cli.lists import Format, list_format, print_rows
    from receiver.cli.session import check_names, open_session
    from receiver.engine.usage import read_usage

    format = list_format(json, csv)
    if balance:
        if since is not None:
            raise typer.BadParameter("--since is for what was charged; a balance is that of now.")
        _print_balances(config, source, format)
        return
    begin = parse_time(since, "--since")
    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        budgets = {name: of.budget for name, of in settings.sources.items()}
        found = database.query_list(read_usage, budgets, begin, source, time.time())
    print_rows(_listing(found), found.rows, format)
    if format is Format.TABLE:
        say = echo if format.is_for_people else echo_error
        if not found.rows:
            say(f"No jobs since {found.since}.")
        for state in found.budgets:
            say(_sentence(state))


def _print_balances(config: Config, source: str | None, format: Format) -> None:
    from receiver.cli.amounts import ask
    from receiver.cli.lists import Listing, print_rows
    from receiver.cli.table_layout import Column
    from receiver.model.charge import credits_text
    from receiver.providers.amounts import balance_request
    from receiver.settings import load
    from receiver.web.api.command_models import AccountBalance

    settings = load(config)
    named = [source] if source is not None else [name for name, of in settings.sources.items() if of.balance]
    if not named:
        raise typer.BadParameter("no source says where its balance is: set balance in a source's table.")
    rows = []
    for name in named:
        of = settings.source(name)
        if of.balance is None:
            raise typer.BadParameter(f"the source {name} does not say where its balance is: set balance in its table.")
        request = balance_request(of.provider, of.account, of.balance.path)
        rows.append((name, credits_text(ask(name, of, request, of.balance.value))))
    columns = (Column("source", lambda row: row[0]), Column("balance", lambda row: row[1], right=True))
    item = lambda row: AccountBalance(source=row[0], balance=row[1])  # noqa: E731
    print_rows(Listing("", columns, AccountBalance, item), rows, format)


def _listing(found: UsageFound) -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.model.charge import credits_text
    from receiver.web.api.usage import UsageOfDay, usage_list_of, usage_of_day

    columns = (
        Column("day", lambda row: row.day),
        Column("source", lambda row: row.source, 1, 10),
        Column("jobs", lambda row: f"{row.used.jobs:,}", right=True),
        Column("characters", lambda row: f"{row.used.characters:,}", right=True),
        Column("reserved", lambda row: f"{row.used.reserved:,}" if row.used.reserved else None, 2, right=True),
        Column("credits", lambda row: credits_text(row.used.credits) if row.used.credits else None, right=True),
    )
    rest = usage_list_of(found, 0).model_dump(mode="json", exclude={"items"})
    return Listing("", columns, UsageOfDay, usage_of_day, extra=lambda: rest)


def _sentence(state: BudgetState) -> str:
    from receiver.model.charge import credits_text

    budget, used = state.budget, state.used
    parts = []
    if budget.characters_per_day is not None:
        parts.append(f"{used.characters:,} of {budget.characters_per_day:,} characters")
    if budget.credits_per_day is not None:
        parts.append(f"{credits_text(used.credits)} of {credits_text(budget.credits_per_day)} credits")
    until = state.resets_at.strftime("%Y-%m-%d %H:%M UTC")
    return f"Budget of {state.source}: {' and '.join(parts)} of today are used. The day ends at {until}."
