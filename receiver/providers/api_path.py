"""The check of a path at a service: a request to it carries the API key, so it must not lead anywhere else."""

from __future__ import annotations

from urllib.parse import unquote

MAX_PATH = 1024
"""The longest path, with its query, in characters."""
_UNSAFE = ' \\#{}<>"^`|'


def check_api_path(path: str) -> str:
    """Return a path below a service's base address, which may have a query.

    Raises:
        ValueError: it leaves the base address, or is none; the message follows the name of what has it.
    """
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("must begin with one slash, without a host: the API key is sent nowhere else")
    if len(path) > MAX_PATH:
        raise ValueError(f"is longer than {MAX_PATH} characters")
    if not path.isascii() or not path.isprintable() or any(char in path for char in _UNSAFE):
        raise ValueError("must be an address's path in ASCII, quoted, without # and braces")
    for part in path.partition("?")[0].split("/"):
        plain = unquote(unquote(part))  # a server or a proxy may decode it, even twice
        if any(item in (".", "..") for item in plain.replace("\\", "/").split("/")):
            raise ValueError("must not contain . or .. as a segment")
    return path
