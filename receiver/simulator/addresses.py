"""The webhook addresses that the provider accepts: public HTTPS ones."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from .envelope import invalid

REFUSED_SUFFIXES = (".local", ".internal", ".localhost")


def check_webhook_url(url: object, *, allow_loopback: bool) -> str:
    """Return the address if the provider accepts it.

    Provider's documentation: it must be public HTTPS; localhost, private IPs, `.local` and `.internal` are refused.
    `allow_loopback` also accepts plain HTTP to this machine, where the receiver of a simulator usually runs. Raises
    ApiError 400 VALIDATION_ERROR.
    """
    if not isinstance(url, str):
        message = "url must be a string"
        raise invalid(message)
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        _ = parts.port
    except ValueError as error:
        raise invalid(str(error)) from error
    if parts.scheme in ("http", "https") and allow_loopback and _is_loopback(host):
        return url
    if parts.scheme != "https" or not host:
        message = "url must be a public HTTPS address"
        raise invalid(message)
    if host == "localhost" or host.endswith(REFUSED_SUFFIXES) or _is_private(host):
        message = f"url must be public: {host} is not"
        raise invalid(message)
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
