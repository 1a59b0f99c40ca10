"""Settings for proxies in front of the receiver."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_PATHS = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1")
"""Paths of the receiver itself; each is also a prefix of paths."""

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_MAX_PREFIX = 200


def _network(value: Any) -> Network:
    if isinstance(value, Network):
        return value
    if isinstance(value, str):
        try:
            found = ipaddress.ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if found.network_address != ipaddress.ip_interface(value).ip:
                raise ValueError(f"is an address within a network; did you mean {str(found)!r}?")
            return found
    raise ValueError("must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8")


def _prefix(value: str) -> str:
    if value and not (_PREFIX.fullmatch(value) and len(value) <= _MAX_PREFIX):
        raise ValueError("must begin with a slash, not end with one, and need no escaping, such as /tts")
    if any(part in (".", "..") for part in value.split("/")):
        raise ValueError("must have no part . or ..: clients and proxies remove them")
    return value


TrustedProxy = Annotated[Network, BeforeValidator(_network)]
"""An address, or a network in CIDR notation."""
RootPath = Annotated[str, AfterValidator(_prefix)]
"""The path prefix under which a proxy serves the receiver; empty for none."""


def check_root_path(root_path: str, webhook_paths: dict[str, str]) -> None:
    """Check that the prefix is not the beginning of an unprefixed path: a request's path would be ambiguous.

    Args:
        webhook_paths: the paths by source.

    Raises:
        ValueError: the prefix is ambiguous; the message begins with the key.
    """
    if not root_path:
        return
    users = dict.fromkeys(OWN_PATHS, "the receiver itself") | {
        path: f"source {name}" for name, path in webhook_paths.items()
    }
    for path, user in users.items():
        if f"{path}/".startswith(f"{root_path}/"):
            raise ValueError(
                f"server.root_path: {path} of {user} lies beneath it, so a request's path would be ambiguous"
            )
