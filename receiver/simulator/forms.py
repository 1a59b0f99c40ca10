"""Reads a multipart form's text fields (RFC 7578) with the standard library's MIME parser."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message


class FormError(Exception):
    """The body is not a multipart form."""


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of the form by name; of fields with the same name, the last one. Raises FormError."""
    if not content_type.lower().startswith("multipart/form-data"):
        message = "the body must be multipart/form-data"
        raise FormError(message)
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    parts = message_from_bytes(head + body).get_payload()
    if not isinstance(parts, list):
        message = "the form's boundary is missing"
        raise FormError(message)
    fields: dict[str, str] = {}
    for part in parts:
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            fields[name] = value.decode("utf-8", "replace")
    return fields
