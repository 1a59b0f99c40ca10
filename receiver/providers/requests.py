"""Builds requests to a provider: an address below the account's base URL, credentials in headers, a body."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from receiver.providers.pass_through import add_options
from receiver.providers.types import Account, Invalid, Request


def get(account: Account, path: str, credentials: Mapping[str, str]) -> Request:
    """Return a GET for JSON. `path` starts with a slash and is already percent-encoded."""
    return Request("GET", account.base_url.rstrip("/") + path, {"Accept": "application/json", **credentials})


def with_query(path: str, fields: Mapping[str, str]) -> str:
    """Return the path with these fields as its query, percent-encoded; without a query if there are no fields."""
    return f"{path}?{urlencode(fields, errors='surrogatepass')}" if fields else path


def post_json(
    account: Account,
    path: str,
    headers: Mapping[str, str],
    fields: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
) -> Request:
    """Return a POST of a JSON object; fields that are None are left out.

    Args:
        options: of a speech: added to the fields as they are.

    Raises:
        Invalid: a field cannot be written as JSON, or an option has the name of a field.
    """
    return post_document(account, path, headers, add_options(fields, options))


def post_document(account: Account, path: str, headers: Mapping[str, str], document: Mapping[str, Any]) -> Request:
    """Return a POST of a JSON object as it is.

    Raises:
        Invalid: it cannot be written as JSON.
    """
    try:
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as error:  # unpaired surrogates are a ValueError, too
        raise Invalid(f"The request cannot be written as JSON: {type(error).__name__}.") from None
    return _post(account, path, headers, "application/json", body)


def put_json(account: Account, path: str, headers: Mapping[str, str], fields: Mapping[str, Any]) -> Request:
    """Return a PUT of a JSON object; otherwise as `post_json`."""
    request = post_json(account, path, headers, fields)
    return replace(request, method="PUT")


def post_empty(account: Account, path: str, headers: Mapping[str, str]) -> Request:
    """Return a POST without a body."""
    return Request("POST", account.base_url.rstrip("/") + path, {"Accept": "application/json", **headers}, b"")


def post_form(
    account: Account,
    path: str,
    headers: Mapping[str, str],
    fields: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Request:
    """Return a POST of a multipart form of texts.

    Args:
        options: of a speech: added to the fields, texts as they are and other values as JSON.

    Raises:
        Invalid: a text has unpaired surrogates, or an option has the name of a field.
    """
    given = add_options(fields, options)
    try:
        parts = {name: _form_text(value).encode() for name, value in given.items()}
    except UnicodeEncodeError:
        raise Invalid("The request cannot be written as UTF-8.") from None
    boundary = hashlib.sha256(b"\0".join(parts.values())).hexdigest()  # a text cannot hold its own hash
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in parts.items()
    ]
    body = b"".join(lines) + f"--{boundary}--\r\n".encode()
    return _post(account, path, headers, f"multipart/form-data; boundary={boundary}", body)


def bearer(account: Account) -> dict[str, str]:
    """Return `Authorization: Bearer …`; nothing for an account without a key: the service then refuses the request."""
    return {} if account.api_key is None else {"Authorization": f"Bearer {account.api_key}"}


def key_header(account: Account, name: str) -> dict[str, str]:
    """Return the key in a header of this name; nothing for an account without a key."""
    return {} if account.api_key is None else {name: account.api_key}


def path_segment(job_id: str) -> str:
    """Return a job id, percent-encoded, as one segment of a path."""
    quoted = quote(job_id, safe="", errors="surrogatepass")
    if quoted in (".", ".."):
        return quoted.replace(".", "%2E")  # a client would resolve them to this segment and its parent
    return quoted


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _post(account: Account, path: str, headers: Mapping[str, str], content_type: str, body: bytes) -> Request:
    own = {"Accept": "application/json", "Content-Type": content_type}
    return Request("POST", account.base_url.rstrip("/") + path, own | dict(headers), body)
