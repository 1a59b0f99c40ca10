"""Read the account owner's ID token from a file, standard input or the environment, never from the command line.

Every user of the machine sees arguments in the process list, and the shell keeps them in its history.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from receiver.errors import ReceiverError

VARIABLE = "AITTS_ID_TOKEN"
"""Without the prefix TTS_RECEIVER_, which is for settings."""
MAX_LENGTH = 16_384
"""Characters. An ID token has about a thousand."""

IdTokenFile = Annotated[
    Path | None,
    typer.Option(
        "--id-token-file",
        help=f"A file that holds the ID token of the account's owner; - for standard input. Default: ${VARIABLE}.",
        allow_dash=True,
    ),
]


class InvalidIdToken(ReceiverError):
    """There is no valid ID token; the message says how to pass one."""


def read_id_token(file: Path | None) -> str:
    """The ID token, without white space around it.

    Raises:
        InvalidIdToken: there is none, or it is invalid.
    """
    if file is None:
        token, where = os.environ.get(VARIABLE, ""), f"${VARIABLE}"
        if not token:
            raise InvalidIdToken(
                "Registering and testing needs the Firebase ID token of the account's owner; an API key is not "
                f"accepted. Give --id-token-file FILE (- for standard input), or set {VARIABLE}."
            )
    elif str(file) == "-":
        where = "standard input"
        token = getpass.getpass("ID token: ") if sys.stdin.isatty() else sys.stdin.read(MAX_LENGTH + 1)
    else:
        where = str(file)
        try:
            with file.open(encoding="utf-8") as source:
                token = source.read(MAX_LENGTH + 1)
        except UnicodeDecodeError:
            raise InvalidIdToken(f"{where} is not text, so it has no ID token.") from None
        except OSError as error:
            raise InvalidIdToken(f"{where} cannot be read: {error.strerror}.") from None
    token = token.strip()
    if not token or len(token) > MAX_LENGTH or any(not "!" <= char <= "~" for char in token):
        raise InvalidIdToken(f"{where} has no ID token, which is one word of letters, digits, dots and dashes.")
    return token
