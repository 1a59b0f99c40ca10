"""Building a request to a provider: its address below the account's own, and the credentials in its headers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from receiver.providers.wire import Account, Request


def get(account: Account, path: str, credentials: Mapping[str, str]) -> Request:
    """A GET for JSON. `path` starts with a slash and is quoted already."""
    return Request("GET", account.base_url.rstrip("/") + path, {"Accept": "application/json", **credentials})


def bearer(account: Account) -> dict[str, str]:
    """`Authorization: Bearer …`; nothing where the account has no key, so that the service says so itself."""
    return {} if account.api_key is None else {"Authorization": f"Bearer {account.api_key}"}


def key_header(account: Account, name: str) -> dict[str, str]:
    """The bare key under a header of the service's own; nothing where the account has no key."""
    return {} if account.api_key is None else {name: account.api_key}


def segment(job_id: str) -> str:
    """A job id as one segment of an address's path, whatever is in it."""
    return quote(job_id, safe="", errors="surrogatepass")
