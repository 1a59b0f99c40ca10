"""The keys of an object store, which come from its usual environment variables: no key of the configuration.

They are secrets all the same: cut out of what is written down, and of no use with a line break in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from receiver.errors import Problem
from receiver.model.secret_text import secret_problem

_ONE_LINE = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN",
)  # fmt: skip
_DOCUMENTS = ("GOOGLE_SERVICE_ACCOUNT_KEY",)
"""Whole JSON documents."""


def storage_secrets() -> Iterator[str]:
    """Every secret text in the environment that an object store reads."""
    return (os.environ[name] for name in (*_ONE_LINE, *_DOCUMENTS) if os.environ.get(name))


def storage_problems(url: str) -> list[Problem]:
    """What is wrong with the environment's keys, where the audio goes to an object store.

    Args:
        url: `audio.url`.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url) or url.lower().startswith("file:"):
        return []
    found = ((name, secret_problem(os.environ[name])) for name in _ONE_LINE if name in os.environ)
    return [Problem(name, fault) for name, fault in found if fault is not None]
