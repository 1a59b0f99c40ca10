"""Check that a provider would accept a webhook address, before a request is sent.

Provider's documentation (aitts): public https; localhost, private IP addresses, `.local` and `.internal` are refused.
Names are not resolved: they may have other addresses here than at the provider.
"""

from __future__ import annotations

import ipaddress

from receiver.errors import ReceiverError
from receiver.outbound.guard import is_public
from receiver.providers.base import origin_of

_PRIVATE_ENDINGS = (".localhost", ".local", ".internal")


class NotPublicUrl(ReceiverError):
    """A provider cannot or will not send deliveries to this address; the message says why. No request was sent."""


def check_public(url: str) -> None:
    """Refuse an address that the provider would refuse.

    Raises:
        NotPublicUrl: it would; the message says why, and what to use instead.
    """
    origin = origin_of(url) if url.isascii() and url.isprintable() and " " not in url else None
    why = None
    if origin is None or "#" in url:
        why = "is not an absolute https address without credentials or fragment"
    elif origin[0] != "https":
        why = "is not https"
    elif _is_private(origin[1]):
        why = f"is not public: {origin[1]} is not reachable from the internet"
    if why:
        raise NotPublicUrl(
            f"--url {url!r} {why}; no request was sent. Give the address at which your TLS proxy serves this receiver, "
            "such as https://tts.example.com/webhooks/aitts."
        )


def _is_private(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_ENDINGS)
    return not is_public(host)
