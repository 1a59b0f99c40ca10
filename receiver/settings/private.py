"""Whether the private listener is private: on a loopback address, or with tokens.

Apart from the listeners because `check` asks it too, which needs nothing of what serves.
"""

from __future__ import annotations

import ipaddress
import socket

from receiver.errors import ConfigError, Problem
from receiver.settings import Settings

_EXPOSED = "{} is not a loopback address such as 127.0.0.1; to listen there, it needs a token in [api] tokens"


def is_loopback(host: str | None) -> bool:
    """Whether a host's address or name is this machine's own loopback."""
    if host is None:
        return False
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_private(settings: Settings) -> None:
    """The private listener may listen where others reach it only if it asks for tokens.

    Raises:
        ConfigError: it would be open to everyone who can reach it.
    """
    host = settings.server.private_host
    if not (settings.api.tokens or is_loopback(host)):
        raise ConfigError([Problem("server.private_host", _EXPOSED.format(host))])


def require_private_socket(settings: Settings, private: socket.socket) -> None:
    """As `require_private`, for a socket that was passed: its own address counts, not the configured one.

    Raises:
        ConfigError: it would be open to everyone who can reach it.
    """
    host = private.getsockname()[0]
    if not (settings.api.tokens or is_loopback(host)):
        raise ConfigError([Problem("LISTEN_FDS", f"the private socket: {_EXPOSED.format(host)}")])
