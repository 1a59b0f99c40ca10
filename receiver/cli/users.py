"""`users`: who may log in to the console, and who is logged in."""

from __future__ import annotations

import typer

from receiver.cli.text_output import echo, echo_error
from receiver.errors import ReceiverError

app = typer.Typer(no_args_is_help=True, help="Users: who may log in to the console.")

MAX_CHARACTERS = 4096
"""That are read from a pipe: more than a password has."""


class InvalidPassword(ReceiverError):
    """The password cannot be used; the message says why."""


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


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
