"""Checks the two addresses: no token and no event goes in plain text to another machine unless the user says so."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

from receiver.settings.private import is_loopback


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
