"""Checks that the private listener is private: on a loopback address, or with tokens or users.

Separate from the listeners, because `check` uses it without them.
"""

from __future__ import annotations

import ipaddress
import socket

from receiver.errors import ConfigError, ConfigProblem
from receiver.settings import Settings

_EXPOSED = (
    "{} is not a loopback address such as 127.0.0.1; to listen there, it needs a token in [api] tokens, or a user in "
    "[console.users]"
)


def is_loopback(host: str | None) -> bool:
    """Whether an address or name is this machine's loopback."""
    if host is None:
        return False
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_private(settings: Settings) -> None:
    """Check that the private listener is on a loopback address, or requires a token or a login.

    Raises:
        ConfigError: it would be open to everyone who can reach it.
    """
    host = settings.server.private_host
    if not (settings.has_credentials or is_loopback(host)):
        raise ConfigError([ConfigProblem("server.private_host", _EXPOSED.format(host))])


def require_private_socket(settings: Settings, private: socket.socket) -> None:
    """As `require_private`, for a socket that was passed to the process: the socket's address is checked.

    Raises:
        ConfigError: it would be open to everyone who can reach it.
    """
    host = private.getsockname()[0]
    if not (settings.has_credentials or is_loopback(host)):
        raise ConfigError([ConfigProblem("LISTEN_FDS", f"the private socket: {_EXPOSED.format(host)}")])
