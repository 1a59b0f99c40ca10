"""`users`: who may log in to the console, and who is logged in."""

from __future__ import annotations

import re
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Csv, Json
from receiver.cli.text_output import echo, echo_error
from receiver.errors import NotFound, ReceiverError

if TYPE_CHECKING:
    from receiver.cli.lists import Listing
    from receiver.settings import Settings
    from receiver.store.database import Database

app = typer.Typer(no_args_is_help=True, help="Users: who may log in to the console.")

MAX_CHARACTERS = 4096
"""That are read from a pipe: more than a password has."""
MAX_SESSIONS = 1000
"""How many are listed."""
SHOWN_DIGITS = 12
"""Of a session's id in a table."""
_ID = re.compile(r"[0-9a-f]{8,64}")


class InvalidPassword(ReceiverError):
    """The password cannot be used; the message says why."""


@app.command("hash")
def hash_() -> None:
    """Print the hash of a password, for the configuration.

    Asks for the password twice, without showing it; in a pipe it is the first line of standard input.
    """
    from secrets import token_bytes

    from receiver.model.password_hash import SALT_BYTES, hash_password

    hash = hash_password(_read_password(), token_bytes(SALT_BYTES))
    echo(hash)
    echo_error(
        "Put it into the configuration:",
        "  [console.users.NAME]",
        f'  password_hash = "{hash}"',
        '  role = "viewer"  # or "operator", who may also change something',
        "or, better, into the file console__users__NAME__password_hash of the secrets directory. Then restart.",
    )


def _read_password() -> str:
    """The new password.

    Raises:
        InvalidPassword: it cannot be used, or the second one differs.
    """
    import getpass
    import sys

    from receiver.model.password_hash import password_problem

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        _require(password_problem(password))
        if getpass.getpass("The same again: ") != password:
            raise InvalidPassword("The two passwords differ; nothing was printed.")
        return password
    try:
        password = sys.stdin.readline(MAX_CHARACTERS).removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidPassword("The password is not text in the terminal's encoding.") from None
    _require(password_problem(password))
    return password


def _require(problem: str | None) -> None:
    if problem is not None:
        raise InvalidPassword(f"The password {problem}.")


@app.command("sessions")
def sessions_(config: Config = None, json: Json = False, csv: Csv = False) -> None:
    """List who is logged in to the console."""
    from dataclasses import asdict

    from receiver.cli.lists import list_format, print_rows
    from receiver.cli.session import open_session
    from receiver.store import sessions
    from receiver.web.console.sessions import is_current

    format = list_format(json, csv)
    now = time.time()
    with open_session(config) as (settings, database):
        found = database.query_list(sessions.list_sessions, now, MAX_SESSIONS)
    print_rows(_listing(settings), [asdict(row) for row in found if is_current(row, now)], format)


def _listing(settings: Settings) -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.output import format_time
    from receiver.cli.table_layout import Column
    from receiver.model.timestamps import utc
    from receiver.web.api.setup_models import ConsoleSession

    known = {"user": set(settings.console.users), "token": {token.id for token in settings.api.tokens}}

    def is_configured(row: dict[str, Any]) -> bool:
        return row["actor"] in known.get(row["kind"], ())

    def item(row: dict[str, Any]) -> ConsoleSession:
        times: dict[str, Any] = {name: utc(row[name]) for name in ("created_at", "seen_at", "expires_at")}
        same: dict[str, Any] = {name: row[name] for name in ("id", "actor", "client")}
        return ConsoleSession(credential=row["kind"], configured=is_configured(row), **same, **times)

    columns = (
        Column("session", lambda row: row["id"][:SHOWN_DIGITS]),
        Column("who", lambda row: f"{row['actor']} ({row['kind']})", 0, 12),
        Column("last page", lambda row: format_time(row["seen_at"])),
        Column("expires", lambda row: format_time(row["expires_at"]), 1),
        Column("from", itemgetter("client"), 2),
        Column("begun", lambda row: format_time(row["created_at"]), 3),
        Column("note", lambda row: None if is_configured(row) else "ended: not configured", 0),
    )
    return Listing("Sessions", columns, ConsoleSession, item)


@app.command()
def revoke(
    sessions: Annotated[
        list[str] | None, typer.Argument(help="Sessions, by id or its first 8 or more digits.", metavar="[SESSION…]")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="All sessions of this user, or of this token's id.")
    ] = None,
    config: Config = None,
) -> None:
    """End sessions of the console: the next page that one of them opens is the login.

    Whoever knows the password or has the token can log in again: change it in the configuration.
    """
    from receiver.cli.recording import auditor
    from receiver.cli.session import open_session
    from receiver.engine.audit import recorded
    from receiver.model.audit import AuditOperation
    from receiver.store import sessions as stored

    if bool(sessions) == (user is not None):
        raise typer.BadParameter("Name sessions, or a user with --user; `tts-receiver users sessions` lists both.")
    with open_session(config) as (settings, database):
        ids = [_find(database, text) for text in sessions or ()]
        recorder = auditor(settings, AuditOperation.REVOKE_SESSIONS).single(sessions=ids, user=user)
        if user is not None:
            ended = database.transact(recorded, recorder, int, stored.remove_of, user)
        else:
            ended = database.transact(recorded, recorder, int, stored.remove, ids)
    if user is not None and not ended:
        raise NotFound(f"There is no session of {user}; `tts-receiver users sessions` lists the sessions.")
    echo(f"Ended: {ended:,}.")


def _find(database: Database, text: str) -> str:
    """The id of the session whose id begins so.

    Raises:
        typer.BadParameter: it is no beginning of an id.
        NotFound: no session has such an id, or several have.
    """
    from receiver.store.sessions import find_by_prefix

    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not the id of a session, nor 8 or more of its first digits.")
    found = database.query_list(find_by_prefix, text)
    if len(found) != 1:
        what = "More than one session has an id that begins" if found else "There is no session whose id begins"
        raise NotFound(f"{what} with {text}; `tts-receiver users sessions` lists the sessions.")
    return found[0]
