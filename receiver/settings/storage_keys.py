"""Secrets of storage: keys of an object store, in its usual environment variables, and the password of the database.

They are redacted; keys are also checked for line breaks and the like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

from receiver.errors import ConfigProblem
from receiver.model.secret_text import secret_problem

_ONE_LINE = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN",
)  # fmt: skip
_PASSWORD = re.compile(r"^[^:/]+://[^:/@]*:(?P<user>[^@]*)@|[?&][^=&]*password=(?P<option>[^&]*)")
_DOCUMENTS = ("GOOGLE_SERVICE_ACCOUNT_KEY",)
"""JSON documents, with several lines."""


def storage_secrets() -> Iterator[tuple[str, str]]:
    """All secrets in the environment that an object store reads, each after its variable."""
    return ((name, os.environ[name]) for name in (*_ONE_LINE, *_DOCUMENTS) if os.environ.get(name))


def address_secrets(url: str) -> Iterator[str]:
    """The passwords in `store.url`, as they are written and decoded."""
    for found in _PASSWORD.finditer(url):
        written = found["user"] or found["option"] or ""
        yield from {written, unquote(written), unquote_plus(written)} - {""}


def is_object_storage(url: str) -> bool:
    """Whether `audio.url` names an object store, not a folder."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)) and not url.lower().startswith("file:")


def storage_problems(url: str) -> list[ConfigProblem]:
    """Problems with the keys in the environment, if audio is stored in an object store.

    Args:
        url: `audio.url`.
    """
    if not is_object_storage(url):
        return []
    found = ((name, secret_problem(os.environ[name])) for name in _ONE_LINE if name in os.environ)
    return [ConfigProblem(name, fault) for name, fault in found if fault is not None]
