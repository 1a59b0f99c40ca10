"""How commands reach the API of a receiver that runs elsewhere: its address, the token, and what a certificate lacks.

No token and no event goes in plain text to another machine unless the user says so.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import typer

from receiver.errors import ReceiverError
from receiver.settings.private import is_loopback
from receiver.settings.small_file import read_small_file

CERTIFICATE_ADVICE = (
    "Check the name in --api and this machine's clock; a certificate authority of your own goes into the file that "
    "SSL_CERT_FILE names."
)


class UnusableToken(ReceiverError):
    """The token for a receiver's API cannot be read, or is none."""

    reason = "api_token"


def checked_address(text: str, option: str, *, plain_http: bool) -> str:
    """An http or https address.

    Args:
        plain_http: allow http to other machines.

    Raises:
        typer.BadParameter: it is not one, or http to another machine.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise typer.BadParameter(f"{option}: not a valid address.") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not text.isascii() or " " in text:
        raise typer.BadParameter(f"{option}: {text!r} is not an http or https address.")
    if url.username is not None or url.password is not None:
        raise typer.BadParameter(f"{option}: leave out the user and the password, which others can see.")
    if url.fragment:
        raise typer.BadParameter(f"{option}: leave out the fragment (#…), which is never sent.")
    if url.scheme == "http" and not plain_http and not is_loopback(url.hostname):
        raise typer.BadParameter(
            f"{option}: http to {url.hostname} sends all in plain text. Use https, an SSH tunnel to a loopback "
            "address, or --plain-http if the network between is private."
        )
    return text


def base_address(text: str, *, plain_http: bool) -> str:
    """The address of a receiver's API, without a slash at its end.

    Raises:
        typer.BadParameter: as for `checked_address`, or it has a query.
    """
    if "?" in text:
        raise typer.BadParameter("--api: leave out the query (?…).")
    return checked_address(text, "--api", plain_http=plain_http).rstrip("/").removesuffix("/v1")


def read_token(file: Path | None, variable: str) -> str | None:
    """The token for the API, without white space around it; None for a receiver without tokens.

    Args:
        variable: of the environment, which has the token if no file is given.

    Raises:
        UnusableToken: it cannot be read, or is none.
    """
    if file is None:
        token, where = os.environ.get(variable), f"${variable}"
        if token is None:
            return None
    else:
        where = str(file)
        try:
            token, _ = read_small_file(file)
        except FileNotFoundError:
            raise UnusableToken(f"{file} does not exist.") from None
        except ValueError as error:
            raise UnusableToken(f"{str(error).rstrip('.')}.") from None
    token = token.strip()
    if not token or any(not "!" <= char <= "~" for char in token):
        raise UnusableToken(f"{where} has no API token, which is one word without spaces.")
    return token


def certificate_fault(error: BaseException | None) -> str | None:
    """What is wrong with a server's certificate, of the error of a request; None: the error is about something else."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return "it does not speak TLS"
        error = error.__cause__ or error.__context__  # the connection pool hides the cause
    return None
